//! A view as it is served, and its statements: made once for each view of a process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use headwater_edge::Entity;
use headwater_kernel::row::{ColumnValue as _, Row as _};
use headwater_kernel::{List, View};
use uuid::Uuid;

use super::sql;
use crate::nodes::{ColumnError, Columns, Statement};
use crate::watch::{Source, found_change};

/// How the rows of a view are shown to clients.
pub trait ServedView: Send + Sync + 'static {
    /// What the messages call one of them, such as `store`.
    const NAME: &'static str;
    /// The projection that keeps the view.
    const PROJECTION: &'static str;
    /// The view, whose rows these are; its key is a UUID.
    type View: View;
    /// The message of a row.
    type Message: Entity + Sync + 'static;

    /// The message of a row.
    fn message(row: Self::View) -> Self::Message;
}

/// A statement that gives messages by their keys.
pub(super) type ByKey<S> = Statement<(Uuid, <S as ServedView>::Message)>;

/// All statements of a view.
pub(super) struct Statements<S: ServedView> {
    pub by_key: &'static ByKey<S>,
    pub source: &'static Source<S::Message>,
    pub pages: Vec<Page<S>>,
}

/// A list with one combination of filters.
pub(super) struct Page<S: ServedView> {
    pub list: &'static List,
    pub filter: &'static [&'static str],
    pub statement: Statement<(Uuid, S::View)>,
}

impl<S: ServedView> Statements<S> {
    /// Those of this view; made at the first call, and kept for the life of the process.
    pub fn shared() -> &'static Self {
        static MADE: Mutex<Option<HashMap<TypeId, &'static (dyn Any + Send + Sync)>>> =
            Mutex::new(None);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default();
        let any =
            *made.entry(TypeId::of::<S>()).or_insert_with(|| Box::leak(Box::new(Self::new())));
        // The entry of this type is of this type.
        any.downcast_ref().unwrap_or_else(|| Box::leak(Box::new(Self::new())))
    }

    fn new() -> Self {
        let view = S::View::NAME;
        let by_key: &'static ByKey<S> = Box::leak(Box::new(Statement {
            name: leaked(format!("{view}_by_key")),
            projection: S::PROJECTION,
            sql: leaked(sql::by_key::<S::View>()),
            decode: keyed_message::<S>,
        }));
        let changed = Box::leak(Box::new(Statement {
            name: leaked(format!("{view}_changed")),
            projection: S::PROJECTION,
            sql: leaked(sql::changed::<S::View>()),
            decode: |columns| found_change(columns, keyed_message::<S>),
        }));
        let source = Box::leak(Box::new(Source { view, changed, by_id: by_key }));
        let mut pages = Vec::new();
        for list in S::View::LISTS {
            pages.extend(list.filters.iter().map(|filter| Page {
                list,
                filter,
                statement: Statement {
                    name: leaked(sql::page_name::<S::View>(list, filter)),
                    projection: S::PROJECTION,
                    sql: leaked(sql::page::<S::View>(list, filter)),
                    decode: keyed_row::<S>,
                },
            }));
        }
        Self { by_key, source, pages }
    }
}

/// The statement that gives messages by their keys, an array of UUIDs, for queries of several
/// statements.
pub fn by_key<S: ServedView>() -> &'static Statement<(Uuid, S::Message)> {
    Statements::<S>::shared().by_key
}

/// Names and texts of the statements that a view is served by, in order: for snapshots and for
/// tests of their plans.
pub fn statements<S: ServedView>() -> Vec<(&'static str, &'static str)> {
    let made = Statements::<S>::shared();
    let mut all = vec![(made.by_key.name, made.by_key.sql)];
    if S::View::WATCHED {
        all.push((made.source.changed.name, made.source.changed.sql));
    }
    all.extend(made.pages.iter().map(|page| (page.statement.name, page.statement.sql)));
    all
}

/// For what is made once a view and process.
fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn keyed_row<S: ServedView>(columns: &mut Columns<'_>) -> Result<(Uuid, S::View), ColumnError> {
    let row = S::View::read(columns)?;
    let key = Uuid::from_value(row.key());
    let key = key.ok_or_else(|| ColumnError::Value("a key that is no UUID".to_owned()))?;
    Ok((key, row))
}

fn keyed_message<S: ServedView>(
    columns: &mut Columns<'_>,
) -> Result<(Uuid, S::Message), ColumnError> {
    keyed_row::<S>(columns).map(|(key, row)| (key, S::message(row)))
}
