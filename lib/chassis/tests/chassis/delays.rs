//! Backoff and breaker, as tables.

use std::time::{Duration, Instant};

use headwater_chassis::breaker::BreakerState::{self, Closed, HalfOpen, Open};
use headwater_chassis::{Backoff, Breaker, Delays};

const DELAYS: Delays =
    Delays { first: Duration::from_millis(100), max: Duration::from_secs(1), factor: 2.0 };

#[test]
fn delays_grow_up_to_their_bound_and_start_again() {
    let check = |random: f64, expected_ms: &[u64]| {
        let mut backoff = Backoff::new(DELAYS);
        let mut delays = || -> Vec<u64> {
            let count = expected_ms.len();
            let delays = (0..count).map(|_| backoff.next(random).as_millis() as u64).collect();
            assert_eq!(backoff.failures() as usize, count);
            backoff.reset();
            delays
        };
        assert_eq!(delays(), expected_ms);
        assert_eq!(delays(), expected_ms);
    };
    check(1.0, &[100, 200, 400, 800, 1000, 1000]);
    check(0.5, &[50, 100, 200, 400, 500, 500]);
    check(0.0, &[0, 0, 0]);
    // Randomness out of range does not break the bound.
    check(7.0, &[100, 200]);
    check(-1.0, &[0, 0]);
}

#[test]
fn no_number_of_failures_overflows() {
    assert_eq!(DELAYS.ceiling(u32::MAX), DELAYS.max);
    let shrinking = Delays { factor: 0.1, ..DELAYS };
    assert_eq!(shrinking.ceiling(5), DELAYS.first);
}

/// What happens to a breaker.
#[derive(Clone, Copy, Debug)]
enum Step {
    Succeeds,
    Fails,
    /// Asked whether a call may go through.
    Asked(bool),
    /// Time passes, in milliseconds.
    Wait(u64),
}
use Step::{Asked, Fails, Succeeds, Wait};

#[test]
fn breaker() {
    let check = |steps: &[Step], expected: BreakerState| {
        let mut breaker = Breaker::new(3, DELAYS);
        let mut now = Instant::now();
        for step in steps {
            match *step {
                Succeeds => breaker.succeeded(),
                Fails => breaker.failed(now),
                Asked(expected) => assert_eq!(breaker.allows(now), expected, "{steps:?}"),
                Wait(ms) => now += Duration::from_millis(ms),
            }
        }
        assert_eq!(breaker.state(), expected, "{steps:?}");
    };
    check(&[], Closed);
    check(&[Fails, Fails, Asked(true)], Closed);
    check(&[Fails, Fails, Succeeds, Fails, Fails], Closed);
    check(&[Fails, Fails, Fails, Asked(false)], Open);
    // Answers to calls made before it opened neither close nor prolong it.
    check(&[Fails, Fails, Fails, Succeeds], Open);
    check(&[Fails, Fails, Fails, Wait(99), Fails, Asked(false), Wait(1), Asked(true)], HalfOpen);
    // One probe at a time.
    check(&[Fails, Fails, Fails, Wait(100), Asked(true), Asked(false)], HalfOpen);
    check(&[Fails, Fails, Fails, Wait(100), Asked(true), Succeeds, Asked(true)], Closed);
    // A failed probe doubles the delay; a success forgets it.
    check(&[Fails, Fails, Fails, Wait(100), Asked(true), Fails, Wait(199), Asked(false)], Open);
    check(&[Fails, Fails, Fails, Wait(100), Asked(true), Fails, Wait(200), Asked(true)], HalfOpen);
    // A probe that nobody reports on is followed by another.
    check(&[Fails, Fails, Fails, Wait(100), Asked(true), Wait(100), Asked(true)], HalfOpen);
}

#[test]
fn a_breaker_that_closed_opens_for_the_first_delay_again() {
    let mut breaker = Breaker::new(1, DELAYS);
    let mut now = Instant::now();
    for _ in 0..5 {
        breaker.failed(now);
        now += DELAYS.first;
        assert!(breaker.allows(now));
        breaker.succeeded();
    }
    assert_eq!(breaker.state(), Closed);
}
