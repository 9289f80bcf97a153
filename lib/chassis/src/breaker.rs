//! A circuit breaker: a pure state machine, time comes in as data.

use std::time::Instant;

use crate::backoff::Delays;

/// Stands in front of one node or upstream.
///
/// Closed until `failures_max` calls failed in a row; then open for a delay, which grows with every
/// opening in a row; then half-open: one call goes through as a probe, and its outcome closes or
/// opens it again.
#[derive(Clone, Debug)]
pub struct Breaker {
    failures_max: u32,
    delays: Delays,
    phase: Phase,
    /// Openings since it last closed.
    openings: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// A probe was let through; if nothing is heard of it until then, another one is.
    HalfOpen {
        until: Instant,
    },
}

/// State of a breaker; also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// A probe is under way.
    HalfOpen,
}

impl BreakerState {
    /// Name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` failures in a row (at least 1).
    pub fn new(failures_max: u32, delays: Delays) -> Self {
        let phase = Phase::Closed { failures: 0 };
        Self { failures_max: failures_max.max(1), delays, phase, openings: 0 }
    }

    /// True if a call may go through now. The call that is allowed while it is open past its delay
    /// is the probe: ask only if the call will be made.
    pub fn allows(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until } | Phase::HalfOpen { until } if now < until => false,
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                // A probe whose caller vanished must not keep the breaker half-open for ever.
                self.phase = Phase::HalfOpen { until: now + self.delay() };
                true
            }
        }
    }

    /// A call succeeded. While open this is a late answer to an old call, and proves nothing.
    pub fn succeeded(&mut self) {
        match self.phase {
            Phase::Closed { .. } | Phase::HalfOpen { .. } => {
                self.phase = Phase::Closed { failures: 0 };
                self.openings = 0;
            }
            Phase::Open { .. } => {}
        }
    }

    /// A call failed.
    pub fn failed(&mut self, now: Instant) {
        match self.phase {
            Phase::Closed { failures } if failures + 1 < self.failures_max => {
                self.phase = Phase::Closed { failures: failures + 1 };
            }
            Phase::Closed { .. } | Phase::HalfOpen { .. } => {
                self.openings = self.openings.saturating_add(1);
                self.phase = Phase::Open { until: now + self.delay() };
            }
            Phase::Open { .. } => {}
        }
    }

    /// State of the breaker.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn delay(&self) -> std::time::Duration {
        self.delays.ceiling(self.openings.saturating_sub(1))
    }
}
