//! Errors of the log.

use headwater_kernel::{Partition, Position};
use thiserror::Error;

/// Failure of an operation on the log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The database cannot be reached, or refused for a reason that may pass. Nothing was
    /// committed.
    #[error("the write database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The connection broke while a commit was under way: it may or may not have happened.
    #[error("the connection to the write database broke during a commit: {0}")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The batch collided with one of another partition (the same key, claim or new stream at the
    /// same moment) and was rolled back as a whole; the next attempt sees what the other one wrote.
    #[error("the append collided with another one and was rolled back; it can be repeated: {0}")]
    Collision(#[source] sqlx::Error),
    /// The log is in another epoch than the appender knew, which has learned it by now: nothing was
    /// appended. What was decided on the history before has to be loaded and decided anew.
    #[error("the log is in another epoch than was known; nothing was appended")]
    NewEpoch,
    /// The log's schema was migrated meanwhile: nothing was appended. The next attempt uses it as
    /// it is now.
    #[error("the log's schema was migrated meanwhile; nothing was appended")]
    Migrated,
    /// The log's schema has no tags before it is migrated: nothing was read or appended.
    #[error("tags and boundaries need the log's schema of edition 3; run `headwater migrate`")]
    Unmigrated,
    /// The schema is not one that this program can use.
    #[error("the log's schema: {0}")]
    Schema(String),
    /// Stored data contradicts itself: a gap, or a digest that does not fit.
    #[error("the log is corrupt at position {position} of partition {partition}: {what}")]
    Corrupt {
        /// Partition in which it was noticed.
        partition: Partition,
        /// The first position that is wrong.
        position: Position,
        /// Description of what is wrong.
        what: String,
    },
    /// The database refused for a reason that will not pass: a defect of this program or of its
    /// set-up.
    #[error("the write database refused: {0}")]
    Refused(#[source] sqlx::Error),
}

impl LogError {
    /// Classifies a mistake in a URL.
    pub(crate) fn of_url<T>(parsed: Result<T, String>) -> Result<T, Self> {
        parsed.map_err(|problem| {
            let problem = format!("the URL of the write database {problem}");
            Self::Refused(sqlx::Error::Configuration(problem.into()))
        })
    }

    /// Error of a statement that gives no row to a standby's readers.
    pub(crate) fn standby() -> Self {
        let what = "a standby answered, or a server whose new epoch has not begun yet";
        Self::Unavailable(sqlx::Error::Protocol(what.to_owned()))
    }

    /// Classifies a driver's error of a statement that had no effect, or whose effect was certainly
    /// rolled back.
    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::Configuration(_)
                | sqlx::Error::RowNotFound => Self::Refused(error),
                _ => Self::Unavailable(error),
            };
        };
        match database.code().as_deref().unwrap_or_default() {
            // unique violation, serialization failure, deadlock
            "23505" | "40001" | "40P01" => Self::Collision(error),
            // raised by append_3.sql
            "HW001" => Self::NewEpoch,
            "HW002" => Self::Migrated,
            // missing table, function, type or schema
            "42P01" | "42883" | "42704" | "3F000" => {
                Self::Schema("it is missing or incomplete; run `headwater migrate`".to_owned())
            }
            code if is_passing(code) => Self::Unavailable(error),
            _ => Self::Refused(error),
        }
    }

    /// True if what was refused may be the data of one command of a batch, so that the others could
    /// be appended without it; false if it is the statement itself, a right or the connection.
    pub fn may_be_about_data(&self) -> bool {
        /// Classes of SQLSTATE: cardinality, data, integrity, triggers, routines, views' checks,
        /// program limits, PL/pgSQL, internal errors.
        const CLASSES: [&str; 10] = ["21", "22", "23", "27", "38", "39", "44", "54", "P0", "XX"];
        let error = match self {
            Self::Refused(error) => error,
            // Commands without tags can be.
            error => return matches!(error, Self::Unmigrated),
        };
        match error.as_database_error().and_then(|error| error.code()) {
            Some(code) => CLASSES.iter().any(|class| code.starts_with(class)),
            None => matches!(error, sqlx::Error::Encode(_)),
        }
    }

    /// Classifies an error of a statement that commits: a broken connection leaves its outcome
    /// open, an error that the server reports means that it was rolled back.
    pub(crate) fn from_commit(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => {
                Self::OutcomeUnknown(error)
            }
            error => Self::from_sqlx(error),
        }
    }
}

/// SQLSTATEs of conditions that pass by themselves: connection failures, insufficient resources,
/// operator intervention (shutdown, timeouts), lock timeouts, a server that became read-only in a
/// failover.
fn is_passing(code: &str) -> bool {
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || matches!(code, "55P03" | "25006")
}
