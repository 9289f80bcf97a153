//! Events that could not be applied, and the rows that wait for them. Pure.

use std::collections::HashSet;

use headwater_kernel::row::Value;
use headwater_kernel::{RecordedEvent, StreamId};

/// The most rows and streams of a projection that may be waiting behind parked events. They are
/// kept in memory; a projection with more of them is broken as a whole, and stops.
pub const BLOCKED_MAX: usize = 10_000;

/// The view name under which an event is parked that no view was asked about, since it could not be
/// decoded.
pub const NO_VIEW: &str = "";

/// An event that was not applied to a row.
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
}

/// What waits behind parked events: rows, and streams of events that could not be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    rows: HashSet<(String, String)>,
    streams: HashSet<StreamId>,
}

impl Blocked {
    /// Number of rows and streams.
    pub fn len(&self) -> usize {
        self.rows.len() + self.streams.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Blocks a row, or under [`NO_VIEW`] the stream with this id.
    pub fn insert(&mut self, view: &str, row_key: &str) {
        match (view, row_key.parse()) {
            (NO_VIEW, Ok(stream)) => self.streams.insert(StreamId(stream)),
            _ => self.rows.insert((view.to_owned(), row_key.to_owned())),
        };
    }

    /// True if the stream is blocked.
    pub fn has_stream(&self, stream: StreamId) -> bool {
        self.streams.contains(&stream)
    }

    /// True if the row is blocked.
    pub fn has_row(&self, view: &str, key: &Value) -> bool {
        // Usually nothing is blocked: then no key is rendered.
        !self.rows.is_empty() && self.rows.contains(&(view.to_owned(), key.to_string()))
    }
}
