//! The one clock of a history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_tests::history::record::Moment;

/// The machine's time, which the databases read too (so that `as_of` can be held against it), but
/// never going back.
#[derive(Clone, Default)]
pub struct Clock {
    latest: Arc<AtomicU64>,
}

impl Clock {
    pub fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        let now = since.as_micros() as u64;
        Moment(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
    }
}
