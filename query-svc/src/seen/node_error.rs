//! Errors of a node: the finite set of what callers branch on, which is also the metric's
//! label.

use std::error::Error as _;
use std::sync::Arc;

use deadpool_postgres::{PoolError, TimeoutType};
use thiserror::Error;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Error of a node that did not answer. The texts are for operators and never reach a client.
#[derive(Clone, Debug, Error)]
pub enum NodeError {
    /// No connection, or it broke, or the node is starting or stopping.
    #[error("cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// Connected, but nothing came back in time: the node, or the way to it, hangs.
    #[error("does not answer")]
    Silent,
    /// Lacks what the statement reads: the node has not replayed a migration yet, or was never
    /// migrated.
    #[error(
        "lacks what is read: {0}; if its views are of another version than this program's, run \
         `headwater migrate` or `headwater rebuild views`"
    )]
    Schema(Arc<str>),
    /// It shows no checkpoint of the projection that is read, though it may show others: that
    /// projection has not begun, or the node has not replayed its beginning.
    #[error("shows no checkpoint of the projection {0}")]
    NoCheckpoint(Arc<str>),
    /// Replay of the primary's changes cancelled the statement.
    #[error("cancelled by replay: {0}")]
    Conflict(Arc<str>),
    /// The statement ran longer than any may.
    #[error("the statement took too long")]
    TooSlow,
    /// Every connection is in use, or the queue is full.
    #[error("has no room for another read")]
    Busy,
    /// A mistake of ours: the statement or its decoding is wrong.
    #[error("defect: {0}")]
    Defect(Arc<str>),
}

impl NodeError {
    /// A defect, in words.
    pub fn defect(text: impl std::fmt::Display) -> Self {
        Self::Defect(text.to_string().into())
    }

    /// The error's name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Silent => "silent",
            Self::Schema(_) => "schema",
            Self::NoCheckpoint(_) => "no_checkpoint",
            Self::Conflict(_) => "conflict",
            Self::TooSlow => "too_slow",
            Self::Busy => "busy",
            Self::Defect(_) => "defect",
        }
    }

    /// True if the node is to blame, so that its circuit breaker counts it.
    pub fn blames_node(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent | Self::Schema(_) => true,
            Self::NoCheckpoint(_)
            | Self::Conflict(_)
            | Self::TooSlow
            | Self::Busy
            | Self::Defect(_) => false,
        }
    }

    /// True if it makes further reads on the node look dear. Not want of room: reads in flight
    /// tell of that.
    pub fn penalises_latency(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent | Self::Schema(_) | Self::Conflict(_) => true,
            Self::NoCheckpoint(_) | Self::TooSlow | Self::Busy | Self::Defect(_) => false,
        }
    }

    /// True if another node may well answer. A statement that is too slow is too slow everywhere,
    /// and sent from node to node it would take every one of them down.
    pub fn try_elsewhere(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Silent
            | Self::Schema(_)
            | Self::NoCheckpoint(_)
            | Self::Conflict(_)
            | Self::Busy => true,
            Self::TooSlow | Self::Defect(_) => false,
        }
    }
}

impl From<Error> for NodeError {
    fn from(error: Error) -> Self {
        let text: Arc<str> = describe(&error).into();
        let Some(state) = error.code() else {
            // Without a code it is not the server that spoke. Only a broken connection comes and
            // goes; the rest (a parameter or a column of the wrong type) is a mistake of ours.
            let broken = error.is_closed()
                || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
            let connecting = error.to_string().starts_with("error connecting");
            return if broken || connecting { Self::Unreachable(text) } else { Self::Defect(text) };
        };
        match state.code() {
            "57014" => Self::TooSlow,
            // Conflict with recovery, and its two deadlock forms.
            "40001" | "40P01" | "55P03" => Self::Conflict(text),
            "42P01" | "42703" | "3F000" | "42501" | "0A000" | "26000" => Self::Schema(text),
            // Shutting down, starting up, gone; no room for connections; not let in; no such
            // database.
            code if ["57P", "08", "53", "28", "3D"].iter().any(|class| code.starts_with(class)) => {
                Self::Unreachable(text)
            }
            _ => Self::Defect(text),
        }
    }
}

impl From<PoolError> for NodeError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Self::Silent,
            PoolError::Backend(error) => error.into(),
            PoolError::Closed => Self::Unreachable("the pool is closed".into()),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::defect(error),
        }
    }
}

/// True if a statement that was prepared on this connection is no longer valid and has to be
/// prepared again: the result type changed under a cached plan, or something between us and the
/// node dropped the statement.
pub fn is_stale_plan(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME].contains(code)
    })
}

/// The driver prints "db error" and keeps what the server said as its source.
fn describe(error: &Error) -> String {
    let state = error.code().map(|code| format!(" ({})", code.code())).unwrap_or_default();
    match error.source() {
        Some(cause) => format!("{error}: {cause}{state}"),
        None => error.to_string(),
    }
}
