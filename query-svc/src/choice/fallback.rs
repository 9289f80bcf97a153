//! Fallback rate limiter: how much reading the primary takes over that replicas cannot serve.
//!
//! The projector writes there, and everything that is read anywhere comes from what it writes: a
//! primary that drowns in reads makes every node late. So its fallback quota is a share of what
//! replicas have answered, in permits that are handed out in the order in which reads ask for them.
//! Measured by what replicas answered and not by what arrives: clients who are refused come again,
//! and their repeats must not buy the primary more work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_chassis::Metrics;
use tokio::time::Instant;

use crate::seen::FallbackMeters;

/// Share, in percent, by which there is no limit.
pub const NO_LIMIT: u8 = 100;

/// Reads a second that the primary takes over in any case: next to nothing for a database, and all
/// that a small system reads.
const FLOOR_PER_SECOND: f64 = 100.0;
/// Permits that nobody takes are saved up for this long.
const SAVED_FOR: Duration = Duration::from_secs(1);
/// Time constant by which a busy time fades while replicas answer; while none does, it stays.
const FORGOTTEN_OVER: Duration = Duration::from_secs(600);
/// Least and longest delay that a refused read is told to wait before it tries again.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The permits that there are. Pure: time and counts come in as data.
#[derive(Debug)]
struct Allowance {
    percent: u8,
    /// Reads a second that replicas answered at their busiest.
    busiest: f64,
    /// Time of the next permit.
    next: Instant,
}

impl Allowance {
    fn new(percent: u8, now: Instant) -> Self {
        Self { percent, busiest: 0.0, next: now }
    }

    fn per_second(&self) -> f64 {
        match self.percent {
            0 => 0.0,
            NO_LIMIT.. => f64::INFINITY,
            percent => (self.busiest * f64::from(percent) / 100.0).max(FLOOR_PER_SECOND),
        }
    }

    /// Replicas answered so many reads within this time.
    fn learn(&mut self, answered: u64, over: Duration) {
        let seconds = over.as_secs_f64();
        if answered == 0 || seconds <= 0.0 {
            return;
        }
        let kept = (-seconds / FORGOTTEN_OVER.as_secs_f64()).exp();
        self.busiest = (self.busiest * kept).max(answered as f64 / seconds);
    }

    /// The next permit's time, if it is not after `latest`; otherwise how long it is until then.
    fn take(&mut self, now: Instant, latest: Instant) -> Result<Instant, Duration> {
        let rate = self.per_second();
        if rate <= 0.0 {
            return Err(Duration::MAX);
        }
        if self.next + SAVED_FOR < now {
            self.next = now - SAVED_FOR;
        }
        let due = self.next.max(now);
        if due > latest {
            return Err(due - now);
        }
        self.next += Duration::from_secs_f64(1.0 / rate);
        Ok(due)
    }

    /// A permit was not needed.
    fn give_back(&mut self) {
        let rate = self.per_second();
        if rate > 0.0 {
            let earlier = self.next.checked_sub(Duration::from_secs_f64(1.0 / rate));
            self.next = earlier.unwrap_or(self.next);
        }
    }
}

/// Rate limiter of the reads that a pool's read primary answers in the place of replicas.
pub struct FallbackLimiter {
    allowance: Mutex<Allowance>,
    meters: FallbackMeters,
}

impl FallbackLimiter {
    /// So many percent, 0 to 100, of what replicas answer. 0 keeps reads off the primary,
    /// [`NO_LIMIT`] lets all of them go there.
    pub fn new(percent: u8, metrics: &Metrics) -> Self {
        let allowance = Allowance::new(percent, Instant::now());
        let meters = FallbackMeters::new(metrics);
        meters.per_second(allowance.per_second());
        Self { allowance: Mutex::new(allowance), meters }
    }

    /// A permit for the primary that is valid now or later, at `latest`.
    ///
    /// # Errors
    /// When to try again, if there is none.
    pub fn ask(self: &Arc<Self>, latest: Instant) -> Result<FallbackPermit, Duration> {
        let now = Instant::now();
        // What is asked for at once is asked for a moment ago by now.
        match self.allowance().take(now, latest.max(now)) {
            Ok(at) => {
                self.meters.asked(if at > now { "queued" } else { "at_once" });
                Ok(FallbackPermit { limiter: Arc::clone(self), at, spent: false })
            }
            Err(left) => {
                self.meters.asked("refused");
                let (least, most) = RETRY_AFTER;
                Err(left.clamp(least, most))
            }
        }
    }

    /// Replicas answered so many reads within this time.
    pub fn learn(&self, answered: u64, over: Duration) {
        let mut allowance = self.allowance();
        allowance.learn(answered, over);
        self.meters.per_second(allowance.per_second());
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One read's permit for the primary; goes to another read if it is dropped unspent.
pub struct FallbackPermit {
    limiter: Arc<FallbackLimiter>,
    at: Instant,
    spent: bool,
}

impl FallbackPermit {
    /// Time from which on it is valid.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The primary is read from.
    pub fn spend(&mut self) {
        self.spent = true;
    }
}

impl Drop for FallbackPermit {
    fn drop(&mut self) {
        if !self.spent {
            self.limiter.allowance().give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Permits that are had at once, asked for without a pause.
    fn at_once(allowance: &mut Allowance, now: Instant) -> usize {
        (0..1_000_000).take_while(|_| allowance.take(now, now).is_ok()).count()
    }

    #[test]
    fn what_is_had_in_a_second() {
        // percent, reads a second that replicas answered, permits
        let table = [
            (0, 0, 0),
            (0, 10_000, 0),
            // The floor.
            (1, 0, 100),
            (50, 0, 100),
            (50, 150, 100),
            (50, 10_000, 5_000),
            (20, 10_000, 2_000),
            (99, 1_000, 990),
            // No limit.
            (100, 0, 1_000_000),
        ];
        for (percent, answered, permits) in table {
            let begun = Instant::now();
            let mut allowance = Allowance::new(percent, begun);
            allowance.learn(answered, SECOND);
            // The first second's are used up, and the one more that begins it.
            at_once(&mut allowance, begun);
            let had = at_once(&mut allowance, begun + SECOND);
            assert!(had.abs_diff(permits) <= 1, "{percent} % of {answered}: {had}, not {permits}");
        }
    }

    #[test]
    fn unused_permits_are_saved_for_a_second_and_no_longer() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(50, begun);
        for idle in [1, 2, 60, 3_600] {
            let mut allowance = Allowance::new(50, begun);
            let had = at_once(&mut allowance, begun + SECOND * idle);
            assert!(had.abs_diff(100) <= 1, "{had} after {idle} s");
        }
        assert_eq!(at_once(&mut allowance, begun), 1, "nothing is saved at the start");
    }

    #[test]
    fn permits_are_in_the_order_of_asking_and_not_beyond_the_latest() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(50, begun);
        let latest = begun + Duration::from_millis(30);
        let millis = |permit: Result<Instant, Duration>| match permit {
            Ok(at) => ("at", (at - begun).as_millis()),
            Err(away) => ("away", away.as_millis()),
        };
        let permits: Vec<_> = (0..5).map(|_| millis(allowance.take(begun, latest))).collect();
        assert_eq!(permits, [("at", 0), ("at", 10), ("at", 20), ("at", 30), ("away", 40)]);
        // Whoever is refused has taken nothing, and what is given back is there for the next.
        assert_eq!(millis(allowance.take(begun, latest)), ("away", 40));
        allowance.give_back();
        assert_eq!(millis(allowance.take(begun, latest)), ("at", 30));
        assert_eq!(millis(allowance.take(begun, latest)), ("away", 40));
    }

    #[test]
    fn a_busy_time_is_learned_at_once_and_forgotten_slowly() {
        let mut allowance = Allowance::new(50, Instant::now());
        let per_second = |allowance: &Allowance| allowance.per_second().round() as u64;
        allowance.learn(2_000, SECOND / 2);
        assert_eq!(per_second(&allowance), 2_000);
        // While no replica answers it stays: that is when it is needed.
        for _ in 0..10_000 {
            allowance.learn(0, SECOND);
        }
        assert_eq!(per_second(&allowance), 2_000);
        for _ in 0..600 {
            allowance.learn(1, SECOND);
        }
        assert!((700..=780).contains(&per_second(&allowance)), "{allowance:?}");
        for _ in 0..6_000 {
            allowance.learn(300, SECOND);
        }
        assert_eq!(per_second(&allowance), 150);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_can_be_had_at_once() {
        let limiter = Arc::new(FallbackLimiter::new(50, &Metrics::new()));
        let latest = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(limiter.ask(latest).is_ok(), "there are permits");
    }
}
