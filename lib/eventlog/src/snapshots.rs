//! States of long streams, kept so that loading does not fold all of a stream; and receipts that
//! are kept for a time.

use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{Epoch, Position, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::EventLog;
use crate::answer::answer;
use crate::error::LogError;
use crate::schema::Edition;

/// A snapshot with its place in the stream and in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// The stream it is of.
    pub stream: StreamId,
    /// The version it shows.
    pub version: StreamVersion,
    /// The position of the event of that version.
    pub position: Position,
    /// The epoch of the log whose history it is of.
    pub epoch: Epoch,
    /// The command that caused that event: of another history it is another one.
    pub command_id: Uuid,
    /// Name of the aggregate it is a state of.
    pub aggregate: String,
    /// The state.
    pub snapshot: Snapshot,
}

impl EventLog {
    /// Keeps snapshots; one that is older than what is there of its stream and format is ignored.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn save_snapshots(&self, snapshots: &[SavedSnapshot]) -> Result<(), LogError> {
        let used = self.edition();
        match self.save_as(used, snapshots).await {
            Err(error) => self.save_as(self.migrated_since(used, error).await?, snapshots).await,
            saved => saved,
        }
    }

    async fn save_as(&self, edition: Edition, snapshots: &[SavedSnapshot]) -> Result<(), LogError> {
        let streams: Vec<Uuid> = snapshots.iter().map(|s| s.stream.0).collect();
        let versions: Vec<i64> = snapshots.iter().map(|s| s.version.0 as i64).collect();
        let positions: Vec<i64> = snapshots.iter().map(|s| s.position.0 as i64).collect();
        let aggregates: Vec<&str> = snapshots.iter().map(|s| s.aggregate.as_str()).collect();
        let states: Vec<&[u8]> = snapshots.iter().map(|s| s.snapshot.state.as_slice()).collect();
        let formats = snapshots.iter().map(|s| s.snapshot.format);
        let query = if edition == Edition::Old {
            sqlx::query(include_str!("../sql/save_snapshots_2.sql"))
                .bind(streams)
                .bind(versions)
                .bind(positions)
                .bind(aggregates)
                .bind(formats.map(|format| format as i16).collect::<Vec<_>>())
                .bind(states)
        } else {
            sqlx::query(include_str!("../sql/save_snapshots_3.sql"))
                .bind(streams)
                .bind(formats.map(i32::from).collect::<Vec<_>>())
                .bind(versions)
                .bind(positions)
                .bind(snapshots.iter().map(|s| s.epoch.0 as i32).collect::<Vec<_>>())
                .bind(snapshots.iter().map(|s| s.command_id).collect::<Vec<_>>())
                .bind(aggregates)
                .bind(states)
        };
        answer(query.execute(&self.pool.current()?)).await?;
        Ok(())
    }

    /// Forgets receipts that no event is and that are older than `age_hours`, at most `limit` of
    /// each kind; answers how many. The others stay as long as their events.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn forget_receipts(&self, age_hours: u32, limit: u32) -> Result<u64, LogError> {
        let used = self.edition();
        match self.forget_as(used, age_hours, limit).await {
            Err(error) => {
                self.forget_as(self.migrated_since(used, error).await?, age_hours, limit).await
            }
            forgotten => forgotten,
        }
    }

    async fn forget_as(
        &self,
        edition: Edition,
        age_hours: u32,
        limit: u32,
    ) -> Result<u64, LogError> {
        let sql = if edition == Edition::Old {
            include_str!("../sql/forget_receipts_2.sql")
        } else {
            include_str!("../sql/forget_receipts_3_call.sql")
        };
        let query = sqlx::query_scalar(sql).bind(age_hours as i32).bind(limit as i32);
        let count: i64 = answer(query.fetch_one(&self.pool.current()?)).await?;
        Ok(count.unsigned_abs())
    }
}

/// The snapshot of a row of load_2.sql or load_3.sql, if it brings one.
pub(crate) fn snapshot(
    row: &PgRow,
    stream: StreamId,
) -> Result<Option<SavedSnapshot>, sqlx::Error> {
    let Some(version) = row.try_get::<Option<i64>, _>("snapshot_version")? else { return Ok(None) };
    let epoch: Option<i32> = row.try_get("snapshot_epoch")?;
    let command_id: Option<Uuid> = row.try_get("snapshot_command")?;
    Ok(Some(SavedSnapshot {
        stream,
        version: StreamVersion(version.unsigned_abs()),
        position: Position(row.try_get::<i64, _>("snapshot_position")?.unsigned_abs()),
        // Edition 2 keeps neither.
        epoch: Epoch(epoch.unwrap_or_default().unsigned_abs()),
        command_id: command_id.unwrap_or_default(),
        aggregate: row.try_get("aggregate")?,
        snapshot: Snapshot {
            format: row.try_get::<i32, _>("format")?.unsigned_abs() as u16,
            state: row.try_get("state")?,
        },
    }))
}
