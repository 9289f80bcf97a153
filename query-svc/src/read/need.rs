//! Errors of reads.

use std::time::Duration;

use thiserror::Error;

use crate::seen::NodeError;
use crate::seen::NodeState;
use crate::write_side::EndError;

/// Error of a read that was not answered.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The token is of another log.
    #[error("the token is of another log")]
    Foreign,
    /// The token proves something that the log has lost.
    #[error("the token proves something that the log has lost")]
    Lost,
    /// No node became fresh enough in time.
    #[error("no node became fresh enough in time")]
    NotFreshEnough(Best),
    /// A node would have to be waited for, and too many calls wait already.
    #[error("too many calls wait for a fresher node")]
    TooManyWait(Best),
    /// No node can become fresh enough: the log ends before the token.
    #[error("the log does not go as far as the token")]
    BeyondLog(Best),
    /// The end of the log is not known.
    #[error("the end of the log is not known")]
    NoLogEnd {
        /// Cause.
        cause: EndError,
        /// The freshest state that there was, if any.
        best: Option<Best>,
    },
    /// No node could be read from in time.
    #[error("no node can be read from")]
    NoNode(#[source] Option<NodeError>),
    /// Only the read primary could answer, and its fallback quota is exhausted.
    #[error("the read primary takes over no more reads")]
    FallbackLimited {
        /// Delay before another try.
        retry_after: Duration,
        /// The freshest state that a replica could have given.
        best: Option<Best>,
    },
    /// Too many reads at once, or one that takes too long.
    #[error("too much to read")]
    Overloaded {
        /// Delay before another try.
        retry_after: Duration,
    },
    /// A mistake of ours.
    #[error("a statement is wrong")]
    Defect(#[source] NodeError),
}

impl ReadError {
    /// True if there is an answer, only an older one than was asked for.
    pub fn may_be_stale(&self) -> bool {
        match self {
            Self::NotFreshEnough(_)
            | Self::TooManyWait(_)
            | Self::BeyondLog(_)
            | Self::NoLogEnd { .. }
            | Self::FallbackLimited { .. } => true,
            Self::Foreign
            | Self::Lost
            | Self::NoNode(_)
            | Self::Overloaded { .. }
            | Self::Defect(_) => false,
        }
    }
}

/// The freshest state that a reader could have been given.
#[derive(Clone, Debug)]
pub struct Best {
    /// State that was seen.
    pub node_state: NodeState,
    /// Age of the state.
    pub age: Duration,
}
