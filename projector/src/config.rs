//! The projector's settings: the one place where its environment and flags are read.

use std::time::Duration;

use headwater_chassis::{Common, ConfigErrors, Invocation, Settings};
use headwater_eventlog::Servers;

use crate::feed::Pace;
use crate::lag::LagLimits;

/// The most rows that are loaded at once.
const ROWS_MAX: usize = 200_000;

const ABOUT: &str = "Turns the log into rows of the read database";

/// The settings of a projector.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings that every program has.
    pub common: Common,
    /// The servers of the write database, which holds the log.
    pub write: Servers,
    /// Read primary and replicas, any of which may be promoted.
    pub read: Servers,
    /// Pace at which the log is read.
    pub pace: Pace,
    /// Above which lag it is unhealthy.
    pub lag: LagLimits,
}

impl Config {
    /// Reads them from the process.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        Self::read(Invocation::from_process("projector"))
    }

    /// Reads them from the given variables and flags.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(invocation: Invocation) -> Result<Self, ConfigErrors> {
        invocation.read(ABOUT, Self::read_all)
    }

    fn read_all(s: &mut Settings) -> Option<Self> {
        let common = Common::read(s, "127.0.0.1:50053", "127.0.0.1:9053");
        s.group("Databases");
        let write = servers(
            s,
            "HEADWATER_WRITE_URL",
            "URL of the write database; of several servers in it, separated by commas, the one \
             that takes writes is found",
        );
        let read = servers(
            s,
            "HEADWATER_READ_URL",
            "URL of the read primary; of several servers in it, separated by commas, the one that \
             takes writes is found",
        );
        s.group("Pace");
        let pace = pace(s);
        s.group("Health");
        let lag = lag(s);
        Some(Self { common: common?, write: write?, read: read?, pace: pace?, lag: lag? })
    }
}

fn servers(s: &mut Settings, name: &'static str, help: &'static str) -> Option<Servers> {
    let url = s.secret(name, None, help)?;
    Servers::parse(url.expose()).map_err(|problem| s.mistake(name, problem)).ok()
}

fn pace(s: &mut Settings) -> Option<Pace> {
    let batch_events_max = s.in_range(
        "HEADWATER_BATCH_MAX",
        "2000",
        1..=20_000,
        "about how many events are applied in one transaction; appends are not cut",
    );
    let poll = s.millis(
        "HEADWATER_POLL_MS",
        "100",
        5..=60_000,
        "the log is looked at this often if no hint comes",
    );
    let heartbeat = s.millis(
        "HEADWATER_HEARTBEAT_MS",
        "250",
        10..=60_000,
        "how often an idle projection renews the time it is of",
    );
    let gather = s.millis(
        "HEADWATER_GATHER_MS",
        "20",
        0..=10_000,
        "the longest rest after a batch that took all there was; it rests four times as long as it worked",
    );
    let changes_kept = s.in_range(
        "HEADWATER_CHANGES_KEPT",
        "20000",
        100..=10_000_000,
        "commits whose changes are kept for watches that resume, counted once for each view",
    );
    Some(Pace {
        changes_kept: changes_kept?,
        batch_events_max: batch_events_max?,
        rows_max: ROWS_MAX,
        poll: poll?,
        heartbeat: heartbeat?,
        gather: gather?,
    })
}

fn lag(s: &mut Settings) -> Option<LagLimits> {
    let events = s.in_range(
        "HEADWATER_LAG_EVENTS_MAX",
        "100000",
        1..=u64::MAX,
        "events not applied above which the projector is unhealthy",
    );
    let age: Option<Duration> = s.millis(
        "HEADWATER_LAG_MS_MAX",
        "30000",
        100..=86_400_000,
        "age of the applied state above which the projector is unhealthy",
    );
    Some(LagLimits { events: events?, age: age? })
}
