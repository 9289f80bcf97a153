//! From rows of the event table to recorded events.

use headwater_kernel::{Epoch, Partition, Position, RecordedEvent, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::error::LogError;

/// The event of a row; `None` if the row carries none (the outer side of a join).
pub(crate) fn event(row: &PgRow) -> Result<Option<RecordedEvent>, LogError> {
    decode(row).map_err(LogError::from_sqlx)
}

/// The epoch that the row's statement was answered in.
pub(crate) fn epoch(row: &PgRow) -> Result<Epoch, LogError> {
    let epoch: i32 = row.try_get("epoch").map_err(LogError::from_sqlx)?;
    Ok(Epoch(epoch.unsigned_abs()))
}

fn decode(row: &PgRow) -> Result<Option<RecordedEvent>, sqlx::Error> {
    let Some(position) = row.try_get::<Option<i64>, _>("position")? else { return Ok(None) };
    Ok(Some(RecordedEvent {
        partition: Partition(row.try_get::<i32, _>("partition")?.unsigned_abs() as u16),
        position: Position(position.unsigned_abs()),
        stream: StreamId(row.try_get("stream")?),
        version: StreamVersion(row.try_get::<i64, _>("version")?.unsigned_abs()),
        type_name: row.try_get("type")?,
        schema_version: row.try_get::<i16, _>("schema_version")?.unsigned_abs(),
        payload: row.try_get("payload")?,
        command_id: row.try_get("command_id")?,
        caller: row.try_get("caller")?,
        traceparent: row.try_get("traceparent")?,
        recorded_at: row.try_get("recorded_at")?,
    }))
}
