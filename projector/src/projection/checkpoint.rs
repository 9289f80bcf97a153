//! How far a projection is, and whether the log is still the one it has applied. Pure.

use headwater_eventlog::{Chunk, Head, Heads, History, LogInfo};
use headwater_kernel::{Epoch, LogId, Partition, Position};
use thiserror::Error;
use time::OffsetDateTime;

/// What a projection has applied. Stored in the transaction of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log it is of.
    pub log: LogId,
    /// The log's epoch.
    pub epoch: Epoch,
    /// The last applied event of every partition with the digest there, from partition 0.
    pub heads: Vec<Head>,
    /// The write database's time up to which everything recorded has been applied.
    pub as_of: OffsetDateTime,
    /// Raised by whoever changes the projection's rows by another way than its projector (retrying
    /// a parked event, switching to a rebuilt view), so that a running projector notices and starts
    /// anew.
    pub revision: i64,
}

/// The log is not the one that was applied. Going on would mix two histories.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Mismatch {
    /// Another log, or the same one, restored to a time before the epoch that was applied.
    #[error(
        "the rows are of log {applied} in epoch {applied_epoch}, the write database holds log \
         {found} in epoch {found_epoch}; rebuild the projection, or give it the write database \
         it belongs to"
    )]
    Log {
        /// The checkpoint's log.
        applied: LogId,
        /// The checkpoint's epoch.
        applied_epoch: Epoch,
        /// The log's id.
        found: LogId,
        /// The log's epoch.
        found_epoch: Epoch,
    },
    /// Another number of partitions.
    #[error("the checkpoint has {applied} partitions, the log {found}")]
    Partitions {
        /// The checkpoint's.
        applied: usize,
        /// The log's.
        found: usize,
    },
    /// The log is shorter than what was applied.
    #[error(
        "partition {partition} of the log ends at {head}, but {applied} was applied: the log has \
         lost events"
    )]
    Lost {
        /// The partition.
        partition: Partition,
        /// Place where the log ends.
        head: Position,
        /// Everything that was applied.
        applied: Position,
    },
    /// The log has another history up to the same position.
    #[error(
        "partition {partition} of the log has another history up to {position} than was applied"
    )]
    History {
        /// The partition.
        partition: Partition,
        /// The position that both have.
        position: Position,
    },
}

impl Checkpoint {
    /// Before the first event.
    pub fn start(info: &LogInfo) -> Self {
        Self {
            log: info.id,
            epoch: info.epoch,
            heads: vec![Head::START; usize::from(info.partitions)],
            as_of: OffsetDateTime::UNIX_EPOCH,
            revision: 0,
        }
    }

    /// Checks that it is of this log. The log may be in a later epoch: then its history has to be
    /// compared, too.
    ///
    /// # Errors
    /// The log has another id, an earlier epoch or another number of partitions.
    pub fn belongs_to(&self, info: &LogInfo) -> Result<(), Mismatch> {
        if self.log != info.id || self.epoch > info.epoch {
            return Err(Mismatch::Log {
                applied: self.log,
                applied_epoch: self.epoch,
                found: info.id,
                found_epoch: info.epoch,
            });
        }
        same_partitions(&self.heads, usize::from(info.partitions))
    }

    /// Checks that what was applied is the beginning of this history, which is that of the log at
    /// the checkpoint's positions: equal digests prove it for all that lies before.
    ///
    /// # Errors
    /// The log has another history up to some position.
    pub fn is_continued_by(&self, history: &History) -> Result<(), Mismatch> {
        same_partitions(&self.heads, history.digests.len())?;
        for (index, (applied, found)) in self.heads.iter().zip(&history.digests).enumerate() {
            if *found != Some(applied.digest) {
                let (partition, position) = (Partition(index as u16), applied.position);
                return Err(Mismatch::History { partition, position });
            }
        }
        Ok(())
    }
}

/// How far the feed has read, and the time up to which it has seen everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last event read of every partition.
    pub heads: Vec<Head>,
    /// By partition.
    seen_until: Vec<OffsetDateTime>,
}

impl Cursor {
    /// Place where the checkpoint is.
    pub fn at(checkpoint: &Checkpoint) -> Self {
        let seen_until = vec![checkpoint.as_of; checkpoint.heads.len()];
        Self { heads: checkpoint.heads.clone(), seen_until }
    }

    /// The partitions that have more events. Those that have none are seen up to the time of the
    /// heads.
    ///
    /// # Errors
    /// The log does not hold what has been read from it.
    pub fn news(&mut self, log: &Heads) -> Result<Vec<Partition>, Mismatch> {
        same_partitions(&self.heads, log.heads.len())?;
        let mut news = Vec::new();
        for (index, (read, head)) in self.heads.iter().zip(&log.heads).enumerate() {
            let partition = Partition(index as u16);
            if head.position < read.position {
                let (head, applied) = (head.position, read.position);
                return Err(Mismatch::Lost { partition, head, applied });
            }
            if head.position > read.position {
                news.push(partition);
            } else if head.digest != read.digest {
                return Err(Mismatch::History { partition, position: head.position });
            } else {
                self.seen_until[index] = self.seen_until[index].max(log.now);
            }
        }
        Ok(news)
    }

    /// Takes note of a chunk that was read.
    pub fn advance(&mut self, partition: Partition, chunk: &Chunk) {
        let index = usize::from(partition.0);
        // Behind the head, all that is certain is that everything recorded before the last event
        // has been seen.
        let until = if chunk.caught_up {
            chunk.now
        } else {
            chunk.events.last().map_or(OffsetDateTime::UNIX_EPOCH, |event| event.recorded_at)
        };
        self.heads[index] = chunk.end;
        self.seen_until[index] = self.seen_until[index].max(until);
    }

    /// The time up to which everything of every partition has been seen.
    pub fn as_of(&self) -> OffsetDateTime {
        self.seen_until.iter().min().copied().unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

fn same_partitions(heads: &[Head], found: usize) -> Result<(), Mismatch> {
    if heads.len() != found {
        return Err(Mismatch::Partitions { applied: heads.len(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwater_kernel::Digest;
    use time::Duration;
    use uuid::Uuid;

    use super::*;

    fn head(position: u64, digest: u8) -> Head {
        Head { position: Position(position), digest: Digest([digest; 32]) }
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
    }

    fn checkpoint() -> Checkpoint {
        let (log, epoch) = (LogId(Uuid::from_u128(1)), Epoch(2));
        let heads = vec![head(5, 1), head(0, 0)];
        Checkpoint { log, epoch, heads, as_of: at(10), revision: 0 }
    }

    fn chunk(end: Head, now: i64, caught_up: bool) -> Chunk {
        Chunk { events: Vec::new(), end, epoch: Epoch(2), now: at(now), caught_up }
    }

    #[test]
    fn only_the_log_that_was_applied_is_gone_on_with() {
        let info = |id, epoch, partitions| LogInfo {
            id: LogId(Uuid::from_u128(id)),
            epoch: Epoch(epoch),
            partitions,
            edition: headwater_eventlog::Edition::Finished,
        };
        let verdict = |info| checkpoint().belongs_to(&info);
        assert_eq!(verdict(info(1, 2, 2)), Ok(()));
        // A failover began another epoch: its history decides.
        assert_eq!(verdict(info(1, 3, 2)), Ok(()));
        assert!(matches!(verdict(info(9, 2, 2)), Err(Mismatch::Log { .. })));
        assert!(matches!(verdict(info(1, 1, 2)), Err(Mismatch::Log { .. })));
        assert!(matches!(verdict(info(1, 2, 4)), Err(Mismatch::Partitions { .. })));
    }

    #[test]
    fn a_new_epoch_is_gone_on_with_if_it_has_the_history_that_was_applied() {
        let digest = |byte: u8| Some(Digest([byte; 32]));
        let table = [
            (vec![digest(1), digest(0)], Ok(())),
            // Other events took the place of those that were applied.
            (vec![digest(9), digest(0)], Err(0)),
            (vec![digest(1), digest(9)], Err(1)),
            // The log ends before, or no append ends there.
            (vec![None, digest(0)], Err(0)),
        ];
        for (digests, expected) in table {
            let history = History { epoch: Epoch(3), digests };
            let found = checkpoint().is_continued_by(&history).map_err(|mismatch| match mismatch {
                Mismatch::History { partition, .. } => partition.0,
                other => panic!("{other}"),
            });
            assert_eq!(found, expected, "{history:?}");
        }
        let history = History { epoch: Epoch(3), digests: vec![digest(1)] };
        let found = checkpoint().is_continued_by(&history);
        assert!(matches!(found, Err(Mismatch::Partitions { .. })));
    }

    #[test]
    fn a_log_that_was_shortened_or_replaced_is_noticed() {
        let news = |heads: Vec<Head>| {
            let epoch = Epoch(2);
            Cursor::at(&checkpoint()).news(&Heads { epoch, heads, now: at(20) })
        };
        assert_eq!(news(vec![head(5, 1), head(0, 0)]), Ok(vec![]));
        assert_eq!(news(vec![head(6, 9), head(3, 9)]), Ok(vec![Partition(0), Partition(1)]));
        assert!(matches!(news(vec![head(4, 1), head(0, 0)]), Err(Mismatch::Lost { .. })));
        assert!(matches!(news(vec![head(5, 2), head(0, 0)]), Err(Mismatch::History { .. })));
        assert!(matches!(news(vec![head(5, 1)]), Err(Mismatch::Partitions { .. })));
    }

    #[test]
    fn the_time_is_that_of_the_partition_seen_least_far() {
        let mut cursor = Cursor::at(&checkpoint());
        let (epoch, heads) = (Epoch(2), vec![head(7, 3), head(0, 0)]);
        let log = Heads { epoch, heads, now: at(20) };
        assert_eq!(cursor.news(&log), Ok(vec![Partition(0)]));
        // The other one has been seen up to 20, this one no further than before.
        assert_eq!(cursor.as_of(), at(10));
        cursor.advance(Partition(0), &chunk(head(6, 2), 21, false));
        assert_eq!(cursor.as_of(), at(10));
        cursor.advance(Partition(0), &chunk(head(7, 3), 22, true));
        assert_eq!(cursor.as_of(), at(20));
        assert_eq!(cursor.heads, log.heads);
    }
}
