//! A domain whose commands fail in every way that a team's code can, on a Postgres of its own.

use std::cell::Cell;
use std::time::Duration;

use headwater_chassis::{Invocation, Metrics};
use headwater_command_svc::{Acks, Committed, Config, Executor};
use headwater_edge::{Call, CallOptions, Failure, KeyHashes};
use headwater_eventlog::EventLog;
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{
    Aggregate, Context, Decision, DecodeError, EventSet, NewEvent, PartitionKey, Rejection,
    StreamId,
};
use headwater_testkit::Postgres;
use tokio::time::timeout;
use uuid::Uuid;

/// No command of these tests takes longer, on a machine that does other things, too.
pub const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Events that this thread, and so this test, has folded.
    pub static FOLDED: Cell<usize> = const { Cell::new(0) };
}

/// Counts, until it is told to fail.
#[derive(Clone, Default)]
pub struct Probe {
    total: u64,
    /// Once more than this is counted, snapshots panic.
    brittle: bool,
}

pub enum ProbeCommand {
    Add,
    Many(usize),
    Claim(String),
    Mark(String),
    /// Counts, and makes snapshots of this state panic.
    Embrittle,
    /// Is refused, with a reason that says whether it is brittle.
    Tell,
    PanicInDecide,
    PanicInEvolve,
    PanicInEncode,
    /// Does nothing until it is dropped, and then panics.
    PanicWhenDropped(Fuse),
}

pub struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a command that panics when it is dropped");
    }
}

#[derive(Clone, PartialEq)]
pub enum ProbeEvent {
    Added,
    Embrittled,
    NotToBeEvolved,
    NotToBeEncoded,
}

impl EventSet for ProbeEvent {
    fn encode(&self) -> NewEvent {
        assert!(*self != Self::NotToBeEncoded, "told to panic in encode");
        let type_name = match self {
            Self::Embrittled => "probe.v1.Embrittled",
            _ => "probe.v1.Added",
        };
        NewEvent {
            type_name,
            schema_version: 1,
            payload: vec![7; 16],
            tags: Vec::new(),
            subject: None,
        }
    }

    fn decode(type_name: &str, _: u16, _: &[u8]) -> Result<Self, DecodeError> {
        match type_name {
            "probe.v1.Added" => Ok(Self::Added),
            "probe.v1.Embrittled" => Ok(Self::Embrittled),
            other => Err(DecodeError::UnknownType { type_name: other.to_owned() }),
        }
    }
}

impl Aggregate for Probe {
    const NAME: &'static str = "probe";
    type Command = ProbeCommand;
    type Event = ProbeEvent;

    fn decide(
        &self,
        command: &ProbeCommand,
        _: &Context,
    ) -> Result<Decision<ProbeEvent>, Rejection> {
        let taken = Rejection::failed_precondition("TAKEN", "the value is taken");
        Ok(match command {
            ProbeCommand::Add => Decision::event(ProbeEvent::Added),
            ProbeCommand::Many(count) => Decision::events(vec![ProbeEvent::Added; *count]),
            ProbeCommand::PanicWhenDropped(_) => Decision::nothing(),
            ProbeCommand::Claim(value) => Decision::event(ProbeEvent::Added).taking(value, taken),
            ProbeCommand::Mark(name) => Decision::event(ProbeEvent::Added).marking(name, true),
            ProbeCommand::Embrittle => Decision::event(ProbeEvent::Embrittled),
            ProbeCommand::Tell => {
                let reason = if self.brittle { "BRITTLE" } else { "SOUND" };
                return Err(Rejection::failed_precondition(reason, "as it is"));
            }
            ProbeCommand::PanicInDecide => panic!("told to panic in decide"),
            ProbeCommand::PanicInEvolve => Decision::event(ProbeEvent::NotToBeEvolved),
            ProbeCommand::PanicInEncode => Decision::event(ProbeEvent::NotToBeEncoded),
        })
    }

    fn evolve(&mut self, event: &ProbeEvent) {
        assert!(*event != ProbeEvent::NotToBeEvolved, "told to panic in evolve");
        self.total += 1;
        FOLDED.set(FOLDED.get() + 1);
        self.brittle |= *event == ProbeEvent::Embrittled;
    }

    fn snapshot(&self) -> Option<Snapshot> {
        assert!(!self.brittle, "told to panic in snapshot");
        Some(Snapshot { format: 1, state: self.total.to_be_bytes().to_vec() })
    }

    fn restore(snapshot: &Snapshot) -> Option<Self> {
        let total = u64::from_be_bytes(snapshot.state.as_slice().try_into().ok()?);
        (snapshot.format == 1).then_some(Self { total, brittle: false })
    }
}

/// An aggregate of another type, with events of its own.
#[derive(Clone, Default)]
pub struct Stranger;

pub struct Happened;

impl EventSet for Happened {
    fn encode(&self) -> NewEvent {
        let (payload, tags) = (Vec::new(), Vec::new());
        NewEvent {
            type_name: "stranger.v1.Happened",
            schema_version: 1,
            payload,
            tags,
            subject: None,
        }
    }

    fn decode(type_name: &str, _: u16, _: &[u8]) -> Result<Self, DecodeError> {
        match type_name {
            "stranger.v1.Happened" => Ok(Self),
            other => Err(DecodeError::UnknownType { type_name: other.to_owned() }),
        }
    }
}

impl Aggregate for Stranger {
    const NAME: &'static str = "stranger";
    type Command = ();
    type Event = Happened;

    fn decide(&self, (): &(), _: &Context) -> Result<Decision<Happened>, Rejection> {
        Ok(Decision::event(Happened))
    }

    fn evolve(&mut self, _: &Happened) {}
}

/// The write side of the domain, in the test's process, on one partition.
pub struct Rig {
    pub postgres: Postgres,
    pub log: EventLog,
    pub executor: Executor,
}

impl Rig {
    pub async fn start() -> Self {
        let postgres = postgres().await;
        let log = EventLog::connect(&postgres.url(), 4).await.expect("the log");
        let executor = executor(&log, &postgres.url());
        Self { postgres, log, executor }
    }

    /// Forgets every state.
    pub async fn start_again(&mut self) {
        self.log = EventLog::connect(&self.postgres.url(), 4).await.expect("the log");
        self.executor = executor(&self.log, &self.postgres.url());
    }

    /// The write side of another process on the same log.
    pub async fn another(&self) -> Executor {
        let log = EventLog::connect(&self.postgres.url(), 4).await.expect("the log");
        executor(&log, &self.postgres.url())
    }

    pub async fn send(&self, id: Uuid, command: ProbeCommand) -> Result<Committed, Failure> {
        self.send_with(id, command, None).await
    }

    pub async fn send_with(
        &self,
        id: Uuid,
        command: ProbeCommand,
        key: Option<KeyHashes>,
    ) -> Result<Committed, Failure> {
        send(&self.executor, (id, key), command).await
    }

    /// Streams whose states are known, so that the next commands of them make one batch.
    pub async fn known<const N: usize>(&self) -> [Uuid; N] {
        let ids = [(); N].map(|()| Uuid::now_v7());
        for id in ids {
            assert_eq!(version(self.send(id, ProbeCommand::Add).await), Ok(1));
        }
        ids
    }
}

/// A database with an empty log of one partition.
pub async fn postgres() -> Postgres {
    let postgres = Postgres::start().await;
    EventLog::migrate(&postgres.url(), 1).await.expect("the log's schema");
    postgres
}

pub async fn send(
    executor: &Executor,
    to: (Uuid, Option<KeyHashes>),
    command: ProbeCommand,
) -> Result<Committed, Failure> {
    send_as::<Probe>(executor, to, command).await
}

/// The same, to an aggregate of any type.
pub async fn send_as<A: Aggregate>(
    executor: &Executor,
    (id, key): (Uuid, Option<KeyHashes>),
    command: A::Command,
) -> Result<Committed, Failure> {
    let call = Call {
        stream: StreamId(id),
        partition_key: PartitionKey(id),
        domain: "probe",
        options: CallOptions { key, ..CallOptions::default() },
    };
    let answered = timeout(PATIENCE, executor.execute::<A>(call, command)).await;
    answered.expect("answered in time")
}

pub fn config(url: &str) -> Config {
    let vars = [
        ("HEADWATER_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_WRITE_URL", url),
        ("HEADWATER_SNAPSHOT_EVERY", "10"),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::read(Invocation::from_parts("command-svc", vars, [])).expect("a config")
}

fn executor(log: &EventLog, url: &str) -> Executor {
    Executor::start(log, &config(url).limits, Acks::new(None), &Metrics::new())
}

/// The version that was committed, or the reason why not.
pub fn version(result: Result<Committed, Failure>) -> Result<u64, String> {
    result.map(|done| done.receipt.version.0).map_err(|failure| failure.reason().to_owned())
}
