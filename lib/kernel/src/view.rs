//! What a domain implements on the read side.

use thiserror::Error;
use time::OffsetDateTime;

use crate::envelope::EventSet;
use crate::ids::{Partition, Position, StreamId, StreamVersion};
use crate::row::{Row, Value};

/// A table of denormalised rows, folded from the log.
///
/// Order is defined within a partition only: whatever the interleaving of partitions, the fold must
/// come to the same rows. Facts of an aggregate that lives in another partition therefore arrive by
/// two ways (see [`Touch::Where`] and [`View::references`]), and the row is right by whichever
/// comes last.
pub trait View: Send + Sync + 'static {
    /// Name of the table queries read, such as `store`.
    const NAME: &'static str;
    /// Raised whenever columns or the fold change: the table is then built anew beside the old one.
    const VERSION: u32;
    /// Indexes: each the part of `CREATE INDEX … ON <table>` that follows the table, such as
    /// `(city, status)` or `USING gin (to_tsvector('simple', name))`.
    const INDEXES: &'static [&'static str];
    /// Columns by which lists of it are filtered that can be watched; their order is that of the
    /// filter. `None` if nobody may watch the view: then its changes are not kept. Another value
    /// takes another [`View::VERSION`]: the changes from before it are not there to be told.
    const WATCHED_BY: Option<&'static [&'static str]> = None;
    /// The events it reads.
    type Event: EventSet;
    /// Its rows.
    type Row: Row;

    /// The rows an event changes. Most views name one row, by key.
    fn touches(event: &Self::Event, about: &About) -> Vec<Touch>;

    /// Keys of rows of the view [`View::REFERENCED`] that folding this event may look at.
    fn references(_event: &Self::Event, _about: &About) -> Vec<Value> {
        Vec::new()
    }

    /// Folds an event into one row it touches; `None` is a row that does not exist, before or
    /// afterwards.
    ///
    /// # Errors
    /// The event cannot be applied to this row; it is parked, with all that follows on the row.
    fn fold(
        row: Option<Self::Row>,
        event: &Self::Event,
        about: &About,
        lookup: &dyn Lookup,
    ) -> Result<Option<Self::Row>, ViewError>;

    /// The view of the same projection whose rows [`Lookup`] gives, if any. It must stand before
    /// this one in the projection: its rows are those after the event.
    const REFERENCED: Option<&'static str> = None;
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
        /// Its value.
        value: Value,
    },
}

/// Where an event stands.
#[derive(Clone, Debug)]
pub struct About {
    /// Its partition.
    pub partition: Partition,
    /// Its place in the partition.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: StreamVersion,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}

/// Rows of the referenced view, as they are after the event that is being folded.
pub trait Lookup {
    /// The value of a column of the row with this key; `None` if there is no such row, or it was
    /// not announced by [`View::references`].
    fn column(&self, key: &Value, column: &str) -> Option<Value>;
}

/// Why an event could not be applied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ViewError(pub String);
