//! Statements that put tables of views in the place of others, as text. Pure.

use std::fmt::Write as _;

use crate::migrate::ddl;
use crate::projection::{Projection, ViewInfo};

/// A table as a schema has it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub view: String,
    pub version: u32,
    pub definition: String,
}

impl Registered {
    fn table(&self) -> String {
        format!("{}_v{}", self.view, self.version)
    }

    /// True if the view's table is made in the same way.
    pub fn is(&self, view: &ViewInfo) -> bool {
        self.view == view.name
            && self.version == view.version
            && self.definition == ddl::definition(view)
    }
}

/// Keeps everybody else from writing to the live tables.
pub(super) fn lock_writers(live: &[Registered]) -> String {
    let tables: Vec<_> =
        live.iter().map(|r| format!(r#"headwater_read."{}""#, r.table())).collect();
    match tables.is_empty() {
        true => String::new(),
        false => format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", ")),
    }
}

/// Keeps everybody else from reading them, by way of the views over them, too; first of all the
/// table that transactions of several statements lock before their snapshot. Whoever cannot have
/// all of it soon lets go, before Postgres takes it for a deadlock: so no query is ended.
pub(super) fn lock_readers(live: &[Registered]) -> String {
    let mut sql =
        "SET LOCAL lock_timeout = '400ms'; LOCK TABLE headwater_read.view_version".to_owned();
    for registered in live {
        let (view, table) = (&registered.view, registered.table());
        let _ = write!(sql, r#", headwater_read."{view}", headwater_read."{table}""#);
    }
    sql + " IN ACCESS EXCLUSIVE MODE"
}

/// Removes tables.
pub(super) fn drop_all(tables: &[Registered], schema: &Projection) -> String {
    let drop = |r: &Registered| format!(r#"DROP TABLE headwater_read."{}";"#, r.table());
    schema.sql(&tables.iter().map(drop).collect::<String>()).into_owned()
}

/// Moves tables from one schema to another, with their indexes.
pub(super) fn move_all(tables: &[Registered], source: &Projection, target: &Projection) -> String {
    let (from, to) = (source.schema(), target.schema());
    let moved = |r: &Registered| format!(r#"ALTER TABLE {from}."{}" SET SCHEMA {to};"#, r.table());
    tables.iter().map(moved).collect()
}

/// A statement on two schemas.
pub(super) fn between(sql: &str, source: &Projection, target: &Projection) -> String {
    sql.replace("headwater_source", source.schema()).replace("headwater_target", target.schema())
}

/// What queries read is now the tables of the program's views; `before` are those of until now. A
/// view whose columns stay stays itself, and so does what others have made of it.
pub(super) fn publish(before: &[Registered], views: &[ViewInfo]) -> String {
    let mut sql = String::new();
    for registered in before {
        if !views
            .iter()
            .any(|v| v.name == registered.view && registered.definition == ddl::definition(v))
        {
            let _ = writeln!(sql, r#"DROP VIEW headwater_read."{}";"#, registered.view);
        }
    }
    for view in views {
        let _ =
            writeln!(sql, "{}\n{};", ddl::live_view(view), ddl::grants(view).trim_end_matches(';'));
    }
    sql
}
