//! Projections: groups of views that are updated together. Pure: no I/O, no clock.

pub mod checkpoint;
mod gate;
pub mod loaded;
pub mod parked;
pub mod piece;
pub mod plan;
pub mod refold;
mod workset;

#[cfg(test)]
#[path = "../tests/counters/mod.rs"]
pub(crate) mod counters;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use headwater_kernel::row::{Column, Value};
use headwater_kernel::view::{filter_columns, indexes};
use headwater_kernel::{EventSet, View, ViewError};

use loaded::Loaded;
use piece::Piece;
use plan::{Member, Plan};
use refold::{Refold, Target};
use workset::Workset;
pub use workset::{Change, Changes, key_of};

/// Schema of what queries read. The name in every statement's text.
const SCHEMA: &str = "headwater_read";
/// Schema of a draft: the same tables, folded anew beside the live ones.
const DRAFT: &str = "headwater_draft";
/// Schema of the tables that a rebuild has replaced.
const KEPT: &str = "headwater_kept";

/// A group of views with one checkpoint.
#[derive(Clone)]
pub struct Projection {
    name: &'static str,
    schema: &'static str,
    views: Arc<[ViewInfo]>,
    knows: fn(&str) -> bool,
    members: Arc<[Blank]>,
}

/// By view, rows by their keys; `None` is a row that is not to be there.
pub type Wanted = Vec<Vec<(Value, Option<Vec<Value>>)>>;

/// What the database has to know of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewInfo {
    /// The name that queries read it by, in the schema `headwater_read`.
    pub name: &'static str,
    /// Version of its columns and of its fold.
    pub version: u32,
    /// The columns, the key first.
    pub columns: &'static [Column],
    /// All its indexes, as [`View::INDEXES`] writes them.
    pub indexes: Vec<String>,
    /// As in [`View::WATCHED`].
    pub watched: bool,
}

impl ViewInfo {
    /// The name of the table of this version.
    pub fn table(&self) -> String {
        format!("{}_v{}", self.name, self.version)
    }
}

impl Projection {
    /// Begins a projection. `E` holds every event that the domain has, whether a view reads it or
    /// not: one of another type was recorded by a newer program, and must not be passed over.
    pub fn of<E: EventSet>(name: &'static str) -> Builder {
        Builder { name, knows: E::knows, views: Vec::new(), members: Vec::new() }
    }

    /// The name, such as `retail`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The same projection, folded into a schema of its own that no query reads and nobody watches.
    #[must_use]
    pub fn drafted(&self) -> Self {
        self.unseen_in(DRAFT)
    }

    /// The same projection, in the schema of the tables that a rebuild has replaced.
    #[must_use]
    pub fn kept(&self) -> Self {
        self.unseen_in(KEPT)
    }

    fn unseen_in(&self, schema: &'static str) -> Self {
        let unwatched = |view: &ViewInfo| ViewInfo { watched: false, ..view.clone() };
        let views = self.views.iter().map(unwatched).collect();
        Self { schema, views, ..self.clone() }
    }

    /// The schema that it is in.
    pub(crate) fn schema(&self) -> &'static str {
        self.schema
    }

    /// A statement on the schema that the projection is in.
    pub fn sql<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.schema {
            SCHEMA => Cow::Borrowed(text),
            other => Cow::Owned(text.replace(SCHEMA, other)),
        }
    }

    /// The views, in the order in which they are folded.
    pub fn views(&self) -> &[ViewInfo] {
        &self.views
    }

    /// Begins a batch, or a part of one.
    pub fn plan(&self, piece: Piece) -> Box<dyn Plan> {
        plan::plan(self.worksets(), piece, self.knows)
    }

    /// What turns the stored rows into those that were folded anew, by view.
    ///
    /// # Errors
    /// A row does not fit its view.
    pub fn difference(&self, stored: Loaded, refold: &Refold) -> Result<Vec<Changes>, ViewError> {
        let row = |(key, target): (&Value, &Target)| (key.clone(), target.row.clone());
        let wanted = refold.targets().iter().map(|targets| targets.iter().map(row).collect());
        self.changes(stored, wanted.collect())
    }

    /// What turns the stored rows into the wanted ones, by view.
    ///
    /// # Errors
    /// A row does not fit its view.
    pub fn changes(&self, stored: Loaded, wanted: Wanted) -> Result<Vec<Changes>, ViewError> {
        let mut changes = Vec::new();
        for ((member, stored), wanted) in self.worksets().into_iter().zip(stored).zip(wanted) {
            let mut rows = member.rows;
            stored.into_iter().try_for_each(|row| rows.load(row))?;
            wanted.into_iter().try_for_each(|(key, row)| rows.put(key, row))?;
            changes.push(rows.changes());
        }
        Ok(changes)
    }

    fn worksets(&self) -> Vec<Member> {
        let member = |blank: &Blank| Member {
            name: blank.name,
            referenced: blank.referenced,
            rows: (blank.rows)(),
        };
        self.members.iter().map(member).collect()
    }
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, schema, views, knows: _, members: _ } = self;
        let mut debug = f.debug_struct("Projection");
        debug.field("name", name).field("schema", schema).field("views", views).finish()
    }
}

/// A projection that is being put together.
pub struct Builder {
    name: &'static str,
    knows: fn(&str) -> bool,
    views: Vec<ViewInfo>,
    members: Vec<Blank>,
}

/// A view of a projection, to make worksets of.
struct Blank {
    name: &'static str,
    referenced: Option<usize>,
    rows: fn() -> Box<dyn Workset>,
}

impl Builder {
    /// Adds a view.
    ///
    /// # Panics
    /// If it references a view that does not stand before it, one of its name is there already, or
    /// a list of it names a column that it does not have.
    #[must_use]
    pub fn view<V: View>(mut self) -> Self {
        assert!(self.index(V::NAME).is_none(), "two views named {}", V::NAME);
        let referenced = V::REFERENCED.map(|name| {
            self.index(name).unwrap_or_else(|| panic!("{} must come after {name}", V::NAME))
        });
        let orders = V::LISTS.iter().map(|list| list.order);
        for name in filter_columns::<V>().into_iter().chain(orders) {
            let has = V::COLUMNS.iter().any(|column| column.name == name);
            assert!(has, "{} has no column {name} for its lists", V::NAME);
        }
        self.members.push(Blank { name: V::NAME, referenced, rows: workset::of::<V> });
        self.views.push(ViewInfo {
            name: V::NAME,
            version: V::VERSION,
            columns: V::COLUMNS,
            indexes: indexes::<V>(),
            watched: V::WATCHED,
        });
        self
    }

    /// The projection.
    pub fn build(self) -> Projection {
        let Self { name, knows, views, members } = self;
        Projection { name, schema: SCHEMA, views: views.into(), knows, members: members.into() }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }
}
