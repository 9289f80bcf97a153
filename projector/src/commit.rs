//! The parameters of the statement that commits a batch, in the order of
//! `sql/projector/commit.sql`.

use headwater_kernel::ViewError;
use postgres_types::ToSql;
use time::OffsetDateTime;

use crate::columns::Array;
use crate::parked_columns::ParkedColumns;
use crate::projection::checkpoint::Checkpoint;
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
            parked: ParkedColumns::of(&folded.parked),
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
