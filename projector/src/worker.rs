//! Keeps one projection going: elects one worker of all that run, starts its engine, and starts it
//! again after whatever stopped it.

use std::time::Duration;

use headwater_chassis::{Backoff, Delays, Shutdown};
use headwater_eventlog::{EventLog, LogError, Servers};
use tokio::time::{Instant, sleep};

use crate::engine::{Engine, Reporter, part};
use crate::feed::Pace;
use crate::projection::Projection;
use crate::session::Session;
use crate::stop::{Stop, within};

/// A worker that does not hold the lock asks for it this often: so soon does another take over.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Pauses after failures that pass by themselves.
const DELAYS: Delays =
    Delays { first: Duration::from_millis(100), max: Duration::from_secs(5), factor: 2.0 };
/// Pause after failures that a human has to mend.
const STOPPED: Duration = Duration::from_secs(30);
/// Pause while the read database is of another version, which a migration or a rebuild ends.
const AWAITED: Duration = Duration::from_secs(1);
/// After working for so long, the next failure is a new one.
const STABLE: Duration = Duration::from_secs(10);
/// Connections for reading partitions at the same time.
const LOG_CONNECTIONS: u32 = 4;

/// One worker of one projection.
pub struct Worker {
    /// The projection that is applied.
    pub projection: Projection,
    /// The servers of the write database.
    pub write: Servers,
    /// Read primary and replicas, any of which may be promoted.
    pub read: Servers,
    /// Pace at which the log is read.
    pub pace: Pace,
    /// Metrics and health of the work.
    pub reporter: Reporter,
}

impl Worker {
    /// Works until shutdown.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut backoff = Backoff::new(DELAYS);
        let mut told = None;
        loop {
            let begun = Instant::now();
            let stop = match self.term(shutdown).await {
                Ok(()) => return,
                Err(stop) => stop,
            };
            self.reporter.meters.leader.set(0);
            if begun.elapsed() > STABLE || matches!(stop, Stop::Moved(_)) {
                backoff.reset();
            }
            let pause = self.after(&stop, &mut backoff, &mut told);
            tokio::select! {
                () = shutdown.requested() => return,
                () = sleep(pause) => {}
                // What it waits for may be over.
                () = self.read.another() => backoff.reset(),
                () = self.write.another() => backoff.reset(),
            }
        }
    }

    /// Tells what stopped the projection, and how long to wait. `told` is the version that was last
    /// said to be needed: it is waited for without being told again and again.
    fn after(&self, stop: &Stop, backoff: &mut Backoff, told: &mut Option<String>) -> Duration {
        let projection = self.projection.name();
        if stop.awaits_the_schema() {
            self.reporter.health.note(part(&self.projection), Err(format!("stands by: {stop}")));
            let text = Some(stop.to_string());
            if *told != text {
                tracing::error!(projection, error = %stop, "the projection stands by");
                *told = text;
            }
            return AWAITED;
        }
        *told = None;
        // No fault: health stays as it is.
        if let Stop::NewEpoch = stop {
            tracing::info!(projection, "the log is in a new epoch; its history is compared");
            return backoff.next(rand::random());
        }
        // An operator's retry, as a rule.
        if let Stop::Overtaken = stop {
            tracing::info!(projection, "somebody else changed the views; they are read anew");
            return backoff.next(rand::random());
        }
        self.reporter.health.note(part(&self.projection), Err(format!("stopped: {stop}")));
        if stop.needs_a_human() {
            tracing::error!(projection, error = %stop, "the projection has stopped");
            return STOPPED;
        }
        tracing::warn!(projection, error = %stop, "the projection starts anew");
        backoff.next(rand::random())
    }

    /// From finding the databases to the end. Ends as soon as another server of one of them takes
    /// writes. What is written to a read primary that was replaced is lost to the replicas, and
    /// the log's new primary may have another history: the next term begins by comparing.
    async fn term(&self, shutdown: &Shutdown) -> Result<(), Stop> {
        let read = self.read.find().await?;
        let write = self.write.find().await.map_err(LogError::from)?;
        tokio::select! {
            ended = self.apply(self.read.url(read), shutdown) => ended,
            // A batch that this drops half-way is committed or not, as the checkpoint tells.
            () = self.read.moved(read) => Err(Stop::Moved("the read primary")),
            () = self.write.moved(write) => Err(Stop::Moved("the write database")),
        }
    }

    /// From the election to the end.
    async fn apply(&self, read_url: &str, shutdown: &Shutdown) -> Result<(), Stop> {
        let engine = tokio::select! {
            () = shutdown.requested() => return Ok(()),
            engine = self.elected(read_url) => engine?,
        };
        self.reporter.meters.leader.set(1);
        tracing::info!(projection = self.projection.name(), "this process applies the projection");
        engine.run(shutdown).await
    }

    /// Waits until no other worker applies the projection.
    async fn elected(&self, read_url: &str) -> Result<Engine, Stop> {
        let session = Session::open(read_url, &self.projection).await?;
        while !session.try_lock().await? {
            // A copy that stands by is healthy: the watchdog tells if nobody applies.
            self.reporter.health.note(part(&self.projection), Ok(()));
            sleep(FOLLOW_EVERY).await;
        }
        let log = EventLog::open(&self.write, LOG_CONNECTIONS);
        let log = within("connecting to the log", log).await?;
        let (projection, reporter) = (self.projection.clone(), self.reporter.clone());
        Engine::start(log, session, projection, self.pace, reporter).await
    }
}
