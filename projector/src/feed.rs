//! The feed: what the log has beyond a checkpoint, batch by batch.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use headwater_chassis::{Backoff, Delays};
use headwater_eventlog::{Chunk, EventLog, Head};
use headwater_kernel::{Epoch, Partition, RecordedEvent};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::projection::checkpoint::{Checkpoint, Cursor};
use crate::stop::{Stop, within};

/// Limits and pauses of a feed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Commits whose changes are kept for those who watch, counted once for each view.
    pub changes_kept: u32,
    /// About how many events a batch may have, over all partitions. Appends are not cut, so it may
    /// be more.
    pub batch_events_max: u32,
    /// The most rows that are loaded at once: what a batch holds in memory. A batch that touches
    /// more is applied in pieces; an event that does so is parked.
    pub rows_max: usize,
    /// The log is looked at this often if no hint comes.
    pub poll: Duration,
    /// A batch comes at least this often, be it without events.
    pub heartbeat: Duration,
    /// The longest rest after a batch that took all there was. It rests [`REST`] times as long as
    /// the batch took, at most this long: every batch costs a commit on every node, so under steady
    /// load fewer and larger ones cost less, and a lone event is never kept waiting for long.
    pub gather: Duration,
}

/// Times as long as it worked that a projector which keeps up rests.
const REST: u32 = 4;

/// Events to apply, or only news of the time.
#[derive(Debug)]
pub struct Batch {
    /// The events, each partition's in log order.
    pub events: Vec<RecordedEvent>,
    /// The last event of every partition after this batch.
    pub heads: Vec<Head>,
    /// The write database's time up to which everything recorded is applied after this batch.
    pub as_of: OffsetDateTime,
    /// True if this was all that the log had.
    pub caught_up: bool,
}

/// Reads the log from a checkpoint on.
pub struct Feed {
    log: EventLog,
    pace: Pace,
    epoch: Epoch,
    cursor: Cursor,
    bell: Bell,
    last: Instant,
    /// True if the last batch took all there was.
    rests: bool,
}

impl Feed {
    /// From a checkpoint on.
    pub fn new(log: EventLog, pace: Pace, checkpoint: &Checkpoint) -> Self {
        let bell = Bell::listening_to(log.clone());
        let now = Instant::now();
        let (epoch, cursor) = (checkpoint.epoch, Cursor::at(checkpoint));
        Self { log, pace, epoch, cursor, bell, last: now, rests: false }
    }

    /// The next batch, as soon as there are events or a heartbeat is due. Not to be called again
    /// after an error, nor after it was dropped half-way.
    ///
    /// # Errors
    /// The log cannot be read, or is not the one that was read before, or in another epoch.
    pub async fn next(&mut self) -> Result<Batch, Stop> {
        if std::mem::take(&mut self.rests) {
            let worked = self.last.elapsed();
            sleep(rest(worked, self.pace.gather)).await;
        }
        loop {
            let heads = within("reading the log's heads", self.log.heads()).await?;
            let news = self.cursor.news(&heads)?;
            self.same_epoch(heads.epoch)?;
            if !news.is_empty() {
                return self.read(&news).await;
            }
            let since = self.last.elapsed();
            if since >= self.pace.heartbeat {
                return Ok(self.batch(Vec::new(), true));
            }
            let pause = self.pace.poll.min(self.pace.heartbeat - since);
            // Whether a hint came or not, the log says what there is.
            let _ = timeout(pause, self.bell.rung.notified()).await;
        }
    }

    async fn read(&mut self, news: &[Partition]) -> Result<Batch, Stop> {
        let limit = (self.pace.batch_events_max / news.len() as u32).max(1);
        let read = |partition: &Partition| {
            let after = &self.cursor.heads[usize::from(partition.0)];
            self.log.read(*partition, after, limit)
        };
        let chunks = within("reading the log", try_join_all(news.iter().map(read))).await?;
        // Or positions of the new epoch would be claimed for the old one.
        chunks.iter().try_for_each(|chunk| self.same_epoch(chunk.epoch))?;
        let caught_up = chunks.iter().all(|chunk| chunk.caught_up);
        let mut events = Vec::with_capacity(chunks.iter().map(|chunk| chunk.events.len()).sum());
        for (partition, chunk) in news.iter().zip(chunks) {
            self.cursor.advance(*partition, &chunk);
            let Chunk { events: read, .. } = chunk;
            events.extend(read);
        }
        Ok(self.batch(events, caught_up))
    }

    fn same_epoch(&self, found: Epoch) -> Result<(), Stop> {
        if found == self.epoch { Ok(()) } else { Err(Stop::NewEpoch) }
    }

    fn batch(&mut self, events: Vec<RecordedEvent>, caught_up: bool) -> Batch {
        self.last = Instant::now();
        self.rests = caught_up && !events.is_empty();
        let heads = self.cursor.heads.clone();
        Batch { events, heads, as_of: self.cursor.as_of(), caught_up }
    }
}

fn rest(worked: Duration, longest: Duration) -> Duration {
    worked.saturating_mul(REST).min(longest)
}

/// Rings when something may have been appended. Any number of hints that come while nobody waits
/// ring once.
struct Bell {
    rung: Arc<Notify>,
    task: JoinHandle<()>,
}

const RELISTEN: Delays =
    Delays { first: Duration::from_millis(200), max: Duration::from_secs(10), factor: 2.0 };

impl Bell {
    fn listening_to(log: EventLog) -> Self {
        let rung = Arc::new(Notify::new());
        let task = tokio::spawn(listen(log, Arc::clone(&rung)));
        Self { rung, task }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(log: EventLog, rung: Arc<Notify>) {
    let mut backoff = Backoff::new(RELISTEN);
    loop {
        if let Ok(mut wakeups) = log.wakeups().await {
            backoff.reset();
            // Once at the start, for what came while nobody listened.
            rung.notify_one();
            while wakeups.next().await.is_ok() {
                rung.notify_one();
            }
        }
        tracing::debug!("not listening for hints; polling goes on");
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_follows_work_within_its_bound() {
        let check = |worked_ms, longest_ms, expected_ms| {
            let (worked, longest) =
                (Duration::from_millis(worked_ms), Duration::from_millis(longest_ms));
            assert_eq!(rest(worked, longest), Duration::from_millis(expected_ms));
        };
        check(1, 20, 4);
        check(5, 20, 20);
        check(5_000, 20, 20);
        check(u64::MAX, 20, 20);
        check(5, 0, 0);
    }
}
