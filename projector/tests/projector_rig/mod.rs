//! What the projector's tests share: two databases, a log that is written to, and ways to look at
//! the rows.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_chassis::{Metrics, Readiness, Shutdown};
use headwater_eventlog::{Appender, Command, EventLog, Outcome, Servers};
use headwater_kernel::{EventSet as _, Partition, StreamId, StreamVersion};
use headwater_projector::engine::{Engine, Reporter};
use headwater_projector::feed::Pace;
use headwater_projector::health::Health;
use headwater_projector::meters::Meters;
use headwater_projector::migrate::migrate;
use headwater_projector::projection::Projection;
use headwater_projector::session::Session;
use headwater_projector::stop::Stop;
use headwater_projector::worker::Worker;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::common_pg::{self, Postgres};
use crate::counters::{BucketRow, CounterRow, Event, OwnerRow, bucket};

/// Streams of owners begin here; those below are counters.
pub const OWNERS: u128 = 1_000;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn projection() -> Projection {
    Projection::of::<Event>("counters")
        .view::<OwnerRow>()
        .view::<CounterRow>()
        .view::<BucketRow>()
        .build()
}

pub struct Rig {
    pub server: Arc<Postgres>,
    pub write_url: String,
    pub read_url: String,
    pub partitions: u16,
    pub projection: Projection,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub pace: Pace,
}

/// A worker in the background; gone like a killed process when this is dropped.
pub struct Running {
    pub shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Ends it in the orderly way.
    pub async fn stop(mut self) {
        self.shutdown.trigger();
        (&mut self.task).await.expect("no panic");
    }
}

impl Rig {
    pub async fn new(partitions: u16) -> Self {
        Self::on(common_pg::shared(), partitions).await
    }

    pub async fn on(server: Arc<Postgres>, partitions: u16) -> Self {
        let (write_url, read_url) = (server.database().await, server.database().await);
        EventLog::migrate(&write_url, partitions).await.expect("a log");
        let projection = projection();
        migrate(&read_url, std::slice::from_ref(&projection)).await.expect("a read database");
        let pace = Pace {
            batch_events_max: 50,
            rows_max: 10_000,
            poll: Duration::from_millis(20),
            heartbeat: Duration::from_millis(50),
            gather: Duration::from_millis(1),
            changes_kept: 1_000,
        };
        let (metrics, readiness) = (Metrics::new(), Readiness::new(&["sync"]));
        Self { server, write_url, read_url, partitions, projection, metrics, readiness, pace }
    }

    pub fn reporter(&self) -> Reporter {
        let meters = Meters::new(&self.metrics, "counters");
        Reporter { meters, health: Health::new(self.readiness.clone()) }
    }

    pub fn worker(&self) -> Worker {
        Worker {
            projection: self.projection.clone(),
            write: Servers::parse(&self.write_url).expect("a URL"),
            read: Servers::parse(&self.read_url).expect("a URL"),
            pace: self.pace,
            reporter: self.reporter(),
        }
    }

    pub fn run(&self) -> Running {
        let (worker, shutdown) = (self.worker(), Shutdown::new());
        let requested = shutdown.clone();
        let task = tokio::spawn(async move { worker.run(&requested).await });
        Running { shutdown, task }
    }

    /// An engine without the lock, as if somebody else believed to have it too.
    pub async fn engine(&self) -> Result<Engine, Stop> {
        let session = Session::open(&self.read_url, &self.projection).await?;
        let log = EventLog::connect(&self.write_url, 2).await.expect("a log");
        Engine::start(log, session, self.projection.clone(), self.pace, self.reporter()).await
    }

    pub async fn writer(&self) -> Writer {
        let log = EventLog::connect(&self.write_url, 2).await.expect("a log");
        let appenders = (0..self.partitions).map(|p| log.appender(Partition(p))).collect();
        Writer { log, appenders, versions: HashMap::new(), facts: Vec::new() }
    }

    pub async fn read(&self, query: &str) -> Vec<Row> {
        self.try_read(query).await.expect(query)
    }

    pub async fn try_read(&self, query: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
        connect(&self.read_url).await?.query(query, &[]).await
    }

    /// Applied positions, and 0 before there is a checkpoint.
    pub async fn applied(&self) -> u64 {
        let query = "SELECT positions FROM headwater_read.checkpoint WHERE projection = 'counters'";
        let rows = self.try_read(query).await.unwrap_or_default();
        rows.first().map_or(0, |row| row.get::<_, Vec<i64>>(0).iter().sum::<i64>() as u64)
    }

    /// Waits until this many events have been applied.
    pub async fn wait_applied(&self, events: u64) {
        eventually("the events are applied", async || self.applied().await >= events).await;
        assert_eq!(self.applied().await, events);
    }

    /// Whether the check `sync` holds, and what it says.
    pub fn sync(&self) -> (bool, String) {
        let checks = self.readiness.checks();
        (checks.holds("sync") == Some(true), checks.lines().join("\n"))
    }

    /// The rows are what the facts say, worked out by other means than the views.
    pub async fn assert_rows(&self, facts: &[(u128, Event)]) {
        let expected = Expected::of(facts);
        let mut counters = BTreeMap::new();
        let query = "SELECT counter_id, total, owner_name FROM headwater_read.counter";
        for row in self.read(query).await {
            counters.insert(row.get::<_, Uuid>(0), (row.get(1), row.get(2)));
        }
        assert_eq!(counters, expected.counters);
        let mut buckets = BTreeMap::new();
        for row in self.read("SELECT bucket, total, events FROM headwater_read.bucket").await {
            buckets.insert(row.get::<_, String>(0), (row.get(1), row.get(2)));
        }
        assert_eq!(buckets, expected.buckets);
    }
}

#[derive(Debug, Default)]
struct Expected {
    counters: BTreeMap<Uuid, (i64, Option<String>)>,
    buckets: BTreeMap<String, (i64, i64)>,
}

impl Expected {
    fn of(facts: &[(u128, Event)]) -> Self {
        let mut expected = Self::default();
        let mut names = HashMap::new();
        let mut owners = HashMap::new();
        for (stream, event) in facts {
            let id = Uuid::from_u128(*stream);
            if let Event::Named(name) = event {
                names.insert(id, name.clone());
                continue;
            }
            let counter = expected.counters.entry(id).or_default();
            let sums = expected.buckets.entry(bucket(id)).or_default();
            sums.1 += 1;
            if let Event::Added(amount) = event {
                counter.0 += amount;
                sums.0 += amount;
            }
            if let Event::Owned(owner) = event {
                owners.insert(id, *owner);
            }
        }
        for (id, owner) in owners {
            let counter = expected.counters.entry(id).or_default();
            counter.1 = names.get(&owner).cloned();
        }
        expected
    }
}

pub struct Writer {
    pub log: EventLog,
    appenders: Vec<Appender>,
    versions: HashMap<u128, u64>,
    /// Everything written, in the order of writing.
    pub facts: Vec<(u128, Event)>,
}

impl Writer {
    /// Appends these, each stream to the partition of its number, all of a partition at once.
    pub async fn append(&mut self, facts: &[(u128, Event)]) {
        let partitions = self.appenders.len() as u128;
        let mut batches = vec![Vec::new(); self.appenders.len()];
        for (stream, event) in facts {
            let version = self.versions.entry(*stream).or_default();
            batches[(stream % partitions) as usize].push(command(*stream, *version, event));
            *version += 1;
        }
        for (appender, batch) in self.appenders.iter_mut().zip(batches) {
            if !batch.is_empty() {
                let outcomes = appender.append(&batch).await.expect("appended");
                let committed = |o: &Outcome| matches!(o, Outcome::Committed(_));
                assert!(outcomes.iter().all(committed), "{outcomes:?}");
            }
        }
        self.facts.extend_from_slice(facts);
    }

    /// Appends `count` facts in which everything happens, `step` at a time.
    pub async fn append_many(&mut self, count: u128, step: usize) {
        let facts: Vec<_> = (0..count).map(fact).collect();
        for facts in facts.chunks(step) {
            self.append(facts).await;
        }
    }
}

fn fact(n: u128) -> (u128, Event) {
    let (counter, owner) = (n * 7 % 40, OWNERS + n * 3 % 10);
    match n % 5 {
        0 => (owner, Event::Named(format!("name {n}"))),
        1 => (counter, Event::Owned(Uuid::from_u128(owner))),
        _ => (counter, Event::Added(n as i64 % 11 - 3)),
    }
}

fn command(stream: u128, version: u64, event: &Event) -> Command {
    Command {
        stream: StreamId(Uuid::from_u128(stream)),
        expected: StreamVersion(version),
        command_id: Uuid::from_u128(stream << 64 | u128::from(version)),
        caller: Some("test".to_owned()),
        traceparent: None,
        key: None,
        events: vec![event.encode()],
        facts: Vec::new(),
        boundary: None,
    }
}

pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Waits for a condition, with a bound.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
