//! Statements as data, and their rows. Each is one `.sql` file and the function that reads its
//! columns.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use headwater_kernel::{Epoch, EpochStart, Freshness, Lineage, LogId, NodeRole, Position};
use thiserror::Error;
use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};
use uuid::Uuid;

use super::connection::Params;
use crate::seen::NodeError;
use crate::seen::{Checkpoint, NodeState};

/// Reads the checkpoints of the projections in `$1`.
pub const CHECKPOINT: &str = include_str!("../../sql/queries/checkpoint.sql");

/// Role, log, epoch, positions, as-of time and revision: what every statement's rows begin with.
const HEADER_COLUMNS: usize = 6;

/// A query that gives rows of type `R`.
///
/// The SQL takes the projection's name as `$1`; its columns are the header and then those that
/// `decode` takes. Where nothing is found it gives one row whose columns after the header are NULL.
pub struct Statement<R> {
    /// Name for metrics and logs.
    pub name: &'static str,
    /// The projection whose views it reads, and whose checkpoint dates its rows.
    pub projection: &'static str,
    /// One statement, so that all it reads is of one snapshot.
    pub sql: &'static str,
    /// Takes the columns after the header, in their order.
    pub decode: fn(&mut Columns<'_>) -> Result<R, ColumnError>,
}

impl<R> Statement<R> {
    /// The projection's name, and then the parameters.
    pub(super) fn with_projection<'a>(&'a self, params: Params<'a>) -> Vec<&'a (dyn ToSql + Sync)> {
        std::iter::once(&self.projection as _).chain(params.iter().copied()).collect()
    }
}

/// Mismatch of what a node answered with what the statement says.
#[derive(Debug, Error)]
pub enum ColumnError {
    /// A column is missing or of another type.
    #[error("{}: {}", .0, .0.source().map(ToString::to_string).unwrap_or_default())]
    Type(#[from] tokio_postgres::Error),
    /// A column holds a value that the domain does not know.
    #[error("unexpected value {0:?}")]
    Value(String),
    /// The function that takes the columns panicked; the panic itself has been logged.
    #[error("a row could not be read: panic")]
    Panic,
}

/// The columns of a row, taken one after the other.
pub struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    /// The next column.
    ///
    /// # Errors
    /// If there is none, or it is of another type.
    pub fn take<T: FromSql<'r>>(&mut self) -> Result<T, ColumnError> {
        let value = self.row.try_get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// True if the next column is NULL.
    ///
    /// # Errors
    /// If there is none.
    pub fn is_null(&self) -> Result<bool, ColumnError> {
        Ok(is_null(self.row, self.next)?)
    }

    /// The next column, a count or version that is never negative.
    ///
    /// # Errors
    /// If there is none, or it is of another type, or negative.
    pub fn take_u64(&mut self) -> Result<u64, ColumnError> {
        let value: i64 = self.take()?;
        u64::try_from(value).map_err(|_| ColumnError::Value(value.to_string()))
    }
}

/// Answer of a statement: the state of its snapshot, and rows that are not decoded yet.
pub struct Rows {
    /// Role and checkpoint.
    pub node_state: NodeState,
    rows: Vec<Row>,
}

impl Rows {
    /// Reads the header. A checkpoint equal to the one `before` is shared with it, and its token
    /// not encoded again.
    ///
    /// # Errors
    /// [`NodeError::NoCheckpoint`] without rows, [`NodeError::Defect`] if the header is not one.
    pub fn new(
        rows: Vec<Row>,
        projection: &str,
        before: Option<Arc<Checkpoint>>,
    ) -> Result<Self, NodeError> {
        let Some(first) = rows.first() else {
            return Err(NodeError::NoCheckpoint(projection.into()));
        };
        let node_state = state(first, before)?;
        Ok(Self { node_state, rows })
    }

    /// The rows after the header, if any was found.
    ///
    /// # Errors
    /// [`NodeError::Defect`] if they are not what the statement says.
    pub fn decode<R>(&self, statement: &Statement<R>) -> Result<Vec<R>, NodeError> {
        decode(statement, &self.rows)
    }
}

/// The rows of a statement after their header, if any was found.
///
/// # Errors
/// [`NodeError::Defect`] if they are not what the statement says.
pub fn decode<R>(statement: &Statement<R>, rows: &[Row]) -> Result<Vec<R>, NodeError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let absent = is_null(first, HEADER_COLUMNS).map_err(NodeError::defect)?;
    let rows = if absent { &[] } else { rows };
    let row = |row: &Row| {
        let mut columns = Columns { row, next: HEADER_COLUMNS };
        // A panic is the end of this read, not of the task that carries the reads of many. Nothing
        // is left behind half done: the row is only read.
        let row = catch_unwind(AssertUnwindSafe(|| (statement.decode)(&mut columns)));
        row.unwrap_or_else(|_| Err(ColumnError::Panic))
    };
    rows.iter()
        .map(row)
        .collect::<Result<_, _>>()
        .map_err(|error| NodeError::defect(format_args!("{}: {error}", statement.name)))
}

/// The name of the projection in a row of [`CHECKPOINT`].
///
/// # Errors
/// It is not such a row.
pub fn projection_of(row: &Row) -> Result<&str, ColumnError> {
    Columns { row, next: HEADER_COLUMNS }.take()
}

/// The header of a row. A checkpoint equal to the one `before` is shared with it.
///
/// # Errors
/// [`NodeError::Defect`] if there is none.
pub fn state(row: &Row, before: Option<Arc<Checkpoint>>) -> Result<NodeState, NodeError> {
    node_state(row, before).map_err(NodeError::defect)
}

fn node_state(row: &Row, before: Option<Arc<Checkpoint>>) -> Result<NodeState, ColumnError> {
    let mut columns = Columns { row, next: 0 };
    let role = if columns.take()? { NodeRole::Replica } else { NodeRole::Primary };
    let log = LogId(columns.take::<Uuid>()?);
    let epoch = epoch(columns.take()?)?;
    let positions = columns.take::<Vec<i64>>()?;
    let positions = positions.into_iter().map(position).collect::<Result<_, _>>()?;
    let freshness = Freshness { positions, as_of: columns.take::<OffsetDateTime>()? };
    let revision = columns.take::<i64>()?;
    let read = (log, epoch, &freshness, revision);
    let known =
        before.filter(|known| (known.log, known.epoch, &known.freshness, known.revision) == read);
    let checkpoint = known.unwrap_or_else(|| {
        Arc::new(Checkpoint { revision, ..Checkpoint::new(log, epoch, freshness) })
    });
    Ok(NodeState { role, checkpoint })
}

/// The rows of `sql/queries/lineage.sql`; `None` if there is no checkpoint.
///
/// # Errors
/// They are not what the statement says.
pub fn lineage(rows: &[Row]) -> Result<Option<Lineage>, ColumnError> {
    let mut current = None;
    let mut starts = Vec::with_capacity(rows.len());
    for row in rows {
        let mut columns = Columns { row, next: 0 };
        let log = LogId(columns.take::<Uuid>()?);
        current = Some((log, epoch(columns.take()?)?));
        // NULL where nothing is known of how its epochs began.
        let Some(number) = columns.take::<Option<i32>>()? else { continue };
        let positions = columns.take::<Vec<i64>>()?;
        let positions = positions.into_iter().map(position).collect::<Result<_, _>>()?;
        starts.push(EpochStart { epoch: epoch(number)?, positions });
    }
    Ok(current.map(|(log, epoch)| Lineage::new(log, epoch, starts)))
}

fn epoch(value: i32) -> Result<Epoch, ColumnError> {
    Ok(Epoch(u32::try_from(value).map_err(|_| ColumnError::Value(value.to_string()))?))
}

fn position(value: i64) -> Result<Position, ColumnError> {
    let value = u64::try_from(value).map_err(|_| ColumnError::Value(value.to_string()))?;
    Ok(Position(value))
}

fn is_null(row: &Row, column: usize) -> Result<bool, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<Anything>>(column)?.is_none())
}

/// A value of any type, unread.
struct Anything;

impl<'a> FromSql<'a> for Anything {
    fn from_sql(_: &Type, _: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}
