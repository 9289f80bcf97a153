//! Read side: the table `counter`, one row a counter.

use headwater_kernel::{About, FoldResult, List, Uuid, View, row};

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

impl View for CounterRow {
    const NAME: &'static str = "counter";
    const LISTS: &'static [List] = &[List::by_descending("total")];
    type Event = CounterEvent;

    fn fold(row: Option<Self>, event: &CounterEvent, about: &About) -> FoldResult<Self> {
        let CounterEvent::Incremented(event) = event;
        let total = row.map_or(0, |row| row.total) + event.by;
        Ok(Some(CounterRow { counter_id: about.stream.0, total }))
    }
}
