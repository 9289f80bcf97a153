//! Between a plan and whoever decides which of its events are folded into which rows. Pure.

use headwater_kernel::row::Value;
use headwater_kernel::{RecordedEvent, ViewError};

/// Decides which events are folded into which rows, and takes those that cannot be.
pub(super) trait Gate {
    /// An event comes next; true if it may be applied.
    fn next(&mut self, event: &RecordedEvent) -> bool;
    /// True if the event is to be folded into a row.
    fn folds(&mut self, view: ViewRef, key: &Value, event: &RecordedEvent) -> bool;
    /// True if the row is not what the log says up to here.
    fn is_blocked(&self, view: ViewRef, key: &Value) -> bool;
    /// Takes an event that cannot be folded into a row.
    fn park(&mut self, view: ViewRef, key: &Value, event: &RecordedEvent, error: String);
    /// Takes an event of which nothing can be said.
    ///
    /// # Errors
    /// It cannot be left out.
    fn park_stream(&mut self, event: &RecordedEvent, error: String) -> Result<(), ViewError>;
}

/// A view of a projection.
#[derive(Clone, Copy)]
pub(super) struct ViewRef {
    pub index: usize,
    pub name: &'static str,
}
