//! Asks every part for its place. A part that does not answer is part of the picture, not an error.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use headwater_eventlog::EventLog;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::health;
use crate::local::connect;

/// No part is waited for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Addresses to look at.
pub(super) struct Places {
    /// The write database.
    pub write_url: String,
    /// Name and URL of each read node.
    pub read_urls: Vec<(String, String)>,
    /// Name, gRPC and admin address of each program.
    pub programs: Vec<(String, SocketAddr, SocketAddr)>,
}

/// The whole picture.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// The log, or why it cannot be seen.
    pub log: Result<Log, String>,
    /// The read nodes.
    pub nodes: Vec<Node>,
    /// The programs.
    pub programs: Vec<Program>,
}

/// The log's heads.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    /// Identity of the log.
    pub id: String,
    /// Epoch of the log.
    pub epoch: u32,
    /// The head of each partition.
    pub heads: Vec<u64>,
}

/// A read node.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    /// Name of the node.
    pub name: String,
    /// State of the node, or the reason why it cannot be asked.
    pub shows: Result<Shown, String>,
}

/// State that a read node shows.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// `primary` or `replica`, by its own word.
    pub role: &'static str,
    /// Checkpoint of each projection there.
    pub projections: Vec<Checkpoint>,
}

/// A projection's checkpoint on one node.
#[derive(Debug, Serialize)]
pub(super) struct Checkpoint {
    /// The projection.
    pub projection: String,
    /// By partition.
    pub positions: Vec<u64>,
    /// Events of the log that are missing here; unknown if the log cannot be seen.
    pub lag_events: Option<u64>,
    /// Age of the state, in seconds.
    pub lag_seconds: Option<f64>,
    /// Events that could not be applied.
    pub parked: i64,
}

/// A program.
#[derive(Debug, Serialize)]
pub(super) struct Program {
    /// Name of the program.
    pub name: String,
    /// Address of gRPC.
    pub address: SocketAddr,
    /// Readiness, or the reason of the lack of it.
    pub ready: Result<(), String>,
}

impl Status {
    /// True if every part answers and is ready.
    pub(super) fn is_well(&self) -> bool {
        let parked = |shown: &Shown| shown.projections.iter().any(|c| c.parked > 0);
        self.log.is_ok()
            && self.nodes.iter().all(|n| n.shows.as_ref().is_ok_and(|shown| !parked(shown)))
            && self.programs.iter().all(|p| p.ready.is_ok())
    }
}

/// Asks every part, all at once.
pub(super) async fn look(places: &Places) -> Status {
    let log = async { within(log(&places.write_url)).await };
    let nodes =
        join_all(places.read_urls.iter().map(|(name, url)| async {
            Node { name: name.clone(), shows: within(node(url)).await }
        }));
    let programs = join_all(places.programs.iter().map(|(name, address, admin)| async {
        let ready = within(health::ready(*admin)).await;
        Program { name: name.clone(), address: *address, ready }
    }));
    let (log, mut nodes, programs) = tokio::join!(log, nodes, programs);
    if let Ok(log) = &log {
        let shown = nodes.iter_mut().filter_map(|node| node.shows.as_mut().ok());
        shown.flat_map(|shown| &mut shown.projections).for_each(|c| measure(c, log));
    }
    Status { log, nodes, programs }
}

async fn within<T>(asked: impl Future<Output = anyhow::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| format!("{error:#}")),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn log(url: &str) -> anyhow::Result<Log> {
    let log = EventLog::connect(url, 1).await?;
    let (info, heads) = (log.info(), log.heads().await?);
    log.close().await;
    Ok(Log {
        id: info.id.to_string(),
        epoch: info.epoch.0,
        heads: heads.heads.iter().map(|head| head.position.0).collect(),
    })
}

async fn node(url: &str) -> anyhow::Result<Shown> {
    let client = connect(url).await?;
    let rows = client.query(include_str!("../../sql/checkpoints.sql"), &[]).await;
    let mut shown = Shown { role: "replica", projections: Vec::new() };
    for row in rows.context("it shows no checkpoint yet")? {
        shown.role = if row.try_get::<_, bool>("is_replica")? { "replica" } else { "primary" };
        let positions: Vec<i64> = row.try_get("positions")?;
        let as_of: OffsetDateTime = row.try_get("as_of")?;
        shown.projections.push(Checkpoint {
            projection: row.try_get("projection")?,
            positions: positions.into_iter().map(i64::unsigned_abs).collect(),
            lag_events: None,
            lag_seconds: Some((OffsetDateTime::now_utc() - as_of).as_seconds_f64()),
            parked: row.try_get("parked")?,
        });
    }
    Ok(shown)
}

fn measure(checkpoint: &mut Checkpoint, log: &Log) {
    let missing = log.heads.iter().zip(&checkpoint.positions);
    let lag = missing.map(|(head, applied)| head.saturating_sub(*applied)).sum();
    checkpoint.lag_events = Some(lag);
    // The node was asked at about the time the log was: what it had applied after that is no lag.
    checkpoint.lag_seconds = checkpoint.lag_seconds.map(|seconds| seconds.max(0.0));
}
