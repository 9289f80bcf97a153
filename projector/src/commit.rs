//! The parameters of the statement that commits a batch, in the order of
//! `sql/projector/commit.sql`.

use headwater_kernel::ViewError;
use postgres_types::ToSql;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::columns::Array;
use crate::projection::checkpoint::Checkpoint;
use crate::projection::parked::Parked;
use crate::projection::plan::Folded;
use crate::projection::{Changes, Projection, ViewInfo};
use crate::stored::Stored;

/// Everything one commit sends.
pub(super) struct Commit {
    projection: &'static str,
    before: Stored,
    revision: i64,
    after: Stored,
    as_of: OffsetDateTime,
    parked: ParkedColumns,
    arrays: Vec<Array>,
}

impl Commit {
    pub fn of(
        projection: &Projection,
        before: &Checkpoint,
        after: &Checkpoint,
        folded: Folded,
    ) -> Result<Self, ViewError> {
        let mut arrays = Vec::new();
        for (view, changes) in projection.views().iter().zip(folded.changes) {
            push_changes(view, changes, &mut arrays)?;
        }
        Ok(Self {
            projection: projection.name(),
            before: Stored::of(before),
            revision: before.revision,
            after: Stored::of(after),
            as_of: after.as_of,
            parked: ParkedColumns::of(folded.parked),
            arrays,
        })
    }

    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &self.projection,
            &self.before.positions,
            &self.before.digests,
            &self.revision,
            &self.after.positions,
            &self.after.digests,
            &self.as_of,
        ];
        self.parked.push_to(&mut parameters);
        parameters.extend(self.arrays.iter().map(Array::parameter));
        parameters
    }
}

fn push_changes(
    view: &ViewInfo,
    changes: Changes,
    arrays: &mut Vec<Array>,
) -> Result<(), ViewError> {
    arrays.extend(Array::of_rows(view.columns, changes.updates)?);
    arrays.extend(Array::of_rows(view.columns, changes.inserts)?);
    arrays.push(Array::of(view.columns[0].kind, changes.deletes.into_iter())?);
    if view.watched {
        let (keys, former) = changes.log.into_iter().map(|c| (Some(c.key), c.former)).unzip();
        arrays.extend([Array::Text(keys), Array::Text(former)]);
    }
    Ok(())
}

#[derive(Default)]
struct ParkedColumns {
    view: Vec<&'static str>,
    row_key: Vec<String>,
    error: Vec<String>,
    partition: Vec<i32>,
    position: Vec<i64>,
    stream: Vec<Uuid>,
    version: Vec<i64>,
    recorded_at: Vec<OffsetDateTime>,
    type_name: Vec<String>,
    schema_version: Vec<i32>,
    payload: Vec<Vec<u8>>,
    command_id: Vec<Uuid>,
    caller: Vec<Option<String>>,
}

impl ParkedColumns {
    fn of(parked: Vec<Parked>) -> Self {
        let mut columns = Self::default();
        for Parked { view, row_key, event, error } in parked {
            columns.view.push(view);
            columns.row_key.push(row_key);
            // Postgres has no text with a zero byte; a broken payload may have put one into the
            // error.
            columns.error.push(error.replace('\0', "\u{fffd}"));
            columns.partition.push(i32::from(event.partition.0));
            columns.position.push(event.position.0 as i64);
            columns.stream.push(event.stream.0);
            columns.version.push(event.version.0 as i64);
            columns.recorded_at.push(event.recorded_at);
            columns.type_name.push(event.type_name);
            columns.schema_version.push(i32::from(event.schema_version));
            columns.payload.push(event.payload);
            columns.command_id.push(event.command_id);
            columns.caller.push(event.caller);
        }
        columns
    }

    fn push_to<'a>(&'a self, parameters: &mut Vec<&'a (dyn ToSql + Sync)>) {
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
            &self.schema_version,
            &self.payload,
            &self.command_id,
            &self.caller,
        ]);
    }
}
