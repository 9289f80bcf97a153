//! Violations that a history can be found guilty of.

use std::fmt;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Kind of the violation.
    pub kind: Kind,
    /// Operation, reply, and how it should have been.
    pub text: String,
}

/// The promises, by how they are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Positions or versions of the log have a gap or a repetition.
    Gap,
    /// An event does not fit the state before it.
    Misfit,
    /// An event that nobody caused.
    Stranger,
    /// An acknowledged command is not in the log.
    Lost,
    /// A command is in the log more than once.
    Doubled,
    /// A command that changes two streams is in the log by half, its halves are not side by side,
    /// or a reply shows the one without the other.
    Torn,
    /// A refused command is in the log.
    RefusedYetApplied,
    /// A receipt names another place than that of the event, or attempts have different receipts.
    WrongReceipt,
    /// A command was applied to another version than it wanted.
    WrongVersion,
    /// An event stands before one that had been acknowledged before its command was sent.
    OutOfOrder,
    /// A proof is of another log.
    OtherLog,
    /// A reply claims a state that was not there yet.
    Future,
    /// A reply shows less than the token that was sent with it.
    OlderThanAsked,
    /// A client does not see what it has written.
    OwnWriteMissing,
    /// A client sees less than it saw before.
    WentBack,
    /// A reply misses what was acknowledged longer ago than the staleness that was asked for.
    TooStale,
    /// A reply that had to be strong misses what was acknowledged before it was asked for.
    NotStrong,
    /// A reply misses what was acknowledged before the time as of which it claims to be.
    AsOfUntrue,
    /// Rows are not those of the state that the reply claims.
    WrongRows,
    /// An answer that no fault explains.
    Broken,
}

impl Violation {
    /// Of this kind.
    pub fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}
