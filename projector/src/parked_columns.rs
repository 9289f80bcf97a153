//! Parked events as the columns of `headwater_read.parked`: one array a column.

use postgres_types::ToSql;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::projection::parked::Parked;

/// The columns, in the order in which `sql/projector/commit.sql` and `sql/projector/parked_add.sql`
/// name them.
#[derive(Default)]
pub(super) struct ParkedColumns {
    view: Vec<&'static str>,
    row_key: Vec<String>,
    error: Vec<String>,
    partition: Vec<i32>,
    position: Vec<i64>,
    stream: Vec<Uuid>,
    version: Vec<i64>,
    recorded_at: Vec<OffsetDateTime>,
    type_name: Vec<String>,
    /// One position a partition, one event after the other.
    folded: Vec<i64>,
}

impl ParkedColumns {
    pub fn of<'p>(all: impl IntoIterator<Item = &'p Parked>) -> Self {
        let mut columns = Self::default();
        for Parked { view, row_key, event, error, folded } in all {
            columns.view.push(view);
            columns.row_key.push(row_key.clone());
            // Postgres has no text with a zero byte; a broken payload may have put one into the
            // error.
            columns.error.push(error.replace('\0', "\u{fffd}"));
            columns.partition.push(i32::from(event.partition.0));
            columns.position.push(event.position.0 as i64);
            columns.stream.push(event.stream.0);
            columns.version.push(event.version.0 as i64);
            columns.recorded_at.push(event.recorded_at);
            columns.type_name.push(event.type_name.clone());
            columns.folded.extend(folded.iter().map(|position| position.0 as i64));
        }
        columns
    }

    pub fn push_to<'a>(&'a self, parameters: &mut Vec<&'a (dyn ToSql + Sync)>) {
        parameters.extend([
            &self.view as &(dyn ToSql + Sync),
            &self.row_key,
            &self.error,
            &self.partition,
            &self.position,
            &self.stream,
            &self.version,
            &self.recorded_at,
            &self.type_name,
            &self.folded,
        ]);
    }
}
