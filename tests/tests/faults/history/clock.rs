//! The one clock of a history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_tests::history::record::Moment;
use time::OffsetDateTime;

/// The machine's time, which the databases read too (so that `as_of` can be held against it), but
/// never going back.
#[derive(Clone, Default)]
pub struct Clock {
    latest: Arc<AtomicU64>,
}

impl Clock {
    pub fn now(&self) -> Moment {
        let now = (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000) as u64;
        Moment(self.latest.fetch_max(now, Ordering::SeqCst).max(now))
    }
}
