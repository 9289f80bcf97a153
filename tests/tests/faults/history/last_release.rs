//! Programs of the last release beside those of this one, on the same log: one a partition, on
//! streams of its own. What it does is recorded as what any client does, and checked likewise.

use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_domain_proto::users::v1 as users;
use headwater_kernel::{NewEvent, Partition, StreamId, StreamVersion};
use headwater_previous as previous;
use headwater_tests::history::log::Change;
use headwater_tests::history::record::{
    Command, LogName, Operation, Outcome, Positions, Proof, Receipt, What,
};
use previous::LogError;
use prost::Message as _;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::chance;
use super::clock::Clock;
use super::session::PARTITIONS;
use super::shop;
use super::world::World;

/// Their numbers among the clients.
pub const NUMBERS: Range<usize> = FIRST..FIRST + PARTITIONS as usize;
const FIRST: usize = 26;
/// Pause between two commands.
const STEP_EVERY: Duration = Duration::from_millis(40);
/// A command that is not settled by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a command is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// A user is renamed up to this version; then comes the next one.
const VERSIONS_MAX: u64 = 20;
/// Connections of each, but for that of its appender.
const CONNECTIONS: u32 = 1;

/// Programs that run until they are stopped.
pub struct LastRelease {
    over: Arc<AtomicBool>,
    programs: Vec<JoinHandle<Vec<Operation>>>,
}

impl LastRelease {
    /// Starts one for each partition.
    pub async fn start(world: &World) -> Self {
        let (over, mut programs) = (Arc::default(), Vec::new());
        for partition in 0..PARTITIONS {
            let url = world.cluster.command_url();
            let log = previous::EventLog::connect(&url, CONNECTIONS).await.expect("it connects");
            let number = FIRST + usize::from(partition);
            let program = Program {
                number,
                partition,
                clock: world.clock.clone(),
                appender: log.appender(Partition(partition)),
                log,
                rng: chance(world.seed, number, 0),
                user: None,
                record: Vec::new(),
            };
            programs.push(tokio::spawn(program.work(Arc::clone(&over))));
        }
        Self { over, programs }
    }

    /// Stops them, and waits until they are gone. Gives what they did.
    pub async fn stop(self) -> Vec<Operation> {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for program in self.programs {
            let ended = tokio::time::timeout(PATIENCE * 2, program).await;
            all.extend(ended.expect("each command is bounded").expect("no panic"));
        }
        all
    }
}

struct Program {
    number: usize,
    partition: u16,
    clock: Clock,
    log: previous::EventLog,
    appender: previous::Appender,
    rng: StdRng,
    /// The user that it is at, and its version.
    user: Option<(Uuid, u64)>,
    record: Vec<Operation>,
}

impl Program {
    async fn work(mut self, over: Arc<AtomicBool>) -> Vec<Operation> {
        let mut pace = tokio::time::interval(STEP_EVERY);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !over.load(Ordering::Relaxed) {
            pace.tick().await;
            self.step().await;
        }
        self.log.close().await;
        self.record
    }

    async fn step(&mut self) {
        let name = shop::name(&mut self.rng, self.record.len() as u64);
        let (stream, version, change) = match self.user {
            Some((user, version)) => (user, version, Change::UserRenamed(name)),
            None => {
                let user = shop::id_in(&mut self.rng, self.partition);
                let email = format!("{}@example.org", user.simple());
                (user, 0, Change::UserRegistered { email, name })
            }
        };
        let began = self.clock.now();
        let outcome = self.settle(&command(stream, version, &change)).await;
        // One whose version is not known any more is left alone.
        self.user = match &outcome {
            Outcome::Acknowledged(_) if version + 1 < VERSIONS_MAX => Some((stream, version + 1)),
            _ => None,
        };
        let what = What::Command(Command { stream, change, expected_version: None, outcome });
        let ended = self.clock.now();
        self.record.push(Operation { client: self.number, began, ended, what });
    }

    async fn settle(&mut self, command: &previous::Command) -> Outcome {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.attempt(command).await {
                Ok(outcome) => return outcome,
                Err(error) if Instant::now() > until => return Outcome::Unknown(error.to_string()),
                // tidy: allow sleep: a program's pause before it tries again
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// # Errors
    /// One that passes.
    async fn attempt(&mut self, command: &previous::Command) -> Result<Outcome, LogError> {
        let commands = slice::from_ref(command);
        match self.appender.append(commands).await {
            Ok(outcomes) => Ok(match &outcomes[0] {
                previous::Outcome::Committed(receipt) => self.acknowledged(receipt, false),
                previous::Outcome::Replayed(receipt) => self.acknowledged(receipt, true),
                other => Outcome::Broken(format!("{other:?}")),
            }),
            Err(error @ LogError::OutcomeUnknown(_)) => {
                let found = self.appender.resolve(commands).await?;
                found[0].map(|receipt| self.acknowledged(&receipt, false)).ok_or(error)
            }
            Err(
                error @ (LogError::Schema(_) | LogError::Corrupt { .. } | LogError::Refused(_)),
            ) => Ok(Outcome::Broken(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn acknowledged(&self, receipt: &previous::Receipt, replayed: bool) -> Outcome {
        let mut positions = Positions::default();
        positions.raise(receipt.partition.0, receipt.position.0);
        let log = LogName { id: self.log.info().id.0, epoch: receipt.epoch.0 };
        let (version, proof) = (receipt.version.0, Proof { log, positions });
        Outcome::Acknowledged(vec![Receipt { version, proof, replayed }])
    }
}

/// A command with a key, as the last release's command-svc decides it.
fn command(stream: Uuid, version: u64, change: &Change) -> previous::Command {
    let taken = match change {
        Change::UserRegistered { email, .. } => Some(format!("email/{email}")),
        _ => None,
    };
    let fact = |name| previous::Fact { kind: previous::FactKind::TakeClaim, name };
    let key = previous::Key { key: Uuid::new_v4(), payload: Uuid::nil(), store: true };
    previous::Command {
        stream: StreamId(stream),
        expected: StreamVersion(version),
        command_id: Uuid::now_v7(),
        caller: None,
        traceparent: None,
        key: Some(key),
        events: vec![event(change)],
        facts: taken.map(fact).into_iter().collect(),
    }
}

fn event(change: &Change) -> NewEvent {
    let (type_name, payload) = match change.clone() {
        Change::UserRegistered { email, name } => {
            ("users.v1.UserRegistered", users::UserRegistered { email, name }.encode_to_vec())
        }
        Change::UserRenamed(name) => {
            ("users.v1.UserRenamed", users::UserRenamed { name }.encode_to_vec())
        }
        other => panic!("it causes no {other:?}"),
    };
    NewEvent { type_name, schema_version: 1, payload, tags: Vec::new(), subject: None }
}
