//! The write database's clock: the one that `as_of` is set by, and so the only one
//! that an age can be measured by without the difference of two machines' clocks in it.
//!
//! It is read with the log's end every few seconds and carried on by this machine's clocks in
//! between, and while the write database is unavailable. What is not known (the way of the question
//! and the answer, the drift of a clock) is always counted as age: an answer may look older than it
//! is, never fresher.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headwater_chassis::Metrics;
use headwater_chassis::metrics::GaugeF64;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Drift: the write database's clock may run this much faster than this machine's. NTP turns a
/// clock by at most this much (<https://www.ntp.org/documentation/4.2.8-series/clock/>): 2.5 ms in
/// the five seconds between two looks.
const DRIFT_PER_MILLION: u32 = 500;

/// Clock that a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The write database.
    WriteDatabase,
    /// The machine's own, since the write database's has never been read.
    Own,
}

/// A time to measure ages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The latest that it can be.
    pub now: OffsetDateTime,
    /// By which clock.
    pub source: Source,
}

/// One look at the write database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Time that the clock showed, at some moment between question and answer.
    pub time: OffsetDateTime,
    /// Moment of the question, by the clock that cannot be set.
    pub asked: Instant,
    /// Moment of the answer.
    pub answered: Instant,
    /// Moment of the question by this machine's clock: it goes on while a virtual machine sleeps.
    pub asked_own: OffsetDateTime,
}

impl Look {
    /// The latest that it can be at the write database.
    fn latest(&self, at: Instant, own: OffsetDateTime) -> OffsetDateTime {
        let by_own = Duration::try_from(own - self.asked_own).unwrap_or_default();
        let passed = (at - self.asked).max(by_own);
        self.time + passed + passed * DRIFT_PER_MILLION / 1_000_000
    }

    /// The earliest, if its clock was not set meanwhile.
    fn earliest(&self, at: Instant) -> OffsetDateTime {
        let passed = at - self.answered;
        self.time + (passed - passed * DRIFT_PER_MILLION / 1_000_000)
    }

    /// The look to go by: the one that was there, if it is the narrower one and agrees with the new
    /// one; it does not if either clock was set, or another machine is the write database now.
    fn or_before(self, before: Option<Self>, own: OffsetDateTime) -> Self {
        let (at, new) = (self.answered, self);
        let agrees = |before: &Self| {
            (new.earliest(at)..=new.latest(at, own)).contains(&before.latest(at, own))
        };
        before.filter(agrees).unwrap_or(new)
    }
}

/// The write database's clock, as far as it is known here.
pub struct WriteClock {
    look: Mutex<Option<Look>>,
    ahead: GaugeF64,
}

impl WriteClock {
    /// Nothing is known of it yet.
    pub fn new(metrics: &Metrics) -> Self {
        let ahead = metrics.gauge_f64(
            "headwater_write_clock_ahead_seconds",
            "How far the write database's clock is ahead of this process's",
        );
        Self { look: Mutex::default(), ahead }
    }

    /// Takes note of a look.
    pub fn looked(&self, look: Look) {
        let own = OffsetDateTime::now_utc();
        let mut held = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = look.or_before(*held, own);
        *held = Some(taken);
        self.ahead.set((taken.latest(look.answered, own) - own).as_seconds_f64());
    }

    /// The time now.
    pub fn read(&self) -> Reading {
        let look = *self.look.lock().unwrap_or_else(PoisonError::into_inner);
        read(look.as_ref(), Instant::now(), OffsetDateTime::now_utc())
    }
}

fn read(look: Option<&Look>, at: Instant, own: OffsetDateTime) -> Reading {
    match look {
        Some(look) => Reading { now: look.latest(at, own), source: Source::WriteDatabase },
        None => Reading { now: own, source: Source::Own },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(milliseconds)
    }

    /// Shows `time`; asked at `asked` and answered at `answered`, both by a clock that began when
    /// this machine's showed `own`. All in milliseconds.
    fn look(begun: Instant, time: i64, (asked, answered): (u64, u64), own: i64) -> Look {
        let after = |millis| begun + Duration::from_millis(millis);
        let (asked_at, answered) = (after(asked), after(answered));
        let asked_own = at(own) + Duration::from_millis(asked);
        Look { time: at(time), asked: asked_at, answered, asked_own }
    }

    #[test]
    fn what_is_not_known_makes_it_later() {
        let begun = Instant::now();
        // The write database is an hour ahead of this machine, or behind: it does not matter.
        for hour in [-3_600_000, 3_600_000] {
            let look = look(begun, 100_000 + hour, (0, 40), 100_000);
            let read = |passed: u64, own: i64| {
                let reading = read(Some(&look), begun + Duration::from_millis(passed), at(own));
                assert_eq!(reading.source, Source::WriteDatabase);
                (reading.now - at(100_000 + hour)).whole_microseconds()
            };
            // The answer's way is counted, then the time that passed, and what clocks may drift.
            assert_eq!(read(40, 100_040), 40_020);
            assert_eq!(read(10_000, 110_000), 10_005_000);
            // This machine's clock was set back: the other one goes on.
            assert_eq!(read(10_000, 0), 10_005_000);
            // The machine slept, which the other one does not count.
            assert_eq!(read(10_000, 160_000), 60_030_000);
        }
    }

    #[test]
    fn an_unknown_clock_is_replaced_by_our_own_and_says_so() {
        let reading = read(None, Instant::now(), at(5));
        assert_eq!(reading, Reading { now: at(5), source: Source::Own });
    }

    #[test]
    fn the_narrower_of_two_looks_that_agree_is_kept() {
        let begun = Instant::now();
        let narrow = look(begun, 1_000, (0, 2), 0);
        let table = [
            // Took half a second; what was known before lies within it.
            (look(begun, 6_200, (5_000, 5_500), 0), false),
            // Took no time: what was known is further off than that.
            (look(begun, 6_000, (5_000, 5_001), 0), true),
            // The clock was set on by ten seconds, or back.
            (look(begun, 16_000, (5_000, 5_001), 0), true),
            (look(begun, -4_000, (5_000, 5_001), 0), true),
        ];
        for (new, is_taken) in table {
            let own = at(0) + (new.answered - begun);
            let kept = new.or_before(Some(narrow), own);
            assert_eq!(kept, if is_taken { new } else { narrow }, "{new:?}");
            assert_eq!(new.or_before(None, own), new);
        }
    }
}
