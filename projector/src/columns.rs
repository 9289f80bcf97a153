//! Between rows of values and what the driver sends and receives: one array a column, one row a
//! tuple.

use headwater_kernel::ViewError;
use headwater_kernel::row::{Column, ColumnType, Value};
use postgres_types::ToSql;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// The values of one column of many rows.
#[derive(Debug)]
pub enum Array {
    /// `boolean[]`.
    Bool(Vec<Option<bool>>),
    /// `bigint[]`.
    I64(Vec<Option<i64>>),
    /// `text[]`.
    Text(Vec<Option<String>>),
    /// `uuid[]`.
    Uuid(Vec<Option<Uuid>>),
    /// `timestamptz[]`.
    Time(Vec<Option<OffsetDateTime>>),
}

impl Array {
    fn new(kind: ColumnType, capacity: usize) -> Self {
        match kind {
            ColumnType::Bool => Self::Bool(Vec::with_capacity(capacity)),
            ColumnType::I64 => Self::I64(Vec::with_capacity(capacity)),
            ColumnType::Text => Self::Text(Vec::with_capacity(capacity)),
            ColumnType::Uuid => Self::Uuid(Vec::with_capacity(capacity)),
            ColumnType::Time => Self::Time(Vec::with_capacity(capacity)),
        }
    }

    /// An array of values of one type.
    ///
    /// # Errors
    /// A value is of another type.
    pub fn of(
        kind: ColumnType,
        values: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Self, ViewError> {
        let mut array = Self::new(kind, values.len());
        for value in values {
            array.push(value)?;
        }
        Ok(array)
    }

    /// The rows, turned into an array a column.
    ///
    /// # Errors
    /// A row does not have these columns.
    pub fn of_rows(columns: &[Column], rows: Vec<Vec<Value>>) -> Result<Vec<Self>, ViewError> {
        let mut arrays: Vec<Self> =
            columns.iter().map(|column| Self::new(column.kind, rows.len())).collect();
        for row in rows {
            if row.len() != arrays.len() {
                return Err(ViewError("a row has another number of columns".to_owned()));
            }
            for (array, value) in arrays.iter_mut().zip(row) {
                array.push(value)?;
            }
        }
        Ok(arrays)
    }

    fn push(&mut self, value: Value) -> Result<(), ViewError> {
        match (self, value) {
            (Self::Bool(values), Value::Bool(value)) => values.push(Some(value)),
            (Self::I64(values), Value::I64(value)) => values.push(Some(value)),
            (Self::Text(values), Value::Text(value)) => values.push(Some(value)),
            (Self::Uuid(values), Value::Uuid(value)) => values.push(Some(value)),
            (Self::Time(values), Value::Time(value)) => values.push(Some(value)),
            (Self::Bool(values), Value::Null) => values.push(None),
            (Self::I64(values), Value::Null) => values.push(None),
            (Self::Text(values), Value::Null) => values.push(None),
            (Self::Uuid(values), Value::Null) => values.push(None),
            (Self::Time(values), Value::Null) => values.push(None),
            (_, value) => return Err(ViewError(format!("{value:?} is not of the column's type"))),
        }
        Ok(())
    }

    /// As a parameter of a statement.
    pub fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Bool(values) => values,
            Self::I64(values) => values,
            Self::Text(values) => values,
            Self::Uuid(values) => values,
            Self::Time(values) => values,
        }
    }
}

/// The SQL name of a type.
pub fn sql_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "boolean",
        ColumnType::I64 => "bigint",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Time => "timestamptz",
    }
}

/// A row that was read, as values.
///
/// # Errors
/// The table's columns are not of these types.
pub fn values(columns: &[Column], row: &Row) -> Result<Vec<Value>, tokio_postgres::Error> {
    columns.iter().enumerate().map(|(index, column)| value(column.kind, row, index)).collect()
}

fn value(kind: ColumnType, row: &Row, index: usize) -> Result<Value, tokio_postgres::Error> {
    let value = match kind {
        ColumnType::Bool => row.try_get::<_, Option<bool>>(index)?.map(Value::Bool),
        ColumnType::I64 => row.try_get::<_, Option<i64>>(index)?.map(Value::I64),
        ColumnType::Text => row.try_get::<_, Option<String>>(index)?.map(Value::Text),
        ColumnType::Uuid => row.try_get::<_, Option<Uuid>>(index)?.map(Value::Uuid),
        ColumnType::Time => row.try_get::<_, Option<OffsetDateTime>>(index)?.map(Value::Time),
    };
    Ok(value.unwrap_or(Value::Null))
}
