//! Which endpoint a request goes to: power of two choices on a copied snapshot. Pure; the random
//! number and the ages of what was measured come in as data.
//!
//! Cost of an endpoint: (smoothed latency + error penalty) x (requests in flight + 1), as in
//! Finagle's Peak EWMA, without its jump to the peak: a slow answer is not a sign of a slow
//! endpoint here, since reads may wait for freshness.

/// Below this, differences of latency are noise, and an endpoint that has not answered yet must
/// not look free.
const LATENCY_US_MIN: f32 = 100.0;
/// How fast measured latency is replaced by newer, and forgotten where nothing is sent.
const LATENCY_MEMORY_MS: f32 = 5_000.0;
/// Added per error. Far above usual latencies, or an endpoint that fails fast attracts everything.
const ERROR_PENALTY_US: f32 = 200_000.0;
/// An endpoint that only fails is still asked now and then where the others are busy.
const PENALTY_US_MAX: f32 = 2_000_000.0;
/// How fast errors are forgiven: after one of them, an endpoint whose peers take a millisecond is
/// asked again in about eight seconds.
const PENALTY_MEMORY_MS: f32 = 1_500.0;

/// What keeps an endpoint from the choice, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Connected, and nothing is known against it.
    Good,
    /// The connection is being made.
    Connecting,
    /// It says itself that it is not serving. Tried when nothing better is left: an answer that
    /// says why is better than none.
    NotServing,
    /// This request has been there already, in vain.
    Tried,
    /// All its streams are taken.
    Full,
    /// Broken connection, or open circuit breaker.
    Unusable,
}

impl Standing {
    fn choosable(self) -> bool {
        match self {
            Standing::Good | Standing::Connecting | Standing::NotServing | Standing::Tried => true,
            Standing::Full | Standing::Unusable => false,
        }
    }

    /// For a request that has been there already.
    pub fn again(self) -> Standing {
        self.max(Standing::Tried)
    }
}

/// What the choice knows of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Whether it may be chosen.
    pub standing: Standing,
    /// Requests that wait for their end on it, from all threads.
    pub in_flight: u32,
    /// Smoothed time until the answer begins.
    pub latency_us: f32,
    /// Grows with errors, fades with time.
    pub penalty_us: f32,
}

impl Candidate {
    fn cost(&self) -> f32 {
        (self.latency_us.max(LATENCY_US_MIN) + self.penalty_us) * (self.in_flight as f32 + 1.0)
    }
}

/// Index of the candidate to send to: of the best standing there is, the cheaper of two that
/// `random` picks. None if no candidate can be chosen.
pub fn pick(candidates: &[Candidate], random: u64) -> Option<usize> {
    let standing = candidates.iter().map(|c| c.standing).min()?;
    if !standing.choosable() {
        return None;
    }
    let mut peers = (0..candidates.len()).filter(|i| candidates[*i].standing == standing);
    let count = peers.clone().count();
    let first = scale(random as u32, count);
    let one = peers.nth(first)?;
    if count == 1 {
        return Some(one);
    }
    // The second is drawn from the rest, counted on from the first and around.
    let second = (first + 1 + scale((random >> 32) as u32, count - 1)) % count;
    let other =
        (0..candidates.len()).filter(|i| candidates[*i].standing == standing).nth(second)?;
    match candidates[other].cost() < candidates[one].cost() {
        true => Some(other),
        false => Some(one),
    }
}

/// Evenly from all of u32 to 0..count.
fn scale(random: u32, count: usize) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
}

/// The smoothed latency after an answer that took `sample_us`, `age_ms` after the one before.
/// Weighted by time and not by number, so that a burst of answers weighs as much as the time it
/// took.
pub fn latency_after(latency_us: f32, age_ms: u32, sample_us: f32) -> f32 {
    if latency_us == 0.0 {
        return sample_us;
    }
    // At least a little for each, or a thousand answers within one millisecond count for nothing.
    let kept = (-(age_ms as f32) / LATENCY_MEMORY_MS).exp().min(0.995);
    latency_us * kept + sample_us * (1.0 - kept)
}

/// What is left of a measured latency: fading, so that an endpoint that was slow is asked again.
pub fn latency_now(latency_us: f32, age_ms: u32) -> f32 {
    latency_us * (-(age_ms as f32) / LATENCY_MEMORY_MS).exp()
}

/// The penalty after one more error.
pub fn penalty_after(penalty_us: f32, age_ms: u32) -> f32 {
    (penalty_now(penalty_us, age_ms) + ERROR_PENALTY_US).min(PENALTY_US_MAX)
}

/// What is left of a penalty.
pub fn penalty_now(penalty_us: f32, age_ms: u32) -> f32 {
    match penalty_us == 0.0 {
        true => 0.0,
        false => penalty_us * (-(age_ms as f32) / PENALTY_MEMORY_MS).exp(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn candidate(standing: Standing, in_flight: u32, latency_us: f32) -> Candidate {
        Candidate { standing, in_flight, latency_us, penalty_us: 0.0 }
    }

    /// Shares of 10,000 picks, in percent.
    fn shares(candidates: &[Candidate]) -> Vec<u32> {
        let mut random = StdRng::seed_from_u64(7);
        let mut counts = vec![0_u32; candidates.len()];
        for _ in 0..10_000 {
            if let Some(index) = pick(candidates, random.random()) {
                counts[index] += 1;
            }
        }
        counts.iter().map(|count| count / 100).collect()
    }

    #[test]
    fn the_best_standing_is_chosen_from() {
        use Standing::{Connecting, Full, Good, NotServing, Tried, Unusable};
        let cases: &[(&[Standing], &[usize])] = &[
            (&[], &[]),
            (&[Good], &[0]),
            (&[Unusable], &[]),
            (&[Full, Unusable], &[]),
            (&[NotServing, Good], &[1]),
            (&[NotServing, Connecting], &[1]),
            (&[NotServing, Full], &[0]),
            (&[Tried, NotServing], &[1]),
            (&[Tried, Unusable], &[0]),
            (&[NotServing, Unusable, NotServing], &[0, 2]),
            (&[Good, Unusable, NotServing, Good, Connecting], &[0, 3]),
        ];
        for (standings, want) in cases {
            let candidates: Vec<_> = standings.iter().map(|s| candidate(*s, 0, 0.0)).collect();
            let chosen: Vec<usize> = shares(&candidates)
                .iter()
                .enumerate()
                .filter_map(|(index, share)| (*share > 0).then_some(index))
                .collect();
            assert_eq!(&chosen, want, "{standings:?}");
        }
    }

    #[test]
    fn equals_get_equal_shares() {
        for count in [2, 3, 5] {
            let candidates = vec![candidate(Standing::Good, 1, 500.0); count];
            for share in shares(&candidates) {
                let even = 100 / count as u32;
                assert!(share.abs_diff(even) <= 2, "{count}: {share} %");
            }
        }
    }

    #[test]
    fn of_two_the_cheaper_wins() {
        let good = Standing::Good;
        let cases = [
            ("in flight", candidate(good, 3, 500.0), candidate(good, 1, 500.0)),
            ("latency", candidate(good, 1, 900.0), candidate(good, 1, 500.0)),
            ("both", candidate(good, 9, 500.0), candidate(good, 1, 1_000.0)),
            (
                "an endpoint that fails fast",
                Candidate { penalty_us: penalty_after(0.0, 0), ..candidate(good, 0, 100.0) },
                candidate(good, 20, 5_000.0),
            ),
        ];
        for (name, dear, cheap) in cases {
            assert_eq!(shares(&[dear, cheap]), [0, 100], "{name}");
            assert_eq!(shares(&[cheap, dear]), [100, 0], "{name}");
        }
    }

    #[test]
    fn of_many_the_dearest_is_never_chosen_and_the_cheapest_does_not_get_all() {
        let loads = [1, 2, 3, 50];
        let candidates = loads.map(|n| candidate(Standing::Good, n, 500.0));
        let shares = shares(&candidates);
        assert_eq!(shares[3], 0);
        assert!(shares[0] < 60 && shares[1] > 20, "{shares:?}");
    }

    #[test]
    fn an_unknown_latency_does_not_look_free() {
        let new = candidate(Standing::Good, 40, 0.0);
        let known = candidate(Standing::Good, 1, 1_000.0);
        assert_eq!(shares(&[new, known]), [0, 100]);
    }

    #[test]
    fn latency_follows_what_is_measured_and_fades_where_nothing_is() {
        assert_eq!(latency_after(0.0, 0, 800.0), 800.0);
        let mut latency = 1_000.0;
        for _ in 0..2_000 {
            latency = latency_after(latency, 0, 3_000.0);
        }
        assert!((2_900.0..=3_000.0).contains(&latency), "{latency}");
        let after_a_minute = latency_after(1_000.0, 60_000, 3_000.0);
        assert!((2_990.0..=3_000.0).contains(&after_a_minute), "{after_a_minute}");
        assert!(latency_now(1_000_000.0, 60_000) < 10.0);
        assert!(latency_now(1_000.0, 10) > 990.0);
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
}
