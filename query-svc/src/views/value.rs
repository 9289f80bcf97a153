//! Between the kernel's values and the driver's.

use std::error::Error;

use bytes::BytesMut;
use headwater_kernel::row::{ColumnSource, Value};
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::nodes::{ColumnError, Columns};

/// A value as a statement's parameter.
#[derive(Debug)]
pub struct Parameter(pub Value);

impl ToSql for Parameter {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Bool(value) => value.to_sql_checked(kind, out),
            Value::I64(value) => value.to_sql_checked(kind, out),
            Value::Text(value) => value.to_sql_checked(kind, out),
            Value::Uuid(value) => value.to_sql_checked(kind, out),
            Value::Time(value) => value.to_sql_checked(kind, out),
        }
    }

    /// Each value checks its own type when it is written.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ColumnSource for Columns<'_> {
    type Error = ColumnError;

    fn bool(&mut self) -> Result<Option<bool>, ColumnError> {
        self.take()
    }

    fn i64(&mut self) -> Result<Option<i64>, ColumnError> {
        self.take()
    }

    fn text(&mut self) -> Result<Option<String>, ColumnError> {
        self.take()
    }

    fn uuid(&mut self) -> Result<Option<Uuid>, ColumnError> {
        self.take()
    }

    fn time(&mut self) -> Result<Option<OffsetDateTime>, ColumnError> {
        self.take()
    }

    fn unexpected_null(&self) -> ColumnError {
        ColumnError::Value("NULL".to_owned())
    }
}
