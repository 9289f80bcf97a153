//! Reasons that stop a projection, and what follows from each.

use std::time::Duration;

use headwater_eventlog::{LogError, NoPrimary};
use headwater_kernel::ViewError;
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::migrate::SchemaError;
use crate::projection::checkpoint::Mismatch;
use crate::projection::parked::BLOCKED_MAX;

/// No step of a projection waits longer than this for a database, so that a connection that went
/// silent is noticed.
pub const STEP_MAX: Duration = Duration::from_secs(30);

/// Reason that stopped a projection. Nothing of its batch has been applied, or the outcome is in
/// the checkpoint; starting again from there is always right.
#[derive(Debug, Error)]
pub enum Stop {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log is not the one that was applied.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The log is in another epoch than was applied. Whether its history is the same has to be
    /// found out.
    #[error("the log is in a new epoch")]
    NewEpoch,
    /// The read primary failed.
    #[error("the read primary: {}", full(.0))]
    Read(#[from] tokio_postgres::Error),
    /// There is no read primary.
    #[error("the read primary: {0}")]
    NoPrimary(#[from] NoPrimary),
    /// Another server of a database takes writes now.
    #[error("{0} is another server now")]
    Moved(&'static str),
    /// A database did not answer in time.
    #[error("{0} took longer than {STEP_MAX:?}")]
    Silent(&'static str),
    /// Somebody else advanced the checkpoint.
    #[error("somebody else advanced the projection")]
    Overtaken,
    /// The read database is not what this program was built for.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The rows are not what the views were built for.
    #[error(transparent)]
    Rows(#[from] ViewError),
    /// Too much is parked to go on.
    #[error(
        "more than {BLOCKED_MAX} rows wait behind parked events; retry or drop those, or rebuild"
    )]
    TooMuchParked,
    /// No projector has started it yet.
    #[error("the projection has not begun: no projector has started it yet")]
    NotBegun,
    /// Another audit or rebuild has the draft.
    #[error("another audit or rebuild of this read database is under way; wait for its end")]
    AuditUnderWay,
    /// No rebuild has kept what it replaced.
    #[error("no rebuild has kept tables of this projection; there is nothing to go back to")]
    NothingKept,
    /// A switch did not get its locks.
    #[error(
        "the views were in use without a break for {} s, so nothing was switched; run this again",
        .0.as_secs()
    )]
    InUse(Duration),
    /// Events touch too many rows to be held in memory.
    #[error("it touches more than {0} rows")]
    TooManyRows(usize),
}

impl Stop {
    /// True if a human has to act before it can go on. Everything else passes by itself.
    pub fn needs_a_human(&self) -> bool {
        match self {
            Self::Log(error) => match error {
                LogError::Unavailable(_)
                | LogError::OutcomeUnknown(_)
                | LogError::Collision(_)
                | LogError::NewEpoch
                | LogError::Migrated => false,
                LogError::Unmigrated
                | LogError::Schema(_)
                | LogError::Corrupt { .. }
                | LogError::Refused(_) => true,
            },
            Self::Read(error) | Self::Schema(SchemaError::Database(error)) => !passes(error),
            Self::NoPrimary(nowhere) => !nowhere.passes(),
            Self::Silent(_)
            | Self::Overtaken
            | Self::NewEpoch
            | Self::Moved(_)
            | Self::NotBegun
            | Self::AuditUnderWay
            | Self::InUse(_) => false,
            Self::Mismatch(_)
            | Self::Schema(_)
            | Self::Rows(_)
            | Self::TooMuchParked
            | Self::NothingKept
            | Self::TooManyRows(_) => true,
        }
    }

    /// True if it goes on as soon as the read database has been migrated or rebuilt, or its views
    /// are put back.
    pub fn awaits_the_schema(&self) -> bool {
        match self {
            Self::Schema(error) => match error {
                SchemaError::Missing
                | SchemaError::Version { .. }
                | SchemaError::ViewVersion { .. }
                | SchemaError::UnknownView { .. } => true,
                SchemaError::Changed { .. }
                | SchemaError::Name(..)
                | SchemaError::Url(_)
                | SchemaError::NoPrimary(_)
                | SchemaError::Database(_) => false,
            },
            _ => false,
        }
    }

    /// The reason, if it may be the events that cannot be applied: fewer of them at once, or all
    /// but one of them, may go through. Without the values that the server was sent.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::TooManyRows(_) => Some(self.to_string()),
            Self::Read(error) => {
                let refused = error.as_db_error().filter(|e| may_be_about_events(e.code()))?;
                let said: String = refused.message().chars().take(TEXT_MAX).collect();
                Some(format!("the read primary refuses it: {said} ({})", refused.code().code()))
            }
            _ => None,
        }
    }

    /// True if it is about a value that the database does not take, and not about how much there
    /// is to do.
    pub fn is_about_a_value(&self) -> bool {
        matches!(self, Self::Read(error) if error.code().is_some_and(is_about_a_value))
    }
}

/// The most characters of a server's message that are kept.
const TEXT_MAX: usize = 500;

/// Data that is refused (classes 22, 23 and 54), and statements that take too long.
fn may_be_about_events(code: &SqlState) -> bool {
    is_about_a_value(code) || *code == SqlState::QUERY_CANCELED
}

fn is_about_a_value(code: &SqlState) -> bool {
    ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
}

/// Connection failures, insufficient resources, operator intervention, lock timeouts, and a server
/// that became read-only in a failover pass by themselves; so does a table that a rebuild has put
/// one of another version in the place of: which one, the check of the schema says.
fn passes(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    ["08", "53", "57", "58"].iter().any(|class| code.code().starts_with(class))
        || ["55P03", "25006", "40001", "40P01", "42P01"].contains(&code.code())
}

/// The driver's own text says only "db error"; what the server said is in the source.
fn full(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Runs a step with the bound that every step has.
pub(super) async fn within<T, E: Into<Stop>>(
    what: &'static str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Stop> {
    match timeout(STEP_MAX, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Stop::Silent(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_no_alarm() {
        let cases = [
            (Stop::Overtaken, false),
            (Stop::NewEpoch, false),
            (Stop::Silent("a step"), false),
            (Stop::Moved("a database"), false),
            (Stop::TooMuchParked, true),
            (Stop::Schema(SchemaError::Missing), true),
            (Stop::Log(LogError::Schema("missing".to_owned())), true),
            (Stop::Mismatch(Mismatch::Partitions { applied: 1, found: 2 }), true),
        ];
        for (stop, alarm) in cases {
            assert_eq!(stop.needs_a_human(), alarm, "{stop}");
        }
    }
}
