//! What all threads measure of one endpoint together, as the balancer wants to see it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::balance;

/// Load of an endpoint. A race between two threads may lose one sample: it is an estimate.
#[derive(Debug)]
pub struct Load {
    born: Instant,
    in_flight: AtomicU32,
    latency_us: Stamped,
    penalty_us: Stamped,
}

impl Load {
    /// Of an endpoint that nothing is known of.
    pub fn new(born: Instant) -> Load {
        Load {
            born,
            in_flight: AtomicU32::new(0),
            latency_us: Stamped::default(),
            penalty_us: Stamped::default(),
        }
    }

    /// One more request waits for its end.
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests that wait for their end.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// An answer began, or was waited for in vain, after this time.
    pub fn answered(&self, now: Instant, took: Duration) {
        let sample_us = took.as_secs_f32() * 1e6;
        self.latency_us.update(self.clock_ms(now), |value, age_ms| {
            balance::latency_after(value, age_ms, sample_us)
        });
    }

    /// An error of the endpoint, not of the request.
    pub fn failed(&self, now: Instant) {
        self.penalty_us.update(self.clock_ms(now), balance::penalty_after);
    }

    /// Smoothed latency, faded.
    pub fn latency_us(&self, now: Instant) -> f32 {
        let (value, age_ms) = self.latency_us.read(self.clock_ms(now));
        balance::latency_now(value, age_ms)
    }

    /// Error penalty, faded.
    pub fn penalty_us(&self, now: Instant) -> f32 {
        let (value, age_ms) = self.penalty_us.read(self.clock_ms(now));
        balance::penalty_now(value, age_ms)
    }

    /// Wraps after 49 days; a value that old has faded to nothing either way.
    fn clock_ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.born).as_millis() as u32
    }
}

/// A number and the time it was written at, in one word, so that they are read together.
#[derive(Debug, Default)]
struct Stamped(AtomicU64);

impl Stamped {
    fn read(&self, clock_ms: u32) -> (f32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        let value = f32::from_bits((word >> 32) as u32);
        let age_ms = clock_ms.wrapping_sub(word as u32);
        // Another thread may have read its clock later and written first.
        (value, if age_ms > u32::MAX / 2 { 0 } else { age_ms })
    }

    fn update(&self, clock_ms: u32, next: impl FnOnce(f32, u32) -> f32) {
        let (value, age_ms) = self.read(clock_ms);
        let word = (u64::from(next(value, age_ms).to_bits()) << 32) | u64::from(clock_ms);
        self.0.store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_seen_and_fades() {
        let born = Instant::now();
        let load = Load::new(born);
        let at = |ms| born + Duration::from_millis(ms);
        assert_eq!((load.latency_us(at(0)), load.penalty_us(at(0))), (0.0, 0.0));
        load.answered(at(10), Duration::from_millis(4));
        load.failed(at(10));
        assert!((load.latency_us(at(10)) - 4_000.0).abs() < 1.0);
        let penalty = load.penalty_us(at(10));
        assert!(penalty > 100_000.0 && load.penalty_us(at(5_000)) < penalty / 2.0);
        assert!(load.latency_us(at(40_000)) < 10.0);
    }

    #[test]
    fn a_clock_read_too_early_is_not_an_age_of_weeks() {
        let born = Instant::now();
        let load = Load::new(born);
        load.failed(born + Duration::from_millis(5));
        assert!(load.penalty_us(born + Duration::from_millis(4)) > 0.0);
    }

    #[test]
    fn in_flight_counts() {
        let load = Load::new(Instant::now());
        load.enter();
        load.enter();
        load.leave();
        assert_eq!(load.in_flight(), 1);
    }
}
