//! Statements that create the table of a view, as text. Pure.

use std::fmt::Write as _;

use headwater_kernel::row::{Column, ColumnType};

use crate::projection::ViewInfo;

/// Relations of `sql/schema.sql`, whose names a view cannot have.
const RESERVED: &[&str] =
    &["schema_version", "view_version", "checkpoint", "parked", "change", "epoch_start", "dropped"];

/// Free space left in pages, so that a row can be updated on its page and without touching the
/// indexes (HOT).
const FILLFACTOR: u32 = 80;

/// Reason that a view cannot have this name, if there is one: names go into SQL as they are, and
/// with suffixes must stay within Postgres's 63 bytes.
pub fn unfit(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Some("it must be of lower-case letters, digits and _");
    }
    if name.len() > 40 {
        return Some("it must have at most 40 characters");
    }
    RESERVED.contains(&name).then_some("it is taken by the platform")
}

/// The columns, one a line: what a table is made of, and what it is compared by.
pub fn definition(view: &ViewInfo) -> String {
    let lines = view.columns.iter().enumerate().map(|(index, column)| column_line(index, column));
    lines.collect::<Vec<_>>().join(",\n")
}

fn column_line(index: usize, column: &Column) -> String {
    let kind = match column.kind {
        ColumnType::Bool => "boolean",
        ColumnType::I64 => "bigint",
        ColumnType::Text => "text",
        ColumnType::Uuid => "uuid",
        ColumnType::Time => "timestamptz",
    };
    let rule = match (index, column.nullable) {
        (0, _) => " PRIMARY KEY",
        (_, false) => " NOT NULL",
        (_, true) => "",
    };
    format!(r#"    "{}" {kind}{rule}"#, column.name)
}

/// Creates the table.
pub fn table(view: &ViewInfo) -> String {
    format!(
        "CREATE TABLE headwater_read.\"{}\" (\n{}\n) WITH (fillfactor = {FILLFACTOR});",
        view.table(),
        definition(view)
    )
}

/// Creates those of the view's indexes that are not there.
pub fn indexes(view: &ViewInfo) -> String {
    let mut sql = String::new();
    for index in &view.indexes {
        let (name, table) = (index_name(view, index), view.table());
        let _ = writeln!(
            sql,
            r#"CREATE INDEX IF NOT EXISTS "{name}" ON headwater_read."{table}" {index};"#
        );
    }
    sql
}

/// Named after what it is, so that the same index has the same name in every database and in every
/// order.
fn index_name(view: &ViewInfo, index: &str) -> String {
    let hash = index.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{}_{:08x}", view.table(), (hash ^ (hash >> 32)) as u32)
}

/// Makes this version the one that queries read.
pub fn live_view(view: &ViewInfo) -> String {
    let columns: Vec<_> = view.columns.iter().map(|c| format!(r#""{}""#, c.name)).collect();
    format!(
        r#"CREATE OR REPLACE VIEW headwater_read."{}" AS SELECT {} FROM headwater_read."{}";"#,
        view.name,
        columns.join(", "),
        view.table()
    )
}

/// Empties the table.
pub fn truncate(view: &ViewInfo) -> String {
    format!(r#"TRUNCATE headwater_read."{}";"#, view.table())
}

/// Least rights on the table and on the view over it.
pub fn grants(view: &ViewInfo) -> String {
    let (name, table) = (view.name, view.table());
    format!(
        r#"GRANT SELECT ON headwater_read."{name}", headwater_read."{table}"
   TO headwater_query, headwater_projector;
GRANT INSERT, UPDATE, DELETE ON headwater_read."{table}" TO headwater_projector;"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> ViewInfo {
        ViewInfo {
            name: "item",
            version: 3,
            columns: &[
                Column { name: "id", kind: ColumnType::Uuid, nullable: false },
                Column { name: "name", kind: ColumnType::Text, nullable: true },
                Column { name: "price", kind: ColumnType::I64, nullable: false },
            ],
            indexes: ["(price)", "(name) WHERE price > 0"].map(str::to_owned).to_vec(),
            watched: false,
        }
    }

    #[test]
    fn what_is_created_never_changes() {
        // Frozen: databases were made by it, and are compared with it.
        let expected = r#"CREATE TABLE headwater_read."item_v3" (
    "id" uuid PRIMARY KEY,
    "name" text,
    "price" bigint NOT NULL
) WITH (fillfactor = 80);"#;
        assert_eq!(table(&view()), expected);
        let table = r#"ON headwater_read."item_v3""#;
        let expected = format!(
            r#"CREATE INDEX IF NOT EXISTS "item_v3_290efd4c" {table} (price);
CREATE INDEX IF NOT EXISTS "item_v3_850c8429" {table} (name) WHERE price > 0;
"#
        );
        assert_eq!(indexes(&view()), expected);
    }

    #[test]
    fn names_that_cannot_be_tables_are_refused() {
        for good in ["item", "store_overview", "user", "a1"] {
            assert!(unfit(good).is_none(), "{good}");
        }
        let long = "a_name_that_is_much_too_long_to_be_a_table";
        for bad in [
            "",
            "Item",
            "1a",
            "_a",
            "a-b",
            "a\"b",
            "parked",
            "dropped",
            "checkpoint",
            "epoch_start",
            long,
        ] {
            assert!(unfit(bad).is_some(), "{bad}");
        }
    }
}
