//! Loading streams, and their snapshots.

use std::collections::HashMap;

use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{Epoch, Position, RecordedEvent, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::answer::answer;
use crate::error::LogError;
use crate::{EventLog, decode};

/// Stored events of a stream after some version.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The epoch of the log whose history this is of.
    pub epoch: Epoch,
    /// A snapshot newer than the version asked for, if there is one.
    pub snapshot: Option<SavedSnapshot>,
    /// The events after it, in order.
    pub events: Vec<RecordedEvent>,
}

/// A snapshot with its place in the stream and in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// The stream it is of.
    pub stream: StreamId,
    /// The version it shows.
    pub version: StreamVersion,
    /// The position of the event of that version.
    pub position: Position,
    /// Name of the aggregate it is a state of.
    pub aggregate: String,
    /// The state.
    pub snapshot: Snapshot,
}

/// Events of one stream that are read at once; longer streams are read in several steps.
const EVENTS_PER_STREAM: i64 = 2_000;

impl EventLog {
    /// The newest snapshot of each stream and the events after it, in the order of `streams`, all
    /// of which must differ. With `use_snapshots` false all events from the first.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn load(
        &self,
        streams: &[StreamId],
        use_snapshots: bool,
    ) -> Result<Vec<Loaded>, LogError> {
        let after = if use_snapshots { 0 } else { -1 };
        let mut open: Vec<(StreamId, i64)> = streams.iter().map(|s| (*s, after)).collect();
        let mut loaded: Vec<Loaded> = streams.iter().map(|_| Loaded::default()).collect();
        let index: HashMap<StreamId, usize> =
            streams.iter().enumerate().map(|(index, stream)| (*stream, index)).collect();
        while !open.is_empty() {
            let rows = self.load_step(&open).await?;
            let mut counts = HashMap::<StreamId, i64>::new();
            for row in &rows {
                let stream = StreamId(row.try_get("stream").map_err(LogError::from_sqlx)?);
                add_row(row, stream, &mut loaded[index[&stream]])?;
                *counts.entry(stream).or_default() += 1;
            }
            open.retain(|(stream, _)| counts.get(stream).copied() >= Some(EVENTS_PER_STREAM));
            for (stream, after) in &mut open {
                *after = loaded[index[stream]].events.last().map_or(*after, |e| e.version.0 as i64);
            }
        }
        Ok(loaded)
    }

    async fn load_step(&self, open: &[(StreamId, i64)]) -> Result<Vec<PgRow>, LogError> {
        let (ids, after): (Vec<uuid::Uuid>, Vec<i64>) =
            open.iter().map(|(stream, after)| (stream.0, *after)).unzip();
        let query = sqlx::query(include_str!("../sql/load.sql"))
            .bind(ids)
            .bind(after)
            .bind(EVENTS_PER_STREAM);
        answer(query.fetch_all(&self.pool.current()?)).await
    }

    /// Keeps snapshots; an older one than is there already is ignored.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn save_snapshots(&self, snapshots: &[SavedSnapshot]) -> Result<(), LogError> {
        let column = |f: fn(&SavedSnapshot) -> i64| snapshots.iter().map(f).collect::<Vec<_>>();
        let query = sqlx::query(include_str!("../sql/save_snapshots.sql"))
            .bind(snapshots.iter().map(|s| s.stream.0).collect::<Vec<_>>())
            .bind(column(|s| s.version.0 as i64))
            .bind(column(|s| s.position.0 as i64))
            .bind(snapshots.iter().map(|s| s.aggregate.as_str()).collect::<Vec<_>>())
            .bind(snapshots.iter().map(|s| s.snapshot.format as i16).collect::<Vec<_>>())
            .bind(snapshots.iter().map(|s| s.snapshot.state.as_slice()).collect::<Vec<_>>());
        answer(query.execute(&self.pool.current()?)).await?;
        Ok(())
    }

    /// Forgets receipts of idempotency keys older than `age_hours`, at most `limit`; answers how
    /// many.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn forget_receipts(&self, age_hours: u32, limit: u32) -> Result<u64, LogError> {
        let sql = include_str!("../sql/forget_receipts.sql");
        let query = sqlx::query_scalar(sql).bind(age_hours as i32).bind(limit as i32);
        let count: i64 = answer(query.fetch_one(&self.pool.current()?)).await?;
        Ok(count.unsigned_abs())
    }
}

fn add_row(row: &PgRow, stream: StreamId, loaded: &mut Loaded) -> Result<(), LogError> {
    if loaded.snapshot.is_none() && loaded.events.is_empty() {
        loaded.epoch = decode::epoch(row)?;
        loaded.snapshot = snapshot(row, stream).map_err(LogError::from_sqlx)?;
    }
    loaded.events.extend(decode::event(row)?);
    Ok(())
}

fn snapshot(row: &PgRow, stream: StreamId) -> Result<Option<SavedSnapshot>, sqlx::Error> {
    let Some(version) = row.try_get::<Option<i64>, _>("snapshot_version")? else { return Ok(None) };
    Ok(Some(SavedSnapshot {
        stream,
        version: StreamVersion(version.unsigned_abs()),
        position: Position(row.try_get::<i64, _>("snapshot_position")?.unsigned_abs()),
        aggregate: row.try_get("aggregate")?,
        snapshot: Snapshot {
            format: row.try_get::<i16, _>("format")?.unsigned_abs(),
            state: row.try_get("state")?,
        },
    }))
}
