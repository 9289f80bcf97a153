//! Answers of an appender, and how they are told to a client.

use headwater_edge::{Call, ErrorReason, Failure};
use headwater_eventlog::Receipt;
use headwater_kernel::{Rejection, StreamVersion};

/// An appender's answer to one job.
pub(crate) enum Answer {
    /// Committed, now (`replayed` false) or by an earlier attempt with the same key.
    Done { receipt: Receipt, replayed: bool },
    /// Decided on a state that is no longer the newest: load and try again.
    DecideAgain,
    /// The client has seen more of the stream than this process: read on, and try again.
    Behind,
    /// The domain said no, on the newest state.
    Refused(Rejection),
    /// The client expected another version than this, the current one.
    VersionConflict(StreamVersion),
    /// The client saw another aggregate than this one, or another history of it; this is its
    /// current version.
    OtherHistory(StreamVersion),
    /// Nothing was committed, or it is not known.
    Failed(AppendError),
}

/// Reason why a command was not carried out, other than by the domain's or the client's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AppendError {
    /// The key was used with another payload.
    KeyReused,
    /// The write database cannot be reached; nothing was committed.
    DatabaseUnavailable,
    /// The commit may or may not have happened, and it could not be found out in time, or the task
    /// that was to find out has died.
    OutcomeUnknown,
    /// The command's events are too many or too large.
    TooLarge,
    /// A claim, a mark or a tag of the command has a name that cannot be stored.
    BadName,
    /// The database refuses what the command would store, and this command alone.
    Refused,
    /// The id names an aggregate of another type.
    OtherAggregate,
    /// The log's schema has no tags before it is migrated.
    Unmigrated,
    /// The database cannot read the aggregate: a defect.
    Unloadable,
    /// The domain's code panicked before anything was appended.
    Panicked,
    /// The append itself is wrong: a defect.
    Defect,
}

/// The failure a client gets whose command may have been committed or not.
pub(crate) fn outcome_unknown(has_key: bool) -> Failure {
    let repeat = match has_key {
        true => "repeat the command with the same idempotency key",
        false => {
            "read the aggregate before you send the command again; with an idempotency key it is safe to repeat"
        }
    };
    let happened = "the commit was interrupted, and its outcome could not be found out in time";
    Failure::outcome_unknown(format!("{happened}; {repeat}"), has_key)
}

/// The failure a client gets.
pub(crate) fn failure(error: AppendError) -> Failure {
    match error {
        AppendError::KeyReused => Failure::new(
            ErrorReason::IdempotencyKeyReused,
            "this idempotency key has been used with another command; use a new key for a new command",
        ),
        AppendError::DatabaseUnavailable => Failure::new(
            ErrorReason::DatabaseUnavailable,
            "the write database cannot be reached; nothing was committed; try again",
        )
        .retry_after(RETRY_AFTER),
        AppendError::OutcomeUnknown => outcome_unknown(false),
        AppendError::TooLarge => Failure::new(
            ErrorReason::InvalidRequest,
            "the command would cause more than 256 events, an event of more than 64 KiB, or more than 4 MiB; split it",
        ),
        AppendError::BadName => Failure::new(
            ErrorReason::InvalidRequest,
            "a value that the command would claim, mark or tag is too long (400 bytes; a tag 200), or holds a NUL character",
        ),
        AppendError::Refused => Failure::new(
            ErrorReason::Internal,
            "the database refuses what the command would store; nothing of it was committed",
        ),
        AppendError::OtherAggregate => Failure::new(
            ErrorReason::InvalidRequest,
            "the id is in use by an aggregate of another type; use another id",
        ),
        AppendError::Unmigrated => Failure::new(
            ErrorReason::MigrationNeeded,
            "the command needs tags, which the log's schema has only after `headwater migrate`; nothing was committed",
        ),
        AppendError::Unloadable => Failure::new(
            ErrorReason::Internal,
            "the aggregate could not be loaded; nothing was committed",
        ),
        AppendError::Panicked => Failure::new(
            ErrorReason::Internal,
            "the command could not be decided; nothing was committed",
        ),
        AppendError::Defect => Failure::new(
            ErrorReason::Internal,
            "the command could not be appended; nothing was committed",
        ),
    }
}

/// The failure of a command whose client expected another version than this one.
pub(crate) fn version_conflict(call: &Call, current: StreamVersion) -> Failure {
    let expected = call.options.expected_version.unwrap_or_default();
    let failure = Failure::new(
        ErrorReason::VersionConflict,
        format!("the aggregate is at version {current}, not {expected}; read it and decide again"),
    )
    .with("current_version", current);
    // It never goes back, but it may still come to a version that lies ahead.
    if current < expected { failure.retry_after(AHEAD_RETRY) } else { failure }
}

/// The failure of a command by whose ETag its client saw another aggregate or history.
pub(crate) fn other_history(current: StreamVersion) -> Failure {
    let message = "the ETag is of another aggregate, or of another history of this one, as before \
                   a failover of the write database; read it again and decide again";
    Failure::new(ErrorReason::VersionConflict, message).with("current_version", current)
}

/// The failure of a command for which there is no room.
pub(crate) fn overloaded() -> Failure {
    Failure::new(ErrorReason::Overloaded, "too many commands are waiting; try again later")
        .retry_after(OVERLOAD_RETRY)
}

/// Delay before a full queue is worth trying again: a few batches.
pub(crate) const OVERLOAD_RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// Delay before another attempt is worthwhile while the database is unavailable: about the time a
/// breaker stays open.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

/// Delay before an aggregate may have come to a version that somebody expects ahead of time.
const AHEAD_RETRY: std::time::Duration = std::time::Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use headwater_edge::CallOptions;
    use headwater_kernel::{PartitionKey, StreamId};
    use tonic::Status;
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_conflict_that_may_pass_says_when_to_try_again() {
        // current and expected version, and whether the aggregate may still come to it
        let table = [(3, 4, true), (3, 9, true), (3, 2, false), (3, 0, false)];
        for (current, expected, may_pass) in table {
            let expected_version = Some(StreamVersion(expected));
            let call = Call {
                stream: StreamId(Uuid::nil()),
                partition_key: PartitionKey(Uuid::nil()),
                domain: "test",
                options: CallOptions { expected_version, ..CallOptions::default() },
            };
            let status = Status::from(version_conflict(&call, StreamVersion(current)));
            let told = status.get_details_retry_info().is_some();
            assert_eq!(told, may_pass, "{current} {expected}");
        }
    }
}
