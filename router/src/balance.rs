//! Choice of the endpoint for a request: power of two choices on a copied snapshot. Pure; the
//! random number and the ages of what was measured come in as data.
//!
//! Cost of an endpoint: (smoothed latency + error penalty) x (requests in flight + 1), as in
//! Finagle's Peak EWMA, without its jump to the peak: a slow answer is not a sign of a slow
//! endpoint here, since reads may wait for freshness.

use headwater_chassis::load::{cost_of_one_more, two_choices};

/// Below this, differences of latency are noise, and an endpoint that has not answered yet must
/// not look free.
const LATENCY_US_MIN: f32 = 100.0;

/// State of an endpoint as the choice sees it, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Connected, and nothing is known against it.
    Good,
    /// The connection is being made.
    Connecting,
    /// Healthy connection, but the endpoint says that it is not serving. Tried when nothing better
    /// is left: an answer that says why is better than none.
    NotServing,
    /// Tried by this request already, without an answer.
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

/// Facts that the choice knows of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// State as the choice sees it.
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
        cost_of_one_more(self.latency_us.max(LATENCY_US_MIN), self.penalty_us, self.in_flight)
    }
}

/// Index of the candidate to send to: of the best standing there is, the cheaper of two that
/// `random` picks. None if no candidate can be chosen.
pub fn pick(candidates: &[Candidate], random: u64) -> Option<usize> {
    let standing = candidates.iter().map(|c| c.standing).min()?;
    if !standing.choosable() {
        return None;
    }
    let peers = || candidates.iter().enumerate().filter(|(_, peer)| peer.standing == standing);
    let cost = |number| peers().nth(number).map_or(f32::INFINITY, |(_, peer)| peer.cost());
    let drawn = two_choices(peers().count(), random, cost)?;
    peers().nth(drawn).map(|(index, _)| index)
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
                Candidate { penalty_us: 200_000.0, ..candidate(good, 0, 100.0) },
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
}
