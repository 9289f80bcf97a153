//! Load of one endpoint or node, measured by all threads together, as a balancer wants to see it.
//! Its cost is (smoothed latency + error penalty) x (requests in flight + 1), as in Finagle's Peak
//! EWMA, without its jump to the peak. And the choice by cost: the cheaper of two drawn at random.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Added per error. Far above usual latencies, or an endpoint that fails fast attracts everything.
const ERROR_PENALTY_US: f32 = 200_000.0;
/// An endpoint that only fails is still asked now and then where the others are busy.
const PENALTY_US_MAX: f32 = 2_000_000.0;
/// Time constant by which errors are forgiven: after one, an endpoint whose peers take a
/// millisecond is asked again in about eight seconds.
const PENALTY_MEMORY_MS: f32 = 1_500.0;

/// Load of an endpoint. A race between two threads may lose one sample: it is an estimate.
#[derive(Debug)]
pub struct Load {
    born: Instant,
    memory_ms: f32,
    in_flight: AtomicU32,
    latency_us: Stamped,
    penalty_us: Stamped,
}

impl Load {
    /// Of an endpoint that nothing is known of. Latency is forgotten at the pace of `memory`: what
    /// is measured now counts 63 % after that time, and so much has faded where nothing is.
    pub fn new(born: Instant, memory: Duration) -> Load {
        Load {
            born,
            memory_ms: memory.as_secs_f32() * 1e3,
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

    /// Records an answer that began, or a wait that timed out, after this time.
    pub fn answered(&self, now: Instant, took: Duration) {
        let sample_us = took.as_secs_f32() * 1e6;
        self.latency_us.update(self.clock_ms(now), |value, age_ms| {
            latency_after(value, age_ms as f32 / self.memory_ms, sample_us)
        });
    }

    /// An error of the endpoint, not of the request.
    pub fn failed(&self, now: Instant) {
        self.penalty_us.update(self.clock_ms(now), penalty_after);
    }

    /// Forgives an endpoint that has proved that it works again: its errors count no more.
    pub fn forgive(&self, now: Instant) {
        self.penalty_us.update(self.clock_ms(now), |_, _| 0.0);
    }

    /// Smoothed latency, faded.
    pub fn latency_us(&self, now: Instant) -> f32 {
        let (value, age_ms) = self.latency_us.read(self.clock_ms(now));
        latency_now(value, age_ms as f32 / self.memory_ms)
    }

    /// Error penalty, faded.
    pub fn penalty_us(&self, now: Instant) -> f32 {
        let (value, age_ms) = self.penalty_us.read(self.clock_ms(now));
        penalty_now(value, age_ms)
    }

    /// Wraps after 49 days; a value that old has faded to nothing either way.
    fn clock_ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.born).as_millis() as u32
    }
}

/// Cost of one more request: (latency + error penalty) x (requests in flight + 1).
pub fn cost_of_one_more(latency_us: f32, penalty_us: f32, in_flight: u32) -> f32 {
    (latency_us + penalty_us) * (in_flight as f32 + 1.0)
}

/// Power of two choices: the cheaper of two of `count` items that `random` draws, by index; `None`
/// if there are none. The cheapest of all would be found by every process at once, and drown.
pub fn two_choices(count: usize, random: u64, cost: impl Fn(usize) -> f32) -> Option<usize> {
    if count <= 1 {
        return (count == 1).then_some(0);
    }
    let one = scaled(random as u32, count);
    // The other one is drawn from the rest, counted on from the first and around.
    let other = (one + 1 + scaled((random >> 32) as u32, count - 1)) % count;
    Some(if cost(other) < cost(one) { other } else { one })
}

/// Evenly from all of u32 to 0..count.
fn scaled(random: u32, count: usize) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
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

/// The smoothed latency after an answer that took `sample_us`, `age` memories after the one before.
/// Weighted by time and not by number, so that a burst of answers weighs as much as the time it
/// took.
fn latency_after(latency_us: f32, age: f32, sample_us: f32) -> f32 {
    if latency_us == 0.0 {
        return sample_us;
    }
    // At least a little for each, or a thousand answers within one millisecond count for nothing.
    let kept = (-age).exp().min(0.995);
    latency_us * kept + sample_us * (1.0 - kept)
}

/// Rest of a measured latency: fading, so that an endpoint that was slow is asked again.
fn latency_now(latency_us: f32, age: f32) -> f32 {
    latency_us * (-age).exp()
}

/// The penalty after one more error.
fn penalty_after(penalty_us: f32, age_ms: u32) -> f32 {
    (penalty_now(penalty_us, age_ms) + ERROR_PENALTY_US).min(PENALTY_US_MAX)
}

/// Rest of a penalty.
fn penalty_now(penalty_us: f32, age_ms: u32) -> f32 {
    match penalty_us == 0.0 {
        true => 0.0,
        false => penalty_us * (-(age_ms as f32) / PENALTY_MEMORY_MS).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(5);

    #[test]
    fn what_is_measured_is_seen_and_fades() {
        let born = Instant::now();
        let load = Load::new(born, MEMORY);
        let at = |ms| born + Duration::from_millis(ms);
        assert_eq!((load.latency_us(at(0)), load.penalty_us(at(0))), (0.0, 0.0));
        load.answered(at(10), Duration::from_millis(4));
        load.failed(at(10));
        assert!((load.latency_us(at(10)) - 4_000.0).abs() < 1.0);
        let penalty = load.penalty_us(at(10));
        assert!(penalty > 100_000.0 && load.penalty_us(at(5_000)) < penalty / 2.0);
        load.forgive(at(10));
        assert_eq!(load.penalty_us(at(10)), 0.0);
        assert!(load.latency_us(at(40_000)) < 10.0);
    }

    #[test]
    fn a_clock_read_too_early_is_not_an_age_of_weeks() {
        let born = Instant::now();
        let load = Load::new(born, MEMORY);
        load.failed(born + Duration::from_millis(5));
        assert!(load.penalty_us(born + Duration::from_millis(4)) > 0.0);
    }

    #[test]
    fn latency_follows_what_is_measured_and_fades_where_nothing_is() {
        assert_eq!(latency_after(0.0, 0.0, 800.0), 800.0);
        let mut latency = 1_000.0;
        for _ in 0..2_000 {
            latency = latency_after(latency, 0.0, 3_000.0);
        }
        assert!((2_900.0..=3_000.0).contains(&latency), "{latency}");
        let after_a_minute = latency_after(1_000.0, 12.0, 3_000.0);
        assert!((2_990.0..=3_000.0).contains(&after_a_minute), "{after_a_minute}");
        assert!(latency_now(1_000_000.0, 12.0) < 10.0);
        assert!(latency_now(1_000.0, 0.002) > 990.0);
    }

    #[test]
    fn errors_add_up_to_a_bound_and_are_forgiven() {
        let mut penalty = 0.0;
        for _ in 0..100 {
            penalty = penalty_after(penalty, 0);
        }
        assert_eq!(penalty, PENALTY_US_MAX);
        assert!(penalty_now(ERROR_PENALTY_US, 10_500) < ERROR_PENALTY_US / 1_000.0);
        assert_eq!(penalty_now(0.0, 0), 0.0);
    }

    #[test]
    fn the_cheaper_of_two_different_ones_is_taken() {
        assert_eq!(two_choices(0, u64::MAX, |_| 1.0), None);
        assert_eq!(two_choices(1, u64::MAX, |_| 1.0), Some(0));
        let dear_first = |item: usize| 10.0 - item as f32;
        let quarters = [0, 0x4000_0000, 0x8000_0000, 0xffff_ffff_u64];
        for (low, high) in quarters.iter().flat_map(|low| quarters.map(|high| (*low, high))) {
            let random = (high << 32) | low;
            // The dearest of all is never taken: the other one is always another one.
            assert_ne!(two_choices(4, random, dear_first), Some(0), "{random:x}");
            // Of equals the first that is drawn.
            assert_eq!(two_choices(4, random, |_| 1.0), Some(scaled(low as u32, 4)));
        }
        assert_eq!(cost_of_one_more(100.0, 50.0, 3), 600.0);
    }

    #[test]
    fn in_flight_counts() {
        let load = Load::new(Instant::now(), MEMORY);
        load.enter();
        load.enter();
        load.leave();
        assert_eq!(load.in_flight(), 1);
    }
}
