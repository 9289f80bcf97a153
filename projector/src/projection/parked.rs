//! Events that could not be applied, and the rows that wait for them. Pure.

use std::collections::{HashMap, HashSet};

use headwater_kernel::row::Value;
use headwater_kernel::{Position, RecordedEvent, StreamId};

/// The most rows and streams of a projection that may be waiting behind parked events. They are
/// kept in memory; a projection with more of them is broken as a whole, and stops.
pub const BLOCKED_MAX: usize = 10_000;

/// The most rows that one event may block. An event that would block more is parked as a whole:
/// its stream is blocked, and none of the rows.
pub const ROWS_OF_AN_EVENT_MAX: usize = 1_000;

/// The view name under which an event is parked that no view was asked about, since it could not be
/// decoded.
pub const NO_VIEW: &str = "";

/// An event that could not be applied to a row, which waits behind it: later events are not applied
/// to the row either, and are not kept. The log has them, and where to read on is in `folded`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// The view, or [`NO_VIEW`].
    pub view: &'static str,
    /// The row's key; under [`NO_VIEW`] the event's stream.
    pub row_key: String,
    /// The event.
    pub event: RecordedEvent,
    /// Reason why it was not applied.
    pub error: String,
    /// The last event of every partition, from 0, that had gone by before: the row is the fold of
    /// the log up to there.
    pub folded: Vec<Position>,
}

/// Rows and streams that wait behind parked events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// By view.
    rows: HashMap<String, HashSet<String>>,
    streams: HashSet<StreamId>,
}

impl Blocked {
    /// Number of rows and streams.
    pub fn len(&self) -> usize {
        self.rows.values().map(HashSet::len).sum::<usize>() + self.streams.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.streams.is_empty()
    }

    /// Blocks a row, or under [`NO_VIEW`] the stream with this id.
    pub fn insert(&mut self, view: &str, row_key: &str) {
        match (view, row_key.parse()) {
            (NO_VIEW, Ok(stream)) => self.streams.insert(StreamId(stream)),
            _ => self.rows.entry(view.to_owned()).or_default().insert(row_key.to_owned()),
        };
    }

    /// True if the stream is blocked.
    pub fn has_stream(&self, stream: StreamId) -> bool {
        self.streams.contains(&stream)
    }

    /// True if the row is blocked.
    pub fn has_row(&self, view: &str, key: &Value) -> bool {
        // Usually nothing is blocked: then no key is rendered.
        self.rows.get(view).is_some_and(|rows| rows.contains(&key.to_string()))
    }
}
