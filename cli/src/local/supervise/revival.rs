//! Time at which a member that died is started again. Pure: time and chance come in as data.

use std::time::{Duration, Instant};

use headwater_chassis::{Backoff, Delays};

/// Restarts come quickly at first and then leave the machine in peace.
const RESTARTS: Delays =
    Delays { first: Duration::from_millis(500), max: Duration::from_secs(30), factor: 2.0 };
/// A member that has run this long was well: its next failure counts as the first.
const WELL: Duration = Duration::from_secs(60);

/// Next step for a dead member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Note the death, and start the member after this delay.
    Schedule(Duration),
    /// Wait: the delay is not over.
    Wait,
    /// Start it.
    Start,
}

/// One member's restarts.
pub(super) struct Revival {
    backoff: Backoff,
    due: Option<Instant>,
}

impl Default for Revival {
    fn default() -> Self {
        Revival { backoff: Backoff::new(RESTARTS), due: None }
    }
}

impl Revival {
    /// Called whenever the member is found dead. `ran` is how long it had lived, `random` from 0 to
    /// 1.
    pub(super) fn next(&mut self, ran: Duration, now: Instant, random: f64) -> Next {
        match self.due {
            None => {
                if ran >= WELL {
                    self.backoff.reset();
                }
                let delay = self.backoff.next(random);
                self.due = Some(now + delay);
                Next::Schedule(delay)
            }
            Some(due) if now < due => Next::Wait,
            Some(_) => {
                self.due = None;
                Next::Start
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_until_a_member_has_run_well() {
        let mut revival = Revival::default();
        let mut now = Instant::now();
        let lives = [(1, 500), (1, 1_000), (1, 2_000), (1, 4_000), (61, 500), (1, 1_000)];
        for (ran_seconds, delay_ms) in lives {
            let ran = Duration::from_secs(ran_seconds);
            let delay = Duration::from_millis(delay_ms);
            assert_eq!(revival.next(ran, now, 1.0), Next::Schedule(delay));
            assert_eq!(revival.next(ran, now, 1.0), Next::Wait);
            now += delay;
            assert_eq!(revival.next(ran, now, 1.0), Next::Start);
        }
    }
}
