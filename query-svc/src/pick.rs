//! Which node to read from. Pure: decided on a copy of what was last seen of each node.
//!
//! Replicas come first, the least loaded of those that were seen to be fresh enough. The read
//! primary, which has the projector's writes to carry, is asked once no replica gives hope, or once
//! waiting for one has taken long enough.

use headwater_kernel::{Consistency, NodeRole, Token};
use time::{Duration, OffsetDateTime};

use crate::judge::{Verdict, judge};
use crate::sighting::{Checkpoint, NodeSeen, Sighting};

/// The most nodes a pool has; bounds the metrics' labels, and the sets and copies made for each
/// choice.
pub const NODES_MAX: usize = 16;

/// A replica further behind the freshest node than this is no longer offered for reads that allow
/// any age: it is paused, or cannot keep up. Far above the heartbeat of an idle projector, by which
/// `as_of` of all nodes moves.
pub const LAG_MAX: Duration = Duration::seconds(10);

/// Some of the nodes, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(u16);

impl NodeSet {
    /// Adds a node.
    pub fn insert(&mut self, node: usize) {
        self.0 |= 1 << node;
    }

    /// Whether the node is in it.
    pub fn contains(self, node: usize) -> bool {
        self.0 & (1 << node) != 0
    }
}

/// What a choice is made for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The freshness that is required.
    pub consistency: &'a Consistency,
    /// Nodes that have just failed this read, or answered it with something older than was seen
    /// before.
    pub avoided: NodeSet,
    /// Whether waiting for a replica has taken long enough.
    pub primary_too: bool,
    /// Whether the log itself is known to be in the epoch of the token that is required.
    pub in_tokens_epoch: bool,
    /// What ages are measured by.
    pub now: OffsetDateTime,
    /// Any number, another one each time: spreads reads over nodes that are equally loaded.
    pub spin: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Read from this node.
    Read(usize),
    /// No node will do now; wait until more is seen of one.
    Wait,
    /// The token is of a later epoch than any node shows. Either the log was restored and the nodes
    /// do not show it yet, or nobody of this log has made the token: only the log itself can tell.
    Later,
    /// The token is of another log than the one that the nodes show, or from before that log was
    /// restored.
    Foreign,
}

/// How much a node is wanted; the lowest is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Replica,
    Primary,
    /// Fresh enough, but it failed this very read, or lags.
    LastResort,
}

/// Chooses among the nodes; `loads` are the reads in flight on each.
pub fn pick(nodes: &[NodeSeen], loads: &[u32], wish: &Wish<'_>) -> Choice {
    let Some(truth) = newest(nodes) else { return Choice::Wait };
    if let Consistency::AtLeast(token) = wish.consistency {
        if is_foreign(token, truth) {
            return Choice::Foreign;
        }
        if token.epoch > truth.epoch {
            return if wish.in_tokens_epoch { Choice::Wait } else { Choice::Later };
        }
    }
    let offers = || offers(nodes, truth);
    let lags = |seen: &Sighting| behind(seen, truth) > LAG_MAX;
    let hope = offers().any(|(node, seen)| {
        seen.role == NodeRole::Replica && !wish.avoided.contains(node) && !lags(seen)
    });
    let rank = |node: usize, seen: &Sighting| match seen.role {
        _ if wish.avoided.contains(node) => Rank::LastResort,
        NodeRole::Replica if *wish.consistency == Consistency::Any && lags(seen) => {
            Rank::LastResort
        }
        NodeRole::Replica => Rank::Replica,
        NodeRole::Primary => Rank::Primary,
    };
    let turn = |node: usize| (node + wish.spin) % nodes.len();
    offers()
        .filter(|(_, seen)| judge(&seen.checkpoint, wish.consistency, wish.now) == Verdict::Fresh)
        .map(|(node, seen)| (rank(node, seen), loads.get(node), turn(node), node))
        .min()
        .filter(|(rank, ..)| *rank == Rank::Replica || wish.primary_too || !hope)
        .map_or(Choice::Wait, |(.., node)| Choice::Read(node))
}

/// The node that takes writes: the one that says so; the freshest, should two say so during a
/// failover.
pub fn primary(nodes: &[NodeSeen]) -> Option<usize> {
    offers(nodes, newest(nodes)?)
        .filter(|(_, seen)| seen.role == NodeRole::Primary)
        .max_by_key(|(_, seen)| seen.checkpoint.freshness.as_of)
        .map(|(node, _)| node)
}

/// The freshest state that a reader could have been given.
pub fn best_on_offer(nodes: &[NodeSeen]) -> Option<&Sighting> {
    offers(nodes, newest(nodes)?)
        .map(|(_, seen)| seen)
        .max_by_key(|seen| seen.checkpoint.freshness.as_of)
}

/// The nodes that can be read from and show the same log as the truth. One that shows another was
/// not restored along with the others, or was put in the place of one: its history is not the one
/// that tokens are of.
fn offers<'a>(
    nodes: &'a [NodeSeen],
    truth: &'a Checkpoint,
) -> impl Iterator<Item = (usize, &'a Sighting)> {
    nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.usable)
        .filter_map(|(index, node)| Some((index, node.sighting.as_ref()?)))
        .filter(|(_, seen)| seen.checkpoint.is_of_the_log_of(truth))
}

/// The newest checkpoint seen on any node, reachable or not: its log is the log.
fn newest(nodes: &[NodeSeen]) -> Option<&Checkpoint> {
    nodes
        .iter()
        .filter_map(|node| node.sighting.as_ref())
        .map(|seen| &*seen.checkpoint)
        .max_by_key(|checkpoint| checkpoint.freshness.as_of)
}

/// The node with the freshest state; of equally fresh ones a replica. For readers who have waited
/// in vain for something fresher.
pub fn freshest(nodes: &[NodeSeen], avoided: NodeSet) -> Option<usize> {
    offers(nodes, newest(nodes)?)
        .filter(|(node, _)| !avoided.contains(*node))
        .max_by_key(|(_, seen)| (seen.checkpoint.freshness.as_of, seen.role == NodeRole::Replica))
        .map(|(node, _)| node)
}

/// A token of a later epoch of the same log is not foreign by itself: the log may have been
/// restored, and no node shows it yet.
fn is_foreign(token: &Token, truth: &Checkpoint) -> bool {
    token.log != truth.log || token.epoch < truth.epoch
}

fn behind(seen: &Sighting, truth: &Checkpoint) -> Duration {
    truth.freshness.as_of - seen.checkpoint.freshness.as_of
}

#[cfg(test)]
mod tests;
