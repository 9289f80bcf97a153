//! Progress of a token's state over the nodes of the pool. Pure.

use headwater_kernel::{NodeRole, Token};

use super::node_set::NodeSet;
use super::node_state::NodeSeen;

/// Places where a state is visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The read primary shows it.
    pub primary: bool,
    /// Healthy replicas that show it.
    pub replicas: u32,
    /// Healthy replicas.
    pub replicas_healthy: u32,
}

/// Level of visibility that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing: the log has it.
    Committed,
    /// The read primary.
    Projected,
    /// So many replicas, or every healthy one (and at least one).
    Replicated(Option<u32>),
}

/// The usable nodes that show the token's state, by what was last seen of them. One that shows
/// another log or epoch does not show it.
pub fn showing(seen: &[NodeSeen], token: &Token) -> NodeSet {
    let mut showing = NodeSet::default();
    for (node, seen) in seen.iter().enumerate().filter(|(_, node)| node.usable) {
        let Some(node_state) = &seen.node_state else { continue };
        let shown = &node_state.checkpoint;
        let is_ours = (shown.log, shown.epoch) == (token.log, token.epoch);
        if is_ours && token.is_covered_by(&shown.freshness.positions) {
            showing.insert(node);
        }
    }
    showing
}

/// How far a state has come that these nodes show.
pub fn applied(seen: &[NodeSeen], showing: NodeSet) -> Applied {
    let mut applied = Applied { primary: false, replicas: 0, replicas_healthy: 0 };
    for (node, seen) in seen.iter().enumerate().filter(|(_, node)| node.usable) {
        let Some(node_state) = &seen.node_state else { continue };
        let shows = showing.contains(node);
        match node_state.role {
            NodeRole::Primary => applied.primary |= shows,
            NodeRole::Replica => {
                applied.replicas_healthy += 1;
                applied.replicas += u32::from(shows);
            }
        }
    }
    applied
}

impl Applied {
    /// True if the state has come as far as that.
    pub fn reaches(&self, level: Level) -> bool {
        match level {
            Level::Committed => true,
            Level::Projected => self.primary || self.replicas > 0,
            Level::Replicated(Some(wanted)) => self.replicas >= wanted.max(1),
            Level::Replicated(None) => self.replicas > 0 && self.replicas >= self.replicas_healthy,
        }
    }

    /// The highest level that it has come to, of those up to `level`.
    pub fn reached(&self, level: Level) -> Level {
        match level {
            Level::Committed => Level::Committed,
            level if self.reaches(level) => level,
            _ if self.reaches(Level::Projected) => Level::Projected,
            _ => Level::Committed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use headwater_kernel::{Epoch, Freshness, LogId, Position};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::super::node_state::{Checkpoint, NodeState};
    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(1));

    fn node(role: NodeRole, log: LogId, position: u64, usable: bool) -> NodeSeen {
        let as_of = OffsetDateTime::UNIX_EPOCH;
        let freshness = Freshness { positions: vec![Position(position)], as_of };
        let checkpoint = Arc::new(Checkpoint::new(log, Epoch(1), freshness));
        NodeSeen { usable, node_state: Some(NodeState { role, checkpoint }) }
    }

    #[test]
    fn table() {
        use Level::{Committed, Projected, Replicated};
        let token = Token::of_positions(LOG, Epoch(1), &[Position(10)]);
        let primary = |position| node(NodeRole::Primary, LOG, position, true);
        let replica = |position| node(NodeRole::Replica, LOG, position, true);
        let ill = |position| node(NodeRole::Replica, LOG, position, false);
        let check = |seen: &[NodeSeen], asked: Level, expected: Level| {
            let applied = applied(seen, showing(seen, &token));
            assert_eq!(applied.reached(asked), expected, "{applied:?} {asked:?}");
            assert_eq!(applied.reaches(asked), asked == expected, "{applied:?} {asked:?}");
        };
        let all = Replicated(None);
        let one = Replicated(Some(1));
        let two = Replicated(Some(2));
        check(&[], all, Committed);
        check(&[], Committed, Committed);
        check(&[primary(9)], Projected, Committed);
        check(&[primary(10)], Committed, Committed);
        check(&[primary(10)], Projected, Projected);
        check(&[primary(10)], all, Projected);
        check(&[primary(10), replica(9)], all, Projected);
        check(&[primary(10), replica(10)], all, all);
        check(&[primary(10), replica(10), replica(9)], all, Projected);
        check(&[primary(10), replica(10), replica(9)], one, one);
        check(&[primary(10), replica(10), replica(9)], two, Projected);
        check(&[primary(10), replica(10), ill(9)], all, all);
        check(&[primary(10), ill(10)], all, Projected);
        check(&[primary(10), replica(12), replica(11)], two, two);
        // The primary is unavailable, or was seen before its last commit; a replica proves it all
        // the same.
        check(&[primary(9), replica(10)], Projected, Projected);
    }

    #[test]
    fn a_node_of_another_log_does_not_show_it() {
        let token = Token::of_positions(LOG, Epoch(1), &[Position(10)]);
        let other = |role| node(role, LogId(Uuid::from_u128(2)), 50, true);
        let ours = node(NodeRole::Replica, LOG, 10, true);
        let seen = [other(NodeRole::Primary), other(NodeRole::Replica), ours];
        let found = applied(&seen, showing(&seen, &token));
        assert_eq!(found, Applied { primary: false, replicas: 1, replicas_healthy: 2 });
    }
}
