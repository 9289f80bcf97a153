//! The flag by which every access to the read databases is opened.

/// Access mode of a transaction on the read databases. The flag alone chooses the node: there is no
/// other way to ask for a replica or for the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads only: any node that is fresh enough, replicas first. Postgres refuses writes.
    ReadOnly,
    /// Reads and writes: the primary, and no other node.
    ReadWrite,
}
