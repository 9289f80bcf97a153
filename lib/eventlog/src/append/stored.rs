//! Values as the database has them.

use headwater_kernel::digest::Contents;
use headwater_kernel::{Digest, NewEvent, StreamId, StreamVersion};
use time::OffsetDateTime;

use super::command::{Command, FactKind};

/// A time of the database, in microseconds since 1970.
pub(super) fn time_of(micros: i64) -> Result<OffsetDateTime, sqlx::Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Digest of the contents of one of a command's events.
pub(super) fn digest(
    command: &Command,
    (stream, version): (StreamId, StreamVersion),
    event: &NewEvent,
) -> Digest {
    Digest::of_contents(&Contents {
        stream,
        version,
        type_name: event.type_name,
        schema_version: event.schema_version,
        payload: &event.payload,
        command_id: command.command_id,
        caller: command.caller.as_deref(),
        traceparent: command.traceparent.as_deref(),
    })
}

/// The letter that stands for it in the database; see schema_3.sql.
pub(super) fn code(kind: FactKind) -> &'static str {
    match kind {
        FactKind::TakeClaim => "t",
        FactKind::FreeClaim => "f",
        FactKind::SetMark => "s",
        FactKind::ClearMark => "c",
        FactKind::MarkPresent => "p",
        FactKind::MarkAbsent => "a",
    }
}
