//! What a read costs on each node, and the choice by it. Pure: chance and measurements come in as
//! data.
//!
//! Of the nodes that would do two are drawn, and the cheaper one is taken. The cheapest of all
//! would be found by every copy of this server at once, and drown.

use std::time::Duration;

use crate::seen::NodeSet;

/// Below this, differences of latency are noise: of two nodes at hand neither is better, and reads
/// are spread over both.
const LATENCY_US_MIN: f32 = 1_000.0;
/// How long a node that comes back is spared: its caches are cold, and all that waited would fall
/// on it at once.
pub const RECOVERY: Duration = Duration::from_secs(5);
/// The part of the choices that it takes part in at the beginning.
const RECOVERED_MIN: f32 = 0.1;

/// What a read costs on a node.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Reads that it has not answered yet.
    pub in_flight: u32,
    /// Its smoothed latency; 0 if nothing was measured.
    pub latency_us: f32,
    /// Grows with errors, fades with time.
    pub penalty_us: f32,
    /// The part of the choices that it takes part in, above 0 and at most 1: see [`recovered`].
    pub recovered: f32,
}

impl Cost {
    fn of_one_more(&self) -> f32 {
        (self.latency_us.max(LATENCY_US_MIN) + self.penalty_us) * (self.in_flight as f32 + 1.0)
    }
}

impl Default for Cost {
    /// Of a node that is idle, and of which nothing is known against it.
    fn default() -> Self {
        Self { in_flight: 0, latency_us: 0.0, penalty_us: 0.0, recovered: 1.0 }
    }
}

/// The part of the choices that a node takes part in that has been back for so long: grows evenly
/// until the end of [`RECOVERY`].
pub fn recovered(back_for: Duration) -> f32 {
    let over = back_for.as_secs_f32() / RECOVERY.as_secs_f32();
    (RECOVERED_MIN + (1.0 - RECOVERED_MIN) * over).min(1.0)
}

/// One of the nodes: the cheaper of two that are drawn. One that recovers is left out of a part of
/// the choices, measured by the one that has recovered most, which is in all of them: where all are
/// new none is spared, and nobody is left without a node. `random_seed` is any number, another one
/// each time.
pub fn draw(nodes: NodeSet, costs: &[Cost], random_seed: usize) -> Option<usize> {
    let random = scattered(random_seed as u64);
    let cost = |node: usize| costs.get(node).copied().unwrap_or_default();
    let most = nodes.iter().map(|node| cost(node).recovered).fold(0.0, f32::max);
    let takes_part = |node: &usize| {
        let recovered = cost(*node).recovered;
        recovered >= most || part(scattered(random ^ (*node as u64 + 1)) as u32) < recovered / most
    };
    let mut drawn_from = NodeSet::default();
    nodes.iter().filter(takes_part).for_each(|node| drawn_from.insert(node));
    let count = drawn_from.count();
    let first = scaled(random as u32, count);
    let one = drawn_from.iter().nth(first)?;
    if count == 1 {
        return Some(one);
    }
    // The other one is drawn from the rest, counted on from the first and around.
    let second = (first + 1 + scaled((random >> 32) as u32, count - 1)) % count;
    let other = drawn_from.iter().nth(second)?;
    let is_cheaper = cost(other).of_one_more() < cost(one).of_one_more();
    Some(if is_cheaper { other } else { one })
}

/// The finalizer of `SplitMix64` (<https://doi.org/10.1145/2714064.2660195>): numbers that count up
/// become numbers that look random.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Evenly from all of u32 to 0..count.
fn scaled(random: u32, count: usize) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
}

/// Evenly from all of u32 to 0..1.
fn part(random: u32) -> f32 {
    random as f32 / (u32::MAX as f32 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(in_flight: u32, latency_us: f32) -> Cost {
        Cost { in_flight, latency_us, ..Cost::default() }
    }

    /// Shares of 10,000 choices among all of them, in percent.
    fn shares(costs: &[Cost]) -> Vec<u32> {
        let mut nodes = NodeSet::default();
        (0..costs.len()).for_each(|node| nodes.insert(node));
        let mut counts = vec![0_u32; costs.len()];
        for random_seed in 0..10_000 {
            counts[draw(nodes, costs, random_seed).expect("one of them")] += 1;
        }
        counts.iter().map(|count| (count + 50) / 100).collect()
    }

    #[track_caller]
    fn about(shares: &[u32], expected: &[u32]) {
        let near = shares.iter().zip(expected).all(|(share, want)| share.abs_diff(*want) <= 2);
        assert!(near && shares.len() == expected.len(), "{shares:?}, not {expected:?}");
    }

    #[test]
    fn equals_get_equal_shares() {
        assert_eq!(draw(NodeSet::default(), &[], 7), None);
        for count in [1, 2, 3, 5, 16] {
            let shares = shares(&vec![cost(2, 3_000.0); count]);
            about(&shares, &vec![100 / count as u32; count]);
        }
    }

    #[test]
    fn of_two_the_cheaper_is_taken() {
        let failing = Cost { penalty_us: 200_000.0, ..cost(0, 100.0) };
        let table = [
            ("in flight", cost(3, 2_000.0), cost(1, 2_000.0)),
            ("latency", cost(1, 3_000.0), cost(1, 2_000.0)),
            ("both", cost(9, 2_000.0), cost(1, 4_000.0)),
            ("a slow one that is idle", cost(0, 50_000.0), cost(20, 2_000.0)),
            ("one that fails fast", failing, cost(20, 5_000.0)),
            ("one that was never measured is not free", cost(40, 0.0), cost(1, 2_000.0)),
        ];
        for (what, dear, cheap) in table {
            assert_eq!(shares(&[dear, cheap]), [0, 100], "{what}");
            assert_eq!(shares(&[cheap, dear]), [100, 0], "{what}");
        }
    }

    #[test]
    fn small_differences_of_latency_are_noise() {
        about(&shares(&[cost(1, 200.0), cost(1, 900.0)]), &[50, 50]);
    }

    #[test]
    fn of_many_the_dearest_is_never_taken_and_the_cheapest_does_not_get_all() {
        let shares = shares(&[cost(1, 0.0), cost(2, 0.0), cost(3, 0.0), cost(50, 0.0)]);
        about(&shares, &[50, 33, 17, 0]);
    }

    #[test]
    fn a_node_that_comes_back_gets_its_share_little_by_little() {
        let back_for = |millis| Duration::from_millis(millis);
        let part = |millis| Cost { recovered: recovered(back_for(millis)), ..Cost::default() };
        // Milliseconds, and its share in percent beside one and beside two others.
        let table = [
            (0, 5, 3),
            (1_250, 16, 11),
            (2_500, 28, 18),
            (3_750, 39, 26),
            (5_000, 50, 33),
            (60_000, 50, 33),
        ];
        for (millis, beside_one, beside_two) in table {
            let idle = Cost::default();
            about(&shares(&[part(millis), idle])[..1], &[beside_one]);
            about(&shares(&[idle, part(millis), idle])[1..2], &[beside_two]);
        }
        // However idle it is, it gets no more than its part of the choices.
        about(&shares(&[part(0), cost(500, 0.0)]), &[10, 90]);
        assert_eq!(recovered(RECOVERY), 1.0);
    }

    #[test]
    fn nobody_is_left_without_a_node_because_all_of_them_recover() {
        let new = Cost { recovered: recovered(Duration::ZERO), ..Cost::default() };
        about(&shares(&[new]), &[100]);
        about(&shares(&[new, new]), &[50, 50]);
        about(&shares(&[new, new, new]), &[33, 33, 33]);
        // The one that is further gets more of it.
        let further = Cost { recovered: recovered(Duration::from_secs(3)), ..Cost::default() };
        about(&shares(&[new, further]), &[8, 92]);
    }
}
