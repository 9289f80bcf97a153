//! Rows are made what the fold of the log says, under the checkpoint's lock.

use std::collections::HashMap;

use headwater_kernel::row::Value;
use tokio_postgres::Client;

use super::compare::Difference;
use super::draft::Draft;
use super::shown::{Held, held, shown};
use crate::columns::{Array, values};
use crate::parked;
use crate::primary::ReadDatabase;
use crate::projection::{Changes, Projection, ViewInfo};
use crate::statements;
use crate::stop::{Stop, within};

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows that were written or deleted.
    pub rows: usize,
}

/// In a transaction that is dropped with the connection if anything fails.
pub(super) async fn repair(
    primary: ReadDatabase,
    draft: &mut Draft,
    projection: &Projection,
    differences: &[Difference],
) -> Result<Repaired, Stop> {
    within("beginning a transaction", primary.batch_execute("BEGIN")).await?;
    parked::lock(&primary, projection.name()).await?;
    // Nothing moves from here on: the draft comes to the very same place.
    draft.advance(&shown(&primary, projection).await?, |_, _| {}).await?;
    let mut untouched = held(&primary, projection).await?;
    untouched.extend(held(draft.client(), draft.projection()).await?);
    let mut stored = Vec::new();
    let mut wanted = Vec::new();
    for view in projection.views() {
        let keys = wrong_keys(differences, view, &untouched);
        let sql = statements::by_key(view);
        stored.push(rows(&primary, &sql, view, &keys).await?);
        let folded = rows(draft.client(), &draft.projection().sql(&sql), view, &keys).await?;
        let mut folded: HashMap<Value, Vec<Value>> =
            folded.into_iter().map(|row| (row[0].clone(), row)).collect();
        let row = |key: Value| (key.clone(), folded.remove(&key));
        wanted.push(keys.into_iter().map(row).collect());
    }
    let changes = projection.changes(stored, wanted)?;
    let repaired = Repaired { rows: changes.iter().map(Changes::rows).sum() };
    if repaired.rows > 0 {
        // At least once, also if nobody can watch what changed.
        parked::revise(&primary, projection.name(), "", (Vec::new(), Vec::new())).await?;
        parked::rewrite(&primary, projection, changes).await?;
    }
    within("committing the repair", primary.batch_execute("COMMIT")).await?;
    Ok(repaired)
}

fn wrong_keys(differences: &[Difference], view: &ViewInfo, untouched: &Held) -> Vec<Value> {
    let is_ours = |difference: &&Difference| {
        let place = (difference.view.to_owned(), difference.key.to_string());
        difference.view == view.name && !untouched.contains(&place)
    };
    differences.iter().filter(is_ours).map(|difference| difference.key.clone()).collect()
}

pub(crate) async fn rows(
    client: &Client,
    sql: &str,
    view: &ViewInfo,
    keys: &[Value],
) -> Result<Vec<Vec<Value>>, Stop> {
    let keys = Array::of(view.columns[0].kind, keys.iter().cloned())?;
    let rows = within("reading rows", client.query(sql, &[keys.parameter()])).await?;
    rows.iter().map(|row| values(view.columns, row).map_err(Stop::from)).collect()
}
