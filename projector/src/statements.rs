//! The statements that depend on the views' columns, as text. Pure.

use std::fmt::Write as _;

use crate::columns::sql_type;
use crate::projection::ViewInfo;

/// The part of the commit that every projection has.
const COMMIT: &str = include_str!("../sql/projector/commit.sql");
/// Marks the place where the parts of the views go.
const VIEWS: &str = "/* views */";
/// Parameters that [`COMMIT`] has by itself.
const COMMIT_PARAMETERS: usize = 17;

/// Reads rows by key: `$1` is an array of keys. Index: the primary key.
pub fn by_key(view: &ViewInfo) -> String {
    matching(view, view.columns[0].name, None)
}

/// Reads at most `limit` rows by another column: `$1` is an array of its values. Index: one of the
/// view's own.
pub fn by_column(view: &ViewInfo, column: &str, limit: usize) -> String {
    matching(view, column, Some(limit))
}

fn matching(view: &ViewInfo, column: &str, limit: Option<usize>) -> String {
    let kind = view.columns.iter().find(|c| c.name == column).map_or("text", |c| sql_type(c.kind));
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    let (columns, table) = (names(view, ""), view.table());
    let wanted = format!(r#""{column}" = ANY ($1::{kind}[])"#);
    format!(r#"SELECT {columns} FROM headwater_read."{table}" WHERE {wanted}{limit}"#)
}

/// The statement that commits a batch. After the parameters that `sql/projector/commit.sql` names
/// come, for each view, one array a column of the rows to update, one array a column of the rows to
/// insert, and the keys to delete; of a view that can be watched, all these keys, and what
/// watchers have to know of each.
pub fn commit(views: &[ViewInfo]) -> String {
    let mut parameters = COMMIT_PARAMETERS;
    let parts: String =
        views.iter().enumerate().map(|(n, v)| changes(v, n, &mut parameters)).collect();
    COMMIT.replace(VIEWS, &parts)
}

/// Updates and inserts are apart although one `INSERT … ON CONFLICT` would do: the batch knows
/// which rows exist, and the lock that ON CONFLICT takes on each of them is a WAL record of its own
/// (measured: 128 instead of 180 bytes of WAL a row).
fn changes(view: &ViewInfo, number: usize, parameters: &mut usize) -> String {
    let table = format!(r#"headwater_read."{}""#, view.table());
    let key = view.columns[0].name;
    let columns = names(view, "");
    let mut sets = String::new();
    for (index, column) in view.columns.iter().enumerate().skip(1) {
        let comma = if index > 1 { ", " } else { "" };
        let _ = write!(sets, r#"{comma}"{0}" = n."{0}""#, column.name);
    }
    let updates = arrays(view, parameters);
    let inserts = arrays(view, parameters);
    *parameters += 1;
    let (deletes, kind) = (*parameters, sql_type(view.columns[0].kind));
    let log = match view.watched {
        true => changed(view, number, parameters),
        false => String::new(),
    };
    // A view of nothing but its key has nothing to update.
    let update = if sets.is_empty() { format!(r#""{key}" = n."{key}""#) } else { sets };
    format!(
        r#",
u{number} AS (UPDATE {table} t SET {update} FROM moved, unnest({updates}) n ({columns})
      WHERE t."{key}" = n."{key}"),
i{number} AS (INSERT INTO {table} ({columns})
      SELECT n.* FROM moved, unnest({inserts}) n ({columns})),
d{number} AS (DELETE FROM {table} t USING moved WHERE t."{key}" = ANY (${deletes}::{kind}[])){log}"#
    )
}

/// Inserts the changed keys, for watchers: one row a commit and view, none where nothing changed.
/// It has the revision on which the commit came, which does not change with it.
fn changed(view: &ViewInfo, number: usize, parameters: &mut usize) -> String {
    *parameters += 2;
    let name = view.name;
    let keys = *parameters - 1;
    let former = *parameters;
    format!(
        r#",
c{number} AS (INSERT INTO headwater_read.change (projection, applied, revision, view, positions, keys, former)
      SELECT moved.projection, moved.applied, moved.revision, '{name}', $5::bigint[], ${keys}::text[],
             ${former}::text[]
        FROM moved WHERE cardinality(${keys}::text[]) > 0)"#
    )
}

/// Keys of rows that changed after a place in the changes (`$3` events, `$4` revision), at most
/// `limit`. Index: change's primary key.
pub fn changed_since(view: &ViewInfo, limit: usize) -> String {
    let kind = sql_type(view.columns[0].kind);
    format!(
        "SELECT DISTINCT u.key::{kind} FROM headwater_read.change c, unnest(c.keys) u(key)
          WHERE c.projection = $1 AND c.view = $2 AND (c.applied, c.revision) > ($3, $4) LIMIT {limit}"
    )
}

/// Deletes rows by key: `$1` is an array of keys. Index: the primary key.
pub fn delete(view: &ViewInfo) -> String {
    let (table, key) = (view.table(), view.columns[0]);
    let kind = sql_type(key.kind);
    format!(r#"DELETE FROM headwater_read."{table}" WHERE "{}" = ANY ($1::{kind}[])"#, key.name)
}

/// Inserts rows: an array a column.
pub fn insert(view: &ViewInfo) -> String {
    let (table, columns) = (view.table(), names(view, ""));
    let arrays = arrays(view, &mut 0);
    format!(
        r#"INSERT INTO headwater_read."{table}" ({columns}) SELECT n.* FROM unnest({arrays}) n ({columns})"#
    )
}

fn names(view: &ViewInfo, prefix: &str) -> String {
    let name = |c: &headwater_kernel::row::Column| format!(r#"{prefix}"{}""#, c.name);
    view.columns.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn arrays(view: &ViewInfo, parameters: &mut usize) -> String {
    let mut array = |c: &headwater_kernel::row::Column| {
        *parameters += 1;
        format!("${}::{}[]", parameters, sql_type(c.kind))
    };
    view.columns.iter().map(&mut array).collect::<Vec<_>>().join(", ")
}
