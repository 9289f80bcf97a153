//! Sets of a pool's nodes, small enough to be copied.

/// The most nodes a pool has; bounds the metrics' labels, and the sets and copies made for each
/// choice.
pub const NODES_MAX: usize = 16;

/// Some of the nodes, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSet(u16);

impl NodeSet {
    /// Adds a node.
    pub fn insert(&mut self, node: usize) {
        self.0 |= 1 << node;
    }

    /// True if the node is in the set.
    pub fn contains(self, node: usize) -> bool {
        self.0 & (1 << node) != 0
    }

    /// The nodes that are not in the other set.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The nodes that are in the other set, too.
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of nodes.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// In ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..NODES_MAX).filter(move |node| self.contains(*node))
    }
}
