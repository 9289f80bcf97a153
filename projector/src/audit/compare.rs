//! Two sets of rows, both in the order of their keys, are compared row by row.

use std::cmp::Ordering;
use std::pin::Pin;

use futures_util::TryStreamExt as _;
use headwater_kernel::row::{ColumnType, Value};
use tokio_postgres::{Client, RowStream};

use super::draft::Draft;
use super::shown::Held;
use crate::columns::values;
use crate::projection::ViewInfo;
use crate::stop::{STEP_MAX, Stop};

/// Differences that are told one by one; the others are only counted.
pub const DIFFERENCES_MAX: usize = 10_000;

/// What a comparison came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that were not, since they wait behind parked events.
    pub held_back: u64,
    /// The rows that differ, the first [`DIFFERENCES_MAX`] of them.
    pub differences: Vec<Difference>,
    /// All rows that differ.
    pub different: u64,
}

/// A row that is not what the fold of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The view.
    pub view: &'static str,
    /// The row's key.
    pub key: Value,
    /// What is wrong with it.
    pub kind: DifferenceKind,
}

/// Way in which a row is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The view lacks it.
    Missing,
    /// The view has it, and should not.
    Extra,
    /// These columns hold something else than they should.
    Columns(Vec<&'static str>),
}

/// Compares views of a snapshot of a node with those of the draft.
pub(crate) async fn compare(
    node: &Client,
    draft: &Draft,
    views: impl IntoIterator<Item = &ViewInfo>,
    held: &Held,
) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::default();
    for view in views {
        let sql = rows_in_order(view);
        let mut found = Rows::of(node, &sql, view).await?;
        let mut expected = Rows::of(draft.client(), &draft.projection().sql(&sql), view).await?;
        loop {
            let order = match (&found.next, &expected.next) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(found), Some(expected)) => order(&found[0], &expected[0]),
            };
            let (found, expected) = match order {
                Ordering::Less => (found.take().await?, None),
                Ordering::Equal => (found.take().await?, expected.take().await?),
                Ordering::Greater => (None, expected.take().await?),
            };
            outcome.add(view, found, expected, held);
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn add(
        &mut self,
        view: &ViewInfo,
        found: Option<Vec<Value>>,
        expected: Option<Vec<Value>>,
        held: &Held,
    ) {
        let Some(key) = found.iter().chain(&expected).next().map(|row| row[0].clone()) else {
            return;
        };
        if !held.is_empty() && held.contains(&(view.name.to_owned(), key.to_string())) {
            self.held_back += 1;
            return;
        }
        self.rows += 1;
        let Some(kind) = difference(view, found.as_deref(), expected.as_deref()) else { return };
        self.different += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(Difference { view: view.name, key, kind });
        }
    }
}

/// What is wrong with a row, if anything is.
pub(super) fn difference(
    view: &ViewInfo,
    found: Option<&[Value]>,
    expected: Option<&[Value]>,
) -> Option<DifferenceKind> {
    match (found, expected) {
        (None, None) => None,
        (None, Some(_)) => Some(DifferenceKind::Missing),
        (Some(_), None) => Some(DifferenceKind::Extra),
        (Some(found), Some(expected)) => {
            let columns = view.columns.iter().zip(found.iter().zip(expected));
            let wrong = columns.filter(|(_, (found, expected))| found != expected);
            let wrong: Vec<_> = wrong.map(|(column, _)| column.name).collect();
            (!wrong.is_empty()).then_some(DifferenceKind::Columns(wrong))
        }
    }
}

/// All rows of a view. Texts in the order of their bytes, which is the same on every server.
fn rows_in_order(view: &ViewInfo) -> String {
    let columns: Vec<_> = view.columns.iter().map(|c| format!(r#""{}""#, c.name)).collect();
    let key = &columns[0];
    let collation = match view.columns[0].kind {
        ColumnType::Text => r#" COLLATE "C""#,
        _ => "",
    };
    let (columns, table) = (columns.join(", "), view.table());
    format!(r#"SELECT {columns} FROM headwater_read."{table}" ORDER BY {key}{collation}"#)
}

/// The order in which Postgres gives keys.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::I64(a), Value::I64(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        // Keys are never NULL, and of one type.
        _ => Ordering::Equal,
    }
}

/// Rows that are read as they are needed.
struct Rows<'v> {
    view: &'v ViewInfo,
    stream: Pin<Box<RowStream>>,
    next: Option<Vec<Value>>,
}

impl<'v> Rows<'v> {
    async fn of(client: &Client, sql: &str, view: &'v ViewInfo) -> Result<Self, Stop> {
        let none: [&str; 0] = [];
        let stream = client.query_raw(sql, none).await?;
        let mut rows = Self { view, stream: Box::pin(stream), next: None };
        rows.take().await?;
        Ok(rows)
    }

    /// The row that is next, after which the one behind it is.
    async fn take(&mut self) -> Result<Option<Vec<Value>>, Stop> {
        let row = tokio::time::timeout(STEP_MAX, self.stream.try_next()).await;
        let row = row.map_err(|_| Stop::Silent("reading rows"))??;
        let next = row.map(|row| values(self.view.columns, &row)).transpose()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}
