//! State of a node, as the statement proves that it answered.

use std::sync::Arc;

use headwater_kernel::{Epoch, Freshness, LogId, NodeRole, Token};

/// The projection's checkpoint as one snapshot of one node holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log its positions are of.
    pub log: LogId,
    /// The log's epoch.
    pub epoch: Epoch,
    /// Positions that are applied, and the time they are of.
    pub freshness: Freshness,
    /// Order of states at the same positions: raised when rows change without an event,
    /// such as by a repair.
    pub revision: i64,
    /// The token that proves it, encoded once for all replies from this snapshot.
    pub token: String,
}

impl Checkpoint {
    /// Encodes the token of the positions. Of revision 0.
    pub fn new(log: LogId, epoch: Epoch, freshness: Freshness) -> Self {
        let token = Token::of_positions(log, epoch, &freshness.positions).encode();
        Self { log, epoch, freshness, revision: 0, token }
    }

    /// True if positions of the two can be compared.
    pub fn is_of_the_log_of(&self, other: &Self) -> bool {
        (self.log, self.epoch) == (other.log, other.epoch)
    }
}

/// Role and checkpoint of a node, from one statement: what the choice of a node goes by, and what a
/// reply is dated by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Role of the node when it answered.
    pub role: NodeRole,
    /// State that it showed.
    pub checkpoint: Arc<Checkpoint>,
}

/// Last observation of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// False while its circuit breaker is not closed.
    pub usable: bool,
    /// The last answer; kept while the node is not usable, since it still tells of the log.
    pub node_state: Option<NodeState>,
}

/// Provenance of a value: the state it was read from, and whether that is older than asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Role and checkpoint.
    pub node_state: NodeState,
    /// As in [`Answer::stale`].
    pub stale: bool,
}

/// A value and what it was read from.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// Role and checkpoint from the very statement that gave the value.
    pub node_state: NodeState,
    /// True if it is older than what was asked for, to which the asker agreed.
    pub stale: bool,
}

impl<T> Answer<T> {
    /// A value and what it was read from. Not stale: nobody has asked for more yet.
    pub fn new(value: T, node_state: NodeState) -> Self {
        Self { value, node_state, stale: false }
    }

    /// The value, and what a reply says of its freshness.
    pub fn split(self) -> (T, Shown) {
        (self.value, Shown { node_state: self.node_state, stale: self.stale })
    }

    /// The same with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), node_state: self.node_state, stale: self.stale }
    }
}
