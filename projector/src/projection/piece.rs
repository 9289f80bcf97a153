//! Events that are applied together. Pure.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use headwater_kernel::RecordedEvent;

/// A batch of events, or a part of one: those of each partition in log order.
#[derive(Clone, Debug)]
pub struct Piece {
    batch: Arc<Vec<RecordedEvent>>,
    range: Range<usize>,
    /// By index in the piece.
    refused: HashMap<usize, Refusal>,
}

/// Verdict that an event is not to be applied, since the database refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// To no row; the reason.
    Event(String),
    /// To no row of one view.
    View {
        /// The view's index in the projection.
        view: usize,
        /// The reason.
        error: String,
    },
}

impl Piece {
    /// A whole batch.
    pub fn of(events: Vec<RecordedEvent>) -> Self {
        let range = 0..events.len();
        Self { batch: Arc::new(events), range, refused: HashMap::new() }
    }

    /// The events.
    pub fn events(&self) -> &[RecordedEvent] {
        &self.batch[self.range.clone()]
    }

    /// The verdict on the event with this index.
    pub(super) fn refusal(&self, index: usize) -> Option<&Refusal> {
        self.refused.get(&index)
    }

    /// The part of it with these indices, without what is refused of it.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let first = self.range.start;
        let range = first + range.start..first + range.end;
        Self { batch: Arc::clone(&self.batch), range, refused: HashMap::new() }
    }

    /// The same events, of which the one with this index is refused.
    #[must_use]
    pub fn refusing(mut self, index: usize, refusal: Refusal) -> Self {
        self.refused.insert(index, refusal);
        self
    }
}
