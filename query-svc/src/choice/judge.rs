//! Judgement of an answer's freshness. Pure: decided from the checkpoint that came with the rows.

use headwater_kernel::Consistency;
use time::{Duration, OffsetDateTime};

use crate::seen::Checkpoint;

/// How far a state may be dated ahead of the clock that its age is measured by. The clocks of two
/// machines differ by less, if anything keeps them. A state dated further ahead was made before the
/// write database's clock was set back, or by another server's clock: its age is not known.
const AHEAD_MAX: Duration = Duration::SECOND;

/// Verdict on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fresh enough: reply.
    Fresh,
    /// Older than required.
    TooOld,
    /// Of another log, or another epoch, than the token. A token of an earlier epoch has been
    /// settled, before nodes are read, in the epoch that they show.
    OtherLog,
}

/// Judges the state that rows were read from, at the time `now`.
pub fn judge(shown: &Checkpoint, required: &Consistency, now: OffsetDateTime) -> Verdict {
    if let Consistency::AtLeast(token) = required
        && (token.log, token.epoch) != (shown.log, shown.epoch)
    {
        return Verdict::OtherLog;
    }
    if matches!(required, Consistency::MaxStaleness(_)) && !has_age(shown, now) {
        return Verdict::TooOld;
    }
    if shown.freshness.satisfies(required, now) { Verdict::Fresh } else { Verdict::TooOld }
}

/// True if the state's age at this time is known: see [`AHEAD_MAX`].
pub fn has_age(shown: &Checkpoint, now: OffsetDateTime) -> bool {
    shown.freshness.as_of <= now + AHEAD_MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headwater_kernel::{Epoch, Freshness, LogId, Position, Token};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(1));

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn shown(positions: &[u64], as_of: i64) -> Checkpoint {
        let positions = positions.iter().map(|position| Position(*position)).collect();
        Checkpoint::new(LOG, Epoch(2), Freshness { positions, as_of: at(as_of) })
    }

    fn token(log: LogId, epoch: u32, positions: &[u64]) -> Consistency {
        let positions: Vec<_> = positions.iter().map(|position| Position(*position)).collect();
        Consistency::AtLeast(Token::of_positions(log, Epoch(epoch), &positions))
    }

    #[test]
    fn table() {
        let within = |seconds| Consistency::MaxStaleness(Duration::from_secs(seconds));
        let other = LogId(Uuid::from_u128(9));
        let table = [
            (Consistency::Any, Verdict::Fresh),
            (token(LOG, 2, &[]), Verdict::Fresh),
            (token(LOG, 2, &[10, 20]), Verdict::Fresh),
            (token(LOG, 2, &[10, 19]), Verdict::Fresh),
            (token(LOG, 2, &[11, 20]), Verdict::TooOld),
            (token(LOG, 2, &[10, 21]), Verdict::TooOld),
            (token(LOG, 2, &[10, 20, 1]), Verdict::TooOld),
            (token(LOG, 1, &[1]), Verdict::OtherLog),
            (token(LOG, 3, &[1]), Verdict::OtherLog),
            (token(other, 2, &[1]), Verdict::OtherLog),
            (token(other, 2, &[]), Verdict::OtherLog),
            (within(5), Verdict::Fresh),
            (within(4), Verdict::TooOld),
        ];
        let shown = shown(&[10, 20], 100);
        for (required, verdict) in table {
            assert_eq!(judge(&shown, &required, at(105)), verdict, "{required:?}");
        }
    }

    #[test]
    fn a_clock_that_is_a_little_behind_makes_nothing_stale_and_one_that_was_set_back_does() {
        let limit = Consistency::MaxStaleness(Duration::from_millis(10));
        let table = [(100, Verdict::Fresh), (99, Verdict::Fresh), (98, Verdict::TooOld)];
        for (now, verdict) in table {
            assert_eq!(judge(&shown(&[1], 100), &limit, at(now)), verdict, "{now}");
        }
        // Only its age is not known.
        for required in [Consistency::Any, token(LOG, 2, &[1])] {
            assert_eq!(judge(&shown(&[1], 100), &required, at(0)), Verdict::Fresh);
        }
    }
}
