//! Work beside the commands: snapshots of long streams, and forgetting old receipts.

use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_eventlog::{EventLog, Receipt, SavedSnapshot};
use headwater_kernel::StreamVersion;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::decide::{Decider, VersionedState, caught};
use crate::supervisor::Supervisor;

/// Snapshots that may wait to be written; more are dropped, the next one of the stream will do.
const SNAPSHOTS_WAITING_MAX: usize = 256;
/// Snapshots written by one statement.
const SNAPSHOTS_PER_WRITE: usize = 64;
/// Receipts deleted by one statement, and the pause between two rounds of it.
const RECEIPTS_PER_DELETE: u32 = 5_000;
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Takes states that are due for a snapshot. Never blocks the append.
#[derive(Clone)]
pub(crate) struct SnapshotSink {
    waiting: mpsc::Sender<SavedSnapshot>,
    every: u64,
}

impl SnapshotSink {
    /// Starts the task that writes them; it ends when the last clone is dropped.
    pub(crate) fn start(log: EventLog, every: u64, supervisor: &Supervisor) -> Self {
        let (waiting, queue) = mpsc::channel(SNAPSHOTS_WAITING_MAX);
        supervisor.spawn("the writer of snapshots", write_snapshots(log, queue));
        Self { waiting, every: every.max(1) }
    }

    /// Takes the state if the command crossed a multiple of the interval; gives the size of the
    /// snapshot that it made of it.
    pub(crate) fn offer(
        &self,
        decider: &Arc<dyn Decider>,
        after: &VersionedState,
        (before, command_id): (StreamVersion, Uuid),
        receipt: &Receipt,
    ) -> Option<usize> {
        if before.0 / self.every == after.version.0 / self.every {
            return None;
        }
        // The command is committed: nothing that happens here may change its answer.
        let made = caught("a snapshot", decider.names(), || decider.snapshot(&after.state));
        let (aggregate, snapshot) = made.flatten()?;
        let bytes = snapshot.state.len();
        let saved = SavedSnapshot {
            stream: receipt.stream,
            version: after.version,
            position: receipt.position,
            epoch: receipt.epoch,
            command_id,
            aggregate: aggregate.to_owned(),
            snapshot,
        };
        // Full: the next one of the stream will do.
        let _ = self.waiting.try_send(saved);
        Some(bytes)
    }
}

async fn write_snapshots(log: EventLog, mut queue: mpsc::Receiver<SavedSnapshot>) {
    let mut snapshots = Vec::new();
    while queue.recv_many(&mut snapshots, SNAPSHOTS_PER_WRITE).await > 0 {
        // One statement cannot write the same stream twice: the newest of each counts.
        snapshots.sort_by_key(|s: &SavedSnapshot| (s.stream, std::cmp::Reverse(s.version)));
        snapshots.dedup_by_key(|s| s.stream);
        if let Err(error) = log.save_snapshots(&snapshots).await {
            tracing::warn!(%error, "snapshots were not written; loading takes longer without them");
        }
        snapshots.clear();
    }
}

/// Deletes receipts of idempotency keys that are older than promised, until shutdown.
pub(crate) async fn forget_receipts(log: EventLog, hours: u32, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(FORGET_EVERY) => {}
        }
        loop {
            match log.forget_receipts(hours, RECEIPTS_PER_DELETE).await {
                Ok(deleted) if deleted == u64::from(RECEIPTS_PER_DELETE) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old receipts were not deleted; tried again in a minute");
                    break;
                }
            }
        }
    }
}
