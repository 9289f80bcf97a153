//! Reading what a query matches: the events that a decision across aggregates is made on.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use headwater_kernel::{Epoch, Partition, Position, Query, RecordedEvent, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::timeout;

use crate::append::ItemRecord;
use crate::error::LogError;
use crate::{EventLog, decode};

/// Part of what a query matches that is to be read.
#[derive(Clone, Copy, Debug)]
pub struct BoundaryStep<'a> {
    /// The partition.
    pub partition: Partition,
    /// The query.
    pub query: &'a Query,
    /// Events after this position are wanted.
    pub after: Position,
    /// Streams whose versions are wanted. A version that is given is one that the stream had at
    /// `after` or before: it is not read up to there again.
    pub streams: &'a [(StreamId, StreamVersion)],
    /// Events to read at most.
    pub events_max: u32,
    /// Time that it may take.
    pub time_max: Duration,
}

/// What a step read, all in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundaryRead {
    /// The epoch of the log whose history it is of.
    pub epoch: Epoch,
    /// The end of the partition.
    pub head: Position,
    /// Versions of the step's streams, in their order.
    pub versions: Vec<StreamVersion>,
    /// Number of events; fewer than were wanted if there are no more up to the head.
    pub events: u32,
}

impl EventLog {
    /// Reads the next events that a query matches, in the order of their positions, and gives them
    /// as they come, with the epoch that they are of.
    ///
    /// # Errors
    /// The database cannot be reached, does not answer in time, or its schema has no tags yet; or
    /// the error that `each` made.
    pub async fn read_boundary<E: From<LogError>>(
        &self,
        step: BoundaryStep<'_>,
        each: impl FnMut(Epoch, RecordedEvent) -> Result<(), E> + Send,
    ) -> Result<BoundaryRead, E> {
        self.check_tags().await?;
        let silent = |_| E::from(LogError::Unavailable(sqlx::Error::PoolTimedOut));
        timeout(step.time_max, self.read_step(step, each)).await.map_err(silent).flatten()
    }

    async fn read_step<E: From<LogError>>(
        &self,
        step: BoundaryStep<'_>,
        mut each: impl FnMut(Epoch, RecordedEvent) -> Result<(), E> + Send,
    ) -> Result<BoundaryRead, E> {
        let version = |stream| {
            let known = step.streams.iter().find(|(known, _)| Some(*known) == stream);
            known.map(|(_, version)| *version).unwrap_or_default()
        };
        let items = step.query.items().iter();
        let items: Vec<ItemRecord> = items
            .map(|item| ItemRecord::of(0, item, (step.after, version(item.stream_id()))))
            .collect();
        let pool = self.pool.current()?;
        let query = sqlx::query(include_str!("../sql/load_boundary_3.sql"))
            .bind(i32::from(step.partition.0))
            .bind(items)
            .bind(step.streams.iter().map(|(stream, _)| stream.0).collect::<Vec<_>>())
            .bind(i64::from(step.events_max));
        let mut rows = query.fetch(&pool);
        let mut read = BoundaryRead::default();
        while let Some(row) = rows.try_next().await.map_err(LogError::from_sqlx)? {
            if read.events == 0 {
                read = about(&row).map_err(LogError::from_sqlx)?;
            }
            if let Some(event) = decode::event(&row)? {
                read.events += 1;
                each(read.epoch, event)?;
            }
        }
        Ok(read)
    }
}

fn about(row: &PgRow) -> Result<BoundaryRead, sqlx::Error> {
    let versions: Vec<i64> = row.try_get("versions")?;
    Ok(BoundaryRead {
        epoch: Epoch(row.try_get::<i32, _>("epoch")?.unsigned_abs()),
        head: Position(row.try_get::<i64, _>("head")?.unsigned_abs()),
        versions: versions.into_iter().map(|v| StreamVersion(v.unsigned_abs())).collect(),
        events: 0,
    })
}
