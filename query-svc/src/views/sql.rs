//! The statements on a view, as text. Pure; each text is what a person would write, and kept beside
//! the domain's code as a snapshot that is reviewed.

use headwater_kernel::row::{Column, ColumnType};
use headwater_kernel::view::filter_columns;
use headwater_kernel::{List, View};

const HEAD: &str =
    "SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision,";
const SNAPSHOT: &str = "-- lock: none; one statement, hence one snapshot for rows and checkpoint";

/// Rows by their keys: `$2` is an array of them.
pub fn by_key<V: View>() -> String {
    let (view, key) = (table::<V>(), key::<V>());
    format!(
        r#"-- Rows of the view {name} by their keys.
{SNAPSHOT}
-- index: ({key})
-- invariant: the checkpoint comes even when no row does, so that a miss is dated too
{HEAD}
       {columns}
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.{view} AS r ON r.{key} = ANY ($2)
WHERE c.projection = $1
"#,
        name = V::NAME,
        columns = columns::<V>(),
    )
}

/// Rows that changed after a place in the changes (`$2` events, `$3` revision, `$4` key), at most
/// `$5`, each at its last change.
pub fn changed<V: View>() -> String {
    let (view, key) = (table::<V>(), key::<V>());
    let name = V::NAME;
    format!(
        r#"-- Rows of the view {name} that changed after the place ($2, $3, $4), at most $5, each at its last change;
-- with each, whether all changes after the place are kept.
-- lock: none; one statement, hence one snapshot for changes, rows and checkpoint
-- index: ({key})
-- invariant: a row shows the state that the change beside it led to, since it has not changed again; the changes are
-- read by (projection, applied, revision, view)
{HEAD}
       (headwater_read.applied(c.watched_from), c.watched_revision) < ($2, $3),
       ch.key::uuid, ch.applied, ch.revision, ch.former, {watched},
       {columns}
FROM headwater_read.checkpoint AS c
LEFT JOIN headwater_read.changed($1, '{name}', $2, $3, $4, $5) AS ch ON true
LEFT JOIN headwater_read.{view} AS r ON r.{key} = ch.key::uuid
WHERE c.projection = $1
ORDER BY ch.applied, ch.revision, ch.key COLLATE "C"
"#,
        watched = watched::<V>(),
        columns = columns::<V>(),
    )
}

/// A page of a list: rows after the order value `$2` and the key `$3`, at most `$4`; the values of
/// the filters follow.
pub fn page<V: View>(list: &List, filter: &[&str]) -> String {
    let (view, key) = (table::<V>(), key::<V>());
    let order = list.order;
    let direction = if list.descending { " DESC" } else { "" };
    let filters = filter.iter().zip(5..).map(|(column, n)| format!("r.{column} = ${n} AND "));
    let only = list.only.map(|column| format!("r.{column} AND ")).unwrap_or_default();
    let wanted = only + &filters.collect::<String>();
    let (after, why) = match list.descending {
        false => (
            format!("(r.{order}, r.{key}) > ($2, $3)"),
            format!(
                "({order}, {key}) is unique and the order of the index, so a page begins exactly\n\
                 -- where the last one ended"
            ),
        ),
        true => (
            format!("r.{order} <= $2 AND (r.{order} < $2 OR r.{key} > $3)"),
            format!(
                "({order}, {key}) is unique and the order of the index. The first condition on\n\
                 -- {order} bounds the scan: a row comparison cannot, since the two columns run in\n\
                 -- opposite directions"
            ),
        ),
    };
    let by = filter.join(" and ");
    let by = if by.is_empty() { "all rows".to_owned() } else { format!("the rows of one {by}") };
    format!(
        r#"-- A page of {by} of the view {name}, by {order}{direction} and key.
{SNAPSHOT}
-- index: {index}
-- invariant: {why}
{HEAD}
       {columns}
FROM headwater_read.checkpoint AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM headwater_read.{view} AS r
    WHERE {wanted}{after}
    ORDER BY r.{order}{direction}, r.{key}
    LIMIT $4
) AS r ON true
WHERE c.projection = $1
ORDER BY r.{order}{direction}, r.{key}
"#,
        name = V::NAME,
        index = list.index(filter, key),
        columns = columns::<V>(),
    )
}

/// The name of a page's statement, such as `store_by_name_of_city_and_status`.
pub fn page_name<V: View>(list: &List, filter: &[&str]) -> String {
    match filter {
        [] => format!("{}_by_{}", V::NAME, list.order),
        filter => format!("{}_by_{}_of_{}", V::NAME, list.order, filter.join("_and_")),
    }
}

/// The relation, quoted where its name is a word of SQL.
fn table<V: View>() -> String {
    format!("\"{}\"", V::NAME)
}

fn key<V: View>() -> &'static str {
    V::COLUMNS[0].name
}

/// All columns, in lines of at most 90 characters.
fn columns<V: View>() -> String {
    let mut text = String::new();
    let mut width = 0;
    for (index, column) in V::COLUMNS.iter().enumerate() {
        let comma = if index + 1 < V::COLUMNS.len() { "," } else { "" };
        let name = format!("r.{}{comma}", column.name);
        if width > 0 && width + name.len() > 80 {
            text.push_str("\n       ");
            width = 0;
        } else if width > 0 {
            text.push(' ');
        }
        width += name.len() + 1;
        text.push_str(&name);
    }
    text
}

/// What the columns hold that lists are filtered by, as texts.
fn watched<V: View>() -> String {
    let text = |name: &&str| {
        let column: Option<&Column> = V::COLUMNS.iter().find(|column| column.name == *name);
        match column.map(|column| column.kind) {
            Some(ColumnType::Text) => format!("r.{name}"),
            _ => format!("r.{name}::text"),
        }
    };
    let columns: Vec<String> = filter_columns::<V>().iter().map(text).collect();
    match columns.is_empty() {
        true => "'{}'::text[]".to_owned(),
        false => format!("ARRAY[{}]", columns.join(", ")),
    }
}
