//! Claims and marks compared with the events that they follow from, and made anew.

use headwater_kernel::{AggregateType, HoldingsFold, Partition, RecordedEvent, StreamId};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::error::LogError;
use crate::{EventLog, decode, schema};

/// Events read by one statement, and streams whose holdings are written by one.
const EVENTS_PER_STEP: i64 = 5_000;
/// Differences that are told; there may be more.
pub const DIFFERENCES_MAX: usize = 1_000;

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldingsReport {
    /// Streams whose aggregate tells what it holds.
    pub streams: u64,
    /// Streams of no aggregate that is known, or of one that does not tell: theirs are left alone.
    pub untold: u64,
    /// Differences, at most [`DIFFERENCES_MAX`] of them.
    pub differences: Vec<HoldingDifference>,
    /// Rows that were inserted and deleted.
    pub mended: u64,
}

/// A claim or mark that only the events or only the log's table knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingDifference {
    /// True for a claim, false for a mark.
    pub is_claim: bool,
    /// True if the stream holds it and the table lacks it, false if the table has it and the stream
    /// does not hold it.
    pub is_held: bool,
    /// The claim's value or the mark's name.
    pub name: String,
    /// The stream.
    pub stream: StreamId,
}

impl EventLog {
    /// Compares claims and marks with the events, in one snapshot. Needs the owner's rights.
    ///
    /// # Errors
    /// The database cannot be reached, or an event cannot be read.
    pub async fn verify_holdings(
        url: &str,
        aggregates: &[AggregateType],
    ) -> Result<HoldingsReport, LogError> {
        let mut connection = snapshot(url).await?;
        let mut report = HoldingsReport::default();
        add_all(&mut connection, aggregates, &mut report).await?;
        report.differences = differences(&mut connection).await?;
        execute(&mut connection, "COMMIT").await?;
        Ok(report)
    }

    /// Makes claims and marks what the events say. Commands go on but for the last step, which
    /// looks again at the streams that were appended to meanwhile. Needs the owner's rights.
    ///
    /// # Errors
    /// The database cannot be reached, or an event cannot be read; nothing was changed.
    pub async fn rebuild_holdings(
        url: &str,
        aggregates: &[AggregateType],
    ) -> Result<HoldingsReport, LogError> {
        let mut connection = snapshot(url).await?;
        let heads = heads(&mut connection).await?;
        let mut report = HoldingsReport::default();
        add_all(&mut connection, aggregates, &mut report).await?;
        execute(&mut connection, "COMMIT; BEGIN; SELECT headwater_log.stop_appends()").await?;
        for (partition, position) in heads.into_iter().enumerate() {
            add_since(&mut connection, aggregates, (partition as i32, position)).await?;
        }
        report.differences = differences(&mut connection).await?;
        for statement in
            [include_str!("../sql/delete_unheld.sql"), include_str!("../sql/insert_held.sql")]
        {
            let count: i64 = sqlx::query_scalar(statement)
                .fetch_one(&mut connection)
                .await
                .map_err(LogError::from_sqlx)?;
            report.mended += count.unsigned_abs();
        }
        execute(&mut connection, "COMMIT").await?;
        Ok(report)
    }
}

async fn execute(connection: &mut PgConnection, script: &'static str) -> Result<(), LogError> {
    sqlx::raw_sql(script).execute(connection).await.map_err(LogError::from_sqlx)?;
    Ok(())
}

/// A connection of the owner, in a snapshot, with the tables for what streams hold.
async fn snapshot(url: &str) -> Result<PgConnection, LogError> {
    let mut connection = schema::owner(url).await?;
    execute(&mut connection, include_str!("../sql/held_tables.sql")).await?;
    execute(&mut connection, "BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    Ok(connection)
}

async fn heads(connection: &mut PgConnection) -> Result<Vec<i64>, LogError> {
    let heads = "SELECT position FROM headwater_log.head ORDER BY partition";
    sqlx::query_scalar(heads).fetch_all(connection).await.map_err(LogError::from_sqlx)
}

/// Folds all streams, one after the other.
async fn add_all(
    connection: &mut PgConnection,
    aggregates: &[AggregateType],
    report: &mut HoldingsReport,
) -> Result<(), LogError> {
    let mut folds = Folds::new(aggregates);
    let (mut stream, mut version) = (Uuid::nil(), 0);
    loop {
        let query = sqlx::query(include_str!("../sql/streams.sql"))
            .bind(stream)
            .bind(version)
            .bind(EVENTS_PER_STEP);
        let rows = query.fetch_all(&mut *connection).await.map_err(LogError::from_sqlx)?;
        for row in &rows {
            let Some(event) = decode::event(row)? else { continue };
            (stream, version) = (event.stream.0, event.version.0 as i64);
            folds.add(&event)?;
        }
        let is_last = rows.len() < EVENTS_PER_STEP as usize;
        if is_last {
            folds.end();
        }
        let held = std::mem::take(&mut folds.held);
        report.streams += held.told;
        report.untold += held.untold.len() as u64;
        held.write(connection).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// Folds the streams anew that have been appended to since.
async fn add_since(
    connection: &mut PgConnection,
    aggregates: &[AggregateType],
    (partition, position): (i32, i64),
) -> Result<(), LogError> {
    let query =
        sqlx::query(include_str!("../sql/streams_since.sql")).bind(partition).bind(position);
    let rows = query.fetch_all(&mut *connection).await.map_err(LogError::from_sqlx)?;
    let mut folds = Folds::new(aggregates);
    let mut streams = Vec::new();
    for row in &rows {
        let Some(event) = decode::event(row)? else { continue };
        streams.push(event.stream.0);
        folds.add(&event)?;
    }
    folds.end();
    streams.dedup();
    let forget = sqlx::query(include_str!("../sql/forget_held.sql")).bind(streams);
    forget.execute(&mut *connection).await.map_err(LogError::from_sqlx)?;
    folds.held.write(connection).await
}

async fn differences(connection: &mut PgConnection) -> Result<Vec<HoldingDifference>, LogError> {
    execute(connection, "ANALYZE held_claim, held_mark, foreign_stream").await?;
    let query = sqlx::query(include_str!("../sql/held_differences.sql"));
    let query = query.bind(DIFFERENCES_MAX as i64);
    let rows = query.fetch_all(connection).await.map_err(LogError::from_sqlx)?;
    let difference = |row: &PgRow| {
        Ok(HoldingDifference {
            is_claim: row.try_get::<&str, _>("kind")? == "c",
            is_held: row.try_get("is_held")?,
            name: row.try_get("name")?,
            stream: StreamId(row.try_get("stream")?),
        })
    };
    rows.iter().map(difference).collect::<Result<_, _>>().map_err(LogError::from_sqlx)
}

/// What streams hold, not written yet.
#[derive(Default)]
struct Held {
    told: u64,
    claims: Vec<String>,
    claim_streams: Vec<Uuid>,
    mark_partitions: Vec<i32>,
    marks: Vec<String>,
    mark_streams: Vec<Uuid>,
    untold: Vec<Uuid>,
}

impl Held {
    async fn write(self, connection: &mut PgConnection) -> Result<(), LogError> {
        let query = sqlx::query(include_str!("../sql/held.sql"))
            .bind(self.claims)
            .bind(self.claim_streams)
            .bind(self.mark_partitions)
            .bind(self.marks)
            .bind(self.mark_streams)
            .bind(self.untold);
        query.execute(connection).await.map_err(LogError::from_sqlx)?;
        Ok(())
    }
}

/// The fold of one stream after the other.
struct Folds<'a> {
    aggregates: &'a [AggregateType],
    current: Option<Current>,
    held: Held,
}

struct Current {
    stream: StreamId,
    partition: Partition,
    fold: Option<Box<dyn HoldingsFold>>,
}

impl<'a> Folds<'a> {
    fn new(aggregates: &'a [AggregateType]) -> Self {
        Self { aggregates, current: None, held: Held::default() }
    }

    fn add(&mut self, event: &RecordedEvent) -> Result<(), LogError> {
        if self.current.as_ref().is_none_or(|current| current.stream != event.stream) {
            self.end();
            let known = self.aggregates.iter().find(|a| (a.knows)(&event.type_name));
            let fold = known.map(|aggregate| (aggregate.fold)());
            self.current = Some(Current { stream: event.stream, partition: event.partition, fold });
        }
        let Some(fold) = self.current.as_mut().and_then(|current| current.fold.as_mut()) else {
            return Ok(());
        };
        fold.add(event).map_err(|error| LogError::Corrupt {
            partition: event.partition,
            position: event.position,
            what: error.to_string(),
        })
    }

    /// The stream has no more events.
    fn end(&mut self) {
        let Some(Current { stream, partition, fold }) = self.current.take() else { return };
        let Some(holdings) = fold.and_then(|fold| fold.holdings(stream)) else {
            self.held.untold.push(stream.0);
            return;
        };
        self.held.told += 1;
        for claim in holdings.claims {
            self.held.claims.push(claim);
            self.held.claim_streams.push(stream.0);
        }
        for mark in holdings.marks {
            self.held.mark_partitions.push(i32::from(partition.0));
            self.held.marks.push(mark);
            self.held.mark_streams.push(stream.0);
        }
    }
}
