//! Read side: the table `counter`, one row a counter.

use headwater_kernel::view::{About, Lookup};
use headwater_kernel::{List, View, ViewError, row};
use uuid::Uuid;

use super::aggregate::CounterEvent;

row! {
    /// A counter.
    pub struct CounterRow {
        /// Its id, the key.
        pub counter_id: Uuid,
        /// What was added, in all.
        pub total: i64,
    }
}

/// The view `counter`.
pub struct CounterView;

impl View for CounterView {
    const NAME: &'static str = "counter";
    const VERSION: u32 = 1;
    const LISTS: &'static [List] = &[List::by_descending("total")];
    type Event = CounterEvent;
    type Row = CounterRow;

    fn fold(
        row: Option<CounterRow>,
        event: &CounterEvent,
        about: &About,
        _lookup: &dyn Lookup,
    ) -> Result<Option<CounterRow>, ViewError> {
        let CounterEvent::Incremented(event) = event;
        let total = row.map_or(0, |row| row.total) + event.by;
        Ok(Some(CounterRow { counter_id: about.stream.0, total }))
    }
}
