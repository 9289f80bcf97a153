//! What a domain implements on the read side.

use thiserror::Error;
use time::OffsetDateTime;

use crate::envelope::EventSet;
use crate::ids::{Partition, Position, StreamId, StreamVersion};
use crate::row::{Row, Value};

/// A table of denormalised rows, folded from the log; the type of its rows is the view.
///
/// Order is defined within a partition only: whatever the interleaving of partitions, the fold must
/// come to the same rows. Facts of an aggregate that lives in another partition therefore arrive by
/// two ways (see [`Touch::Where`] and [`View::references`]), and the row is right by whichever
/// comes last.
pub trait View: Row {
    /// Name of the table queries read, such as `store`.
    const NAME: &'static str;
    /// Raised whenever columns or the fold change: the table is then built anew beside the old one.
    const VERSION: u32 = 1;
    /// The lists of it that queries page through. Their indexes, statements and filters follow from
    /// this.
    const LISTS: &'static [List] = &[];
    /// Indexes beside those of the lists: each the part of `CREATE INDEX … ON <table>` that follows
    /// the table, such as `(email)` or `USING gin (to_tsvector('simple', name))`.
    const INDEXES: &'static [&'static str] = &[];
    /// True if rows and lists of it can be watched; otherwise its changes are not kept. Another
    /// value, or other filters of its lists, take another [`View::VERSION`]: the changes from
    /// before it are not there to be told.
    const WATCHED: bool = false;
    /// The events it reads; all others of the log pass it by.
    type Event: EventSet;

    /// The rows an event changes: unless the view says otherwise, the one whose key is the id of
    /// the event's stream.
    fn touches(_event: &Self::Event, about: &About) -> Vec<Touch> {
        vec![Touch::Key(about.stream.0.into())]
    }

    /// Keys of rows of the view [`View::REFERENCED`] that folding this event may look at.
    fn references(_event: &Self::Event, _about: &About) -> Vec<Value> {
        Vec::new()
    }

    /// Folds an event into one row it touches; `None` is a row that does not exist, before or
    /// afterwards.
    ///
    /// # Errors
    /// The event cannot be applied to this row; it is parked, with all that follows on the row.
    fn fold(row: Option<Self>, event: &Self::Event, about: &About) -> FoldResult<Self>;

    /// The view of the same projection whose rows [`About::lookup`] gives, if any. It must stand
    /// before this one in the projection: its rows are those after the event.
    const REFERENCED: Option<&'static str> = None;
}

/// A list of a view's rows: their order, and what they can be filtered by.
///
/// Rows of equal order are ordered by their key, so that a page begins exactly where the last one
/// ended. Each combination of filters is served by an index and a statement of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The column that it is ordered by: a `bigint`, a `timestamptz` or, ascending, a `text`; never
    /// NULL.
    pub order: &'static str,
    /// True if the largest comes first.
    pub descending: bool,
    /// The combinations of columns that a page may be filtered by, each by one value.
    pub filters: &'static [&'static [&'static str]],
    /// A `boolean` column that is true in every row of the list.
    pub only: Option<&'static str>,
}

impl List {
    /// All rows, smallest first.
    pub const fn by(order: &'static str) -> Self {
        Self { order, descending: false, filters: &[&[]], only: None }
    }

    /// All rows, largest first.
    pub const fn by_descending(order: &'static str) -> Self {
        Self { order, descending: true, filters: &[&[]], only: None }
    }

    /// The same list with these combinations of filters; `&[]` is the list of all rows.
    #[must_use]
    pub const fn filtered(self, filters: &'static [&'static [&'static str]]) -> Self {
        Self { order: self.order, descending: self.descending, filters, only: self.only }
    }

    /// The same list of those rows only in which this `boolean` column is true.
    #[must_use]
    pub const fn only(self, column: &'static str) -> Self {
        Self {
            order: self.order,
            descending: self.descending,
            filters: self.filters,
            only: Some(column),
        }
    }

    /// The index that serves a combination of filters, as `CREATE INDEX` writes it after the table.
    pub fn index(&self, filter: &[&str], key: &str) -> String {
        let direction = if self.descending { " DESC" } else { "" };
        let filters: String = filter.iter().map(|column| format!("{column}, ")).collect();
        let condition = self.only.map(|column| format!(" WHERE {column}")).unwrap_or_default();
        format!("({filters}{}{direction}, {key}){condition}", self.order)
    }
}

/// The columns that a view's lists are filtered by, in the order in which they are first named:
/// what watchers of its lists can choose by.
pub fn filter_columns<V: View>() -> Vec<&'static str> {
    let mut columns: Vec<&'static str> = Vec::new();
    for list in V::LISTS {
        let named = list.filters.iter().flat_map(|filter| filter.iter().copied());
        for column in named.chain(list.only) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    columns
}

/// All indexes of a view: those of its lists, and its own.
pub fn indexes<V: View>() -> Vec<String> {
    let key = V::COLUMNS[0].name;
    let mut indexes: Vec<String> = Vec::new();
    for list in V::LISTS {
        for filter in list.filters {
            let index = list.index(filter, key);
            if !indexes.contains(&index) {
                indexes.push(index);
            }
        }
    }
    indexes.extend(V::INDEXES.iter().map(|index| (*index).to_owned()));
    indexes
}

/// Names rows that an event changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The row with this key, whether it exists or not.
    Key(Value),
    /// Every existing row whose column (which must be indexed) has this value.
    Where {
        /// Name of the column.
        column: &'static str,
        /// The value.
        value: Value,
    },
}

/// Place where an event stands, and the rows that folding it may look at.
#[derive(Clone, Copy)]
pub struct About<'l> {
    /// The partition.
    pub partition: Partition,
    /// The place in the partition.
    pub position: Position,
    /// The stream.
    pub stream: StreamId,
    /// The place in the stream.
    pub version: StreamVersion,
    /// Time at which it was recorded.
    pub recorded_at: OffsetDateTime,
    referenced: Option<&'l dyn Lookup>,
}

impl About<'static> {
    /// The place of an event, with no rows to look at.
    pub fn new(
        partition: Partition,
        position: Position,
        stream: StreamId,
        version: StreamVersion,
        recorded_at: OffsetDateTime,
    ) -> Self {
        Self { partition, position, stream, version, recorded_at, referenced: None }
    }
}

impl About<'_> {
    /// The same place, with these rows to look at.
    #[must_use]
    pub fn referring<'l>(&self, referenced: &'l dyn Lookup) -> About<'l> {
        About { referenced: Some(referenced), ..*self }
    }

    /// The value of a column of the row of [`View::REFERENCED`] with this key, after the event;
    /// `None` if there is no such row, or it was not announced by [`View::references`].
    pub fn lookup(&self, key: &Value, column: &str) -> Option<Value> {
        self.referenced?.column(key, column)
    }
}

/// Rows of the referenced view, as they are after the event that is being folded.
pub trait Lookup {
    /// The value of a column of the row with this key; `None` if there is no such row, or it was
    /// not announced by [`View::references`].
    fn column(&self, key: &Value, column: &str) -> Option<Value>;
}

/// The row after an event, `None` if there is none any more; or why the event cannot be applied.
pub type FoldResult<R> = Result<Option<R>, ViewError>;

/// Reason why an event could not be applied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ViewError(pub String);
