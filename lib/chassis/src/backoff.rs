//! Exponential backoff with full jitter.
//!
//! Full jitter (a delay anywhere between zero and the exponential ceiling) spreads a herd of
//! clients best; see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

/// Growth of delays: `first`, then each `factor` times the one before, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delays {
    /// The ceiling of the first delay.
    pub first: Duration,
    /// The ceiling of every delay.
    pub max: Duration,
    /// Growth from one delay to the next; at least 1.
    pub factor: f64,
}

impl Delays {
    /// The ceiling of the delay after `failures` failures, counted from 0.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let growth = self.factor.max(1.0).powi(failures.min(1_000) as i32);
        let seconds = self.first.as_secs_f64() * growth;
        // Also true if the growth has overflowed to infinity.
        if seconds >= self.max.as_secs_f64() {
            return self.max;
        }
        Duration::from_secs_f64(seconds)
    }
}

/// The delays of one caller that keeps trying.
#[derive(Clone, Debug)]
pub struct Backoff {
    delays: Delays,
    failures: u32,
}

impl Backoff {
    /// Starts with the first delay.
    pub fn new(delays: Delays) -> Self {
        Self { delays, failures: 0 }
    }

    /// The delay to wait before the next try; `random` is from 0 (inclusive) to 1 (exclusive).
    pub fn next(&mut self, random: f64) -> Duration {
        let ceiling = self.delays.ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Failures since the start or the last reset.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins anew after a success: the next delay is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
