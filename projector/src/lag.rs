//! Lag of a projection behind its log. Pure.

use std::time::Duration;

use headwater_eventlog::Heads;

use crate::projection::checkpoint::Checkpoint;

/// Above which lag it is an alarm.
#[derive(Clone, Copy, Debug)]
pub struct LagLimits {
    /// Events, over all partitions.
    pub events: u64,
    /// Age of `as_of`.
    pub age: Duration,
}

/// Lag of a projection, in events and in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    /// Events not applied, by partition.
    pub events: Vec<u64>,
    /// Age of `as_of` by the write database's clock: true while the log is idle too, and while no
    /// projector lives.
    pub age: Duration,
}

impl Lag {
    /// Of a checkpoint at the time of the heads; without a checkpoint, everything is missing.
    pub fn of(checkpoint: Option<&Checkpoint>, log: &Heads) -> Self {
        let applied = |index: usize| checkpoint.and_then(|c| c.heads.get(index));
        let behind = |(index, head): (usize, &headwater_eventlog::Head)| {
            head.position.since(applied(index).map(|head| head.position).unwrap_or_default())
        };
        let as_of = checkpoint.map_or(time::OffsetDateTime::UNIX_EPOCH, |c| c.as_of);
        Self {
            events: log.heads.iter().enumerate().map(behind).collect(),
            age: (log.now - as_of).try_into().unwrap_or(Duration::ZERO),
        }
    }

    /// Checks the lag against the limits.
    ///
    /// # Errors
    /// A sentence that names the limit it exceeds.
    pub fn within(&self, limits: &LagLimits) -> Result<(), String> {
        let events: u64 = self.events.iter().sum();
        if events > limits.events {
            return Err(format!(
                "{events} events behind, over the limit of {} (HEADWATER_LAG_EVENTS_MAX)",
                limits.events
            ));
        }
        if self.age > limits.age {
            return Err(format!(
                "{:.1} s behind, over the limit of {:.1} s (HEADWATER_LAG_MS_MAX)",
                self.age.as_secs_f64(),
                limits.age.as_secs_f64()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use headwater_eventlog::Head;
    use headwater_kernel::{Digest, Epoch, LogId, Position};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn heads(positions: &[u64]) -> Vec<Head> {
        let head = |p: &u64| Head { position: Position(*p), digest: Digest::EMPTY };
        positions.iter().map(head).collect()
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn checkpoint(positions: &[u64], as_of: i64) -> Checkpoint {
        let (log, epoch) = (LogId(Uuid::nil()), Epoch(1));
        Checkpoint { log, epoch, heads: heads(positions), as_of: at(as_of), revision: 0 }
    }

    #[test]
    fn the_lag_is_what_is_missing() {
        let log = Heads { epoch: Epoch(1), heads: heads(&[10, 20]), now: at(100) };
        let of = |checkpoint: Option<Checkpoint>| {
            let lag = Lag::of(checkpoint.as_ref(), &log);
            (lag.events, lag.age.as_secs())
        };
        assert_eq!(of(Some(checkpoint(&[10, 20], 99))), (vec![0, 0], 1));
        assert_eq!(of(Some(checkpoint(&[4, 20], 40))), (vec![6, 0], 60));
        // Read before the log's heads were, so it cannot be ahead; if it is, it is not behind.
        assert_eq!(of(Some(checkpoint(&[11, 20], 101))), (vec![0, 0], 0));
        assert_eq!(of(None), (vec![10, 20], 100));
    }
}
