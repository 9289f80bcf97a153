//! The choice of a node. Pure: decided on a copy of what was last seen of each node.
//!
//! Replicas come first, the cheaper of two of those that were seen to be fresh enough. The read
//! primary, which has the projector's writes to carry, is asked once no replica can be expected to
//! catch up, or once waiting for one has taken long enough, and only within its fallback quota.

use std::cmp::Ordering;

use headwater_kernel::{Access, Consistency, Epoch, LogId, NodeRole, Token};
use time::{Duration, OffsetDateTime};

use super::cost::{Cost, draw};
use super::judge::{Verdict, judge};
use crate::seen::NodeSet;
use crate::seen::{Checkpoint, NodeSeen, NodeState};

/// A node further behind the freshest one than this is no longer offered for reads that allow any
/// age: a replica that is paused or cannot keep up, or a primary that was replaced and goes on
/// alone. Far above the heartbeat of an idle projector, by which `as_of` of all nodes moves.
pub const LAG_MAX: Duration = Duration::seconds(10);

/// State of a read's permit to fall back to the read primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryFallback {
    /// Valid now, or not asked for yet.
    Allowed,
    /// Valid later: once the permit is due.
    Later,
    /// The fallback quota is exhausted.
    Refused,
}

/// Requirements and circumstances of a choice.
#[derive(Clone, Debug)]
pub struct PickRequest<'a> {
    /// What is opened on the node; read-write goes to the primary and to no other node.
    pub access: Access,
    /// The freshness that is required.
    pub consistency: &'a Consistency,
    /// Nodes that have just failed this read, or answered it with something older than was seen
    /// before.
    pub avoided: NodeSet,
    /// True once waiting for a replica has taken long enough, so that the primary will do, too.
    pub primary_too: bool,
    /// The read's permit for the read primary; only asked for where the pool has replicas.
    pub primary_fallback: PrimaryFallback,
    /// True if the log itself is known to be in the epoch of the token that is required.
    pub in_tokens_epoch: bool,
    /// Time by which ages are measured.
    pub now: OffsetDateTime,
    /// Any number, another one each time: what chance there is in the choice comes from it.
    pub random_seed: usize,
}

/// Outcome of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Read from this node.
    Read(usize),
    /// Read from this one, the read primary, in the place of replicas; the read needs a permit.
    Fallback(usize),
    /// No node will do now; wait until more is seen of one.
    Wait,
    /// Only the read primary will do, its fallback quota is exhausted, and no replica can be
    /// expected to catch up.
    Refused,
    /// The token is of an earlier epoch than the nodes show. How much of it is in their history
    /// has to be found out first.
    Earlier(Token),
    /// The token is of a later epoch than any node shows. Either the log has begun it and the
    /// nodes do not show it yet, or nobody of this log has made the token: only the log itself can
    /// tell.
    Later(Token),
    /// The token is of another log than the one that the nodes show.
    Foreign,
}

/// Preference among nodes that will do; the lowest is taken.
#[derive(Clone, Copy, Debug)]
enum Rank {
    Replica,
    Primary,
    /// Fresh enough, but it failed this very read, or lags.
    LastResort,
}

/// Chooses among the nodes; `costs` are those of a read on each.
pub fn pick(nodes: &[NodeSeen], costs: &[Cost], wish: &PickRequest<'_>) -> Choice {
    let Some(truth) = truth(nodes) else { return Choice::Wait };
    if let Consistency::AtLeast(token) = wish.consistency {
        if token.log != truth.log {
            return Choice::Foreign;
        }
        match token.epoch.cmp(&truth.epoch) {
            Ordering::Less => return Choice::Earlier(token.clone()),
            Ordering::Greater if wish.in_tokens_epoch => return Choice::Wait,
            Ordering::Greater => return Choice::Later(token.clone()),
            Ordering::Equal => {}
        }
    }
    if wish.access == Access::ReadWrite {
        let can_write = |node: &usize| {
            let seen = nodes[*node].node_state.as_ref().map(|seen| &seen.checkpoint);
            let fresh = |seen| judge(seen, wish.consistency, wish.now) == Verdict::Fresh;
            !wish.avoided.contains(*node) && seen.is_some_and(|seen| fresh(seen))
        };
        return primary(nodes).filter(can_write).map_or(Choice::Wait, Choice::Read);
    }
    let field = Field::survey(nodes, truth, wish);
    let has_replicas = has_replicas(nodes);
    let closed = match wish.primary_fallback {
        PrimaryFallback::Later | PrimaryFallback::Refused if has_replicas => field.primaries,
        PrimaryFallback::Allowed | PrimaryFallback::Later | PrimaryFallback::Refused => {
            NodeSet::default()
        }
    };
    let ranks = field.fresh.iter().enumerate().map(|(rank, set)| (rank, set.without(closed)));
    let Some((rank, set)) = ranks.into_iter().find(|(_, set)| !set.is_empty()) else {
        let is_left = wish.primary_fallback == PrimaryFallback::Refused && !closed.is_empty();
        return if is_left && !field.may_catch_up { Choice::Refused } else { Choice::Wait };
    };
    if rank != Rank::Replica as usize && !wish.primary_too && field.may_catch_up {
        return Choice::Wait;
    }
    match draw(set, costs, wish.random_seed) {
        Some(node) if has_replicas && field.primaries.contains(node) => Choice::Fallback(node),
        Some(node) => Choice::Read(node),
        None => Choice::Wait,
    }
}

/// Findings of one look over the nodes.
#[derive(Default)]
struct Field {
    /// The nodes that were seen to be fresh enough, by [`Rank`].
    fresh: [NodeSet; 3],
    /// Nodes among them that take writes.
    primaries: NodeSet,
    /// True if a replica can be expected to catch up.
    may_catch_up: bool,
}

impl Field {
    fn survey(nodes: &[NodeSeen], truth: &Checkpoint, wish: &PickRequest<'_>) -> Self {
        let mut field = Self::default();
        for (node, seen) in offers(nodes, truth) {
            let lags = behind(seen, truth) > LAG_MAX;
            let avoided = wish.avoided.contains(node);
            field.may_catch_up |= seen.role == NodeRole::Replica && !avoided && !lags;
            if judge(&seen.checkpoint, wish.consistency, wish.now) != Verdict::Fresh {
                continue;
            }
            let rank = match seen.role {
                _ if avoided => Rank::LastResort,
                _ if *wish.consistency == Consistency::Any && lags => Rank::LastResort,
                NodeRole::Replica => Rank::Replica,
                NodeRole::Primary => Rank::Primary,
            };
            field.fresh[rank as usize].insert(node);
            if seen.role == NodeRole::Primary {
                field.primaries.insert(node);
            }
        }
        field
    }
}

/// True if the pool has replicas, in rotation or not. A node that was never seen counts as
/// one that is gone: whoever lists it means reads to be spread. A primary that is gone does not:
/// after a failover the other one may be all that there is.
pub fn has_replicas(nodes: &[NodeSeen]) -> bool {
    let is_primary = |node: &NodeSeen| {
        node.node_state.as_ref().is_some_and(|seen| seen.role == NodeRole::Primary)
    };
    nodes.len() > 1 && !nodes.iter().all(is_primary)
}

/// Nodes that take writes: in a pool with replicas they are read from under the fallback quota.
pub fn fallbacks(nodes: &[NodeSeen]) -> NodeSet {
    let mut set = NodeSet::default();
    if has_replicas(nodes) {
        let seen = nodes.iter().map(|node| node.node_state.as_ref());
        let roles = seen.map(|seen| seen.map(|seen| seen.role)).enumerate();
        roles
            .filter(|(_, role)| *role == Some(NodeRole::Primary))
            .for_each(|(node, _)| set.insert(node));
    }
    set
}

/// The node that takes writes: the one that says so; the freshest, should two say so during a
/// failover.
fn primary(nodes: &[NodeSeen]) -> Option<usize> {
    offers(nodes, truth(nodes)?)
        .filter(|(_, seen)| seen.role == NodeRole::Primary)
        .max_by_key(|(_, seen)| seen.checkpoint.freshness.as_of)
        .map(|(node, _)| node)
}

/// The freshest state that a reader could have been given, by a node that is not to be avoided.
pub fn best_on_offer(nodes: &[NodeSeen], avoided: NodeSet) -> Option<&NodeState> {
    offers(nodes, truth(nodes)?)
        .filter(|(node, _)| !avoided.contains(*node))
        .map(|(_, seen)| seen)
        .max_by_key(|seen| seen.checkpoint.freshness.as_of)
}

/// The nodes that can be read from and show the same log as the truth. One that shows another was
/// not restored along with the others, or was put in the place of one: its history is not the one
/// that tokens are of.
fn offers<'a>(
    nodes: &'a [NodeSeen],
    truth: &'a Checkpoint,
) -> impl Iterator<Item = (usize, &'a NodeState)> {
    nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.usable)
        .filter_map(|(index, node)| Some((index, node.node_state.as_ref()?)))
        .filter(|(_, seen)| seen.checkpoint.is_of_the_log_of(truth))
}

/// The log that the nodes show, and the epoch that it is in.
pub fn shown(nodes: &[NodeSeen]) -> Option<(LogId, Epoch)> {
    truth(nodes).map(|checkpoint| (checkpoint.log, checkpoint.epoch))
}

/// The checkpoint that tells of the log. Its log is that of the newest state seen on any node,
/// reachable or not: a stray must not be followed because our own nodes are gone. In that log only
/// the nodes count that can be read from, if there are any, and of them the latest epoch: what a
/// node showed before it died, or a node that was left behind, hides nobody when views are made
/// anew in a later epoch and begin far in the past.
fn truth(nodes: &[NodeSeen]) -> Option<&Checkpoint> {
    let log = nodes.iter().filter_map(checkpoint).max_by_key(|shown| shown.freshness.as_of)?.log;
    let latest = |usable_only: bool| {
        nodes
            .iter()
            .filter(|node| node.usable || !usable_only)
            .filter_map(checkpoint)
            .filter(|shown| shown.log == log)
            .max_by_key(|shown| (shown.epoch, shown.freshness.as_of))
    };
    latest(true).or_else(|| latest(false))
}

fn checkpoint(node: &NodeSeen) -> Option<&Checkpoint> {
    node.node_state.as_ref().map(|seen| &*seen.checkpoint)
}

/// The node with the freshest state; of equally fresh ones a replica. For reads whose wait for
/// something fresher timed out.
pub fn freshest(nodes: &[NodeSeen], avoided: NodeSet) -> Option<usize> {
    offers(nodes, truth(nodes)?)
        .filter(|(node, _)| !avoided.contains(*node))
        .max_by_key(|(_, seen)| (seen.checkpoint.freshness.as_of, seen.role == NodeRole::Replica))
        .map(|(node, _)| node)
}

fn behind(seen: &NodeState, truth: &Checkpoint) -> Duration {
    truth.freshness.as_of - seen.checkpoint.freshness.as_of
}

#[cfg(test)]
mod tests;
