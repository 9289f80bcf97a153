//! The states of hot aggregates. A cache needs no ownership: the append checks the version.

use headwater_kernel::StreamId;
use moka::sync::Cache;

use crate::decide::VersionedState;

/// Bounded cache of the newest known states.
#[derive(Clone)]
pub(crate) struct States {
    cache: Cache<StreamId, VersionedState>,
}

impl States {
    pub(crate) fn new(states_max: u64) -> Self {
        Self { cache: Cache::new(states_max) }
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<VersionedState> {
        self.cache.get(&stream)
    }

    /// Keeps a state that was just committed: nothing newer can be known to this process.
    pub(crate) fn put(&self, stream: StreamId, state: VersionedState) {
        self.cache.insert(stream, state);
    }

    /// Keeps a state that was loaded, unless a newer one was committed meanwhile.
    pub(crate) fn offer(&self, stream: StreamId, state: &VersionedState) {
        // By epoch first: after a failover a lower version may be the newer one.
        let newer =
            |known: VersionedState| (known.epoch, known.version) < (state.epoch, state.version);
        if self.cache.get(&stream).is_none_or(newer) {
            self.cache.insert(stream, state.clone());
        }
    }

    pub(crate) fn forget(&self, stream: StreamId) {
        self.cache.invalidate(&stream);
    }
}
