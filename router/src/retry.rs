//! Decision whether a request whose attempt failed may be sent again. Pure.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_chassis::Delays;

/// Sends of one request, the first one included.
pub const ATTEMPTS_MAX: usize = 3;

/// Waited before an endpoint that failed this request is asked again. Going to another one does
/// not wait.
pub const PAUSE: Delays =
    Delays { first: Duration::from_millis(20), max: Duration::from_millis(200), factor: 3.0 };

/// Fate of a request whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Unsent: the request never left this process.
    Unsent,
    /// The endpoint says that it has not looked at it (REFUSED_STREAM, or above the last stream
    /// of a GOAWAY).
    Unprocessed,
    /// Unknown: it may have been carried out, or be carried out still.
    Unknown,
}

/// Facts that the decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Fate of the request.
    pub fate: Fate,
    /// Attempts made, this one included.
    pub made: usize,
    /// True if doing it twice changes nothing.
    pub repeatable: bool,
    /// True if the part of the body that was sent is still at hand.
    pub replayable: bool,
}

/// Next step after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it again.
    Again,
    /// Send it again if the budget allows: the endpoint may have done the work already, and
    /// repeats must not multiply the load of an upstream that is breaking down.
    AgainOnBudget,
    /// Tell the client.
    GiveUp,
}

/// Decides.
pub fn judge(attempt: Attempt) -> Verdict {
    if attempt.made >= ATTEMPTS_MAX || !attempt.replayable {
        return Verdict::GiveUp;
    }
    match attempt.fate {
        Fate::Unsent | Fate::Unprocessed => Verdict::Again,
        Fate::Unknown if attempt.repeatable => Verdict::AgainOnBudget,
        Fate::Unknown => Verdict::GiveUp,
    }
}

/// Repeats that an upstream is worth: a tenth of its requests, and this many saved up.
const SAVED_MAX: u32 = 100;
const REQUESTS_PER_REPEAT: u32 = 10;

/// Bounds repeats to a share of the requests, so that an upstream in trouble is not sent three
/// times the load that troubles it.
#[derive(Debug)]
pub struct Budget {
    /// In tenths of a repeat.
    saved: AtomicU32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { saved: AtomicU32::new(SAVED_MAX * REQUESTS_PER_REPEAT) }
    }
}

impl Budget {
    /// A request was made.
    pub fn deposit(&self) {
        // Read first: usually it is full, and a write would take the line from the other threads.
        // Two at once may save one more than the bound.
        if self.saved.load(Ordering::Relaxed) < SAVED_MAX * REQUESTS_PER_REPEAT {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one more repeat from the budget; false if it is spent.
    pub fn withdraw(&self) -> bool {
        let take = |saved: u32| saved.checked_sub(REQUESTS_PER_REPEAT);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_happen_twice_is_sent_again() {
        use Fate::{Unknown, Unprocessed, Unsent};
        use Verdict::{Again, AgainOnBudget, GiveUp};
        // fate, attempts made, repeatable, replayable, verdict
        let cases = [
            (Unsent, 1, false, true, Again),
            (Unsent, 2, false, true, Again),
            (Unsent, 3, false, true, GiveUp),
            (Unsent, 1, true, false, GiveUp),
            (Unprocessed, 1, false, true, Again),
            (Unprocessed, 1, false, false, GiveUp),
            (Unprocessed, 3, true, true, GiveUp),
            (Unknown, 1, false, true, GiveUp),
            (Unknown, 1, true, true, AgainOnBudget),
            (Unknown, 2, true, true, AgainOnBudget),
            (Unknown, 3, true, true, GiveUp),
            (Unknown, 1, true, false, GiveUp),
        ];
        for (fate, made, repeatable, replayable, want) in cases {
            let attempt = Attempt { fate, made, repeatable, replayable };
            assert_eq!(judge(attempt), want, "{attempt:?}");
        }
    }

    #[test]
    fn repeats_are_a_share_of_requests() {
        let budget = Budget::default();
        let burst = (0..1_000).filter(|_| budget.withdraw()).count();
        assert_eq!(burst, SAVED_MAX as usize);
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), 5);
        for _ in 0..100_000 {
            budget.deposit();
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), SAVED_MAX as usize);
    }
}
