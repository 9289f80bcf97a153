//! Loading streams, and their snapshots.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use headwater_kernel::{Epoch, RecordedEvent, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::timeout;

use crate::answer::answer;
use crate::error::LogError;
use crate::schema::Edition;
use crate::snapshots::{SavedSnapshot, snapshot};
use crate::{EventLog, decode};

/// All that a load gave of a stream.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The epoch of the log whose history this is of.
    pub epoch: Epoch,
    /// The newest snapshot, if there is one and it was asked for.
    pub snapshot: Option<SavedSnapshot>,
    /// The events after it, in order.
    pub events: Vec<RecordedEvent>,
}

/// Part of a stream that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadStep {
    /// The stream.
    pub stream: StreamId,
    /// The place from which it is read.
    pub from: LoadFrom,
}

/// Place in a stream from which it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFrom {
    /// The newest snapshot of this format (of any, if none is given), else the first event.
    Snapshot(Option<u16>),
    /// The event after this version.
    Version(StreamVersion),
}

/// One row of a load: an event, or that there is none; the first one of a stream may bring a
/// snapshot, on which the event follows.
#[derive(Clone, Debug)]
pub struct LoadedRow {
    /// The stream.
    pub stream: StreamId,
    /// The epoch of the log whose history this is of.
    pub epoch: Epoch,
    /// The snapshot.
    pub snapshot: Option<SavedSnapshot>,
    /// The event.
    pub event: Option<RecordedEvent>,
}

/// How a load ended that the database answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadEnd {
    /// With the last row.
    Whole,
    /// It took too long; the rows that came are good.
    Cut,
}

/// Bounds of one statement that reads streams.
#[derive(Clone, Copy, Debug)]
pub struct LoadMax {
    /// Events of each stream.
    pub events: u32,
    /// Time until the next row comes; for a connection, and for all of them, three times as long.
    pub row: Duration,
}

/// Bounds of each statement of [`EventLog::load`].
const STEP_MAX: LoadMax = LoadMax { events: 2_000, row: Duration::from_secs(3) };

impl EventLog {
    /// Everything of several streams, in their order; all of them must differ. For tools and tests:
    /// it is all held in memory.
    ///
    /// # Errors
    /// The database cannot be reached, or takes too long.
    pub async fn load(
        &self,
        streams: &[StreamId],
        use_snapshots: bool,
    ) -> Result<Vec<Loaded>, LogError> {
        let mut all = Vec::with_capacity(streams.len());
        for stream in streams {
            let mut loaded = Loaded::default();
            let start = LoadFrom::Version(StreamVersion(0));
            let mut from = if use_snapshots { LoadFrom::Snapshot(None) } else { start };
            loop {
                let before = loaded.events.len();
                let steps = [LoadStep { stream: *stream, from }];
                self.load_rows(&steps, STEP_MAX, |row| {
                    loaded.epoch = row.epoch;
                    loaded.snapshot = loaded.snapshot.take().or(row.snapshot);
                    loaded.events.extend(row.event);
                })
                .await?;
                if loaded.events.len() - before < STEP_MAX.events as usize {
                    break;
                }
                let last = loaded.events.last().map(|event| event.version);
                from = LoadFrom::Version(last.unwrap_or_default());
            }
            all.push(loaded);
        }
        Ok(all)
    }

    /// Reads a step of each of several streams by one statement, and gives the rows as they come:
    /// in the order of the versions for each stream, and at least one for each stream unless it is
    /// cut. All streams must differ.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn load_rows(
        &self,
        steps: &[LoadStep],
        max: LoadMax,
        mut each: impl FnMut(LoadedRow) + Send,
    ) -> Result<LoadEnd, LogError> {
        // If what the statement reads is not there, no row has come.
        let used = self.edition();
        match self.load_as(used, steps, max, &mut each).await {
            Err(error) => {
                self.load_as(self.migrated_since(used, error).await?, steps, max, &mut each).await
            }
            loaded => loaded,
        }
    }

    async fn load_as(
        &self,
        edition: Edition,
        steps: &[LoadStep],
        max: LoadMax,
        each: &mut (impl FnMut(LoadedRow) + Send),
    ) -> Result<LoadEnd, LogError> {
        let after = |from: LoadFrom| match from {
            LoadFrom::Snapshot(_) => 0,
            LoadFrom::Version(StreamVersion(0)) => -1,
            LoadFrom::Version(version) => version.0 as i64,
        };
        let pool = self.pool.current()?;
        let silent = |_| LogError::Unavailable(sqlx::Error::PoolTimedOut);
        let connected = timeout(max.row * 3, answer(pool.acquire())).await;
        let mut connection = connected.map_err(silent).flatten()?;
        let format = |from: LoadFrom| match from {
            LoadFrom::Snapshot(format) => format.map(i32::from),
            LoadFrom::Version(_) => None,
        };
        let is_old = edition == Edition::Old;
        let sql = if is_old {
            include_str!("../sql/load_2.sql")
        } else {
            include_str!("../sql/load_3.sql")
        };
        let mut query = sqlx::query(sql)
            .bind(steps.iter().map(|step| step.stream.0).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| after(step.from)).collect::<Vec<_>>())
            .bind(i64::from(max.events));
        if !is_old {
            let formats = steps.iter().map(|step| format(step.from)).collect::<Vec<_>>();
            query = query.bind(formats);
        }
        let reading = async {
            let mut rows = query.fetch(&mut *connection);
            loop {
                match timeout(max.row, rows.try_next()).await {
                    Ok(Ok(Some(row))) => each(loaded_row(&row)?),
                    Ok(Ok(None)) => return Ok(LoadEnd::Whole),
                    Ok(Err(error)) => return Err(LogError::from_sqlx(error)),
                    Err(_) => return Ok(LoadEnd::Cut),
                }
            }
        };
        let end = timeout(max.row * 3, reading).await.unwrap_or(Ok(LoadEnd::Cut));
        if end.as_ref().is_ok_and(|end| *end == LoadEnd::Cut) {
            // Rows are still on their way in it.
            connection.close_on_drop();
        }
        end
    }
}

fn loaded_row(row: &PgRow) -> Result<LoadedRow, LogError> {
    let stream = StreamId(row.try_get("stream").map_err(LogError::from_sqlx)?);
    let snapshot = snapshot(row, stream).map_err(LogError::from_sqlx)?;
    Ok(LoadedRow { stream, epoch: decode::epoch(row)?, snapshot, event: decode::event(row)? })
}
