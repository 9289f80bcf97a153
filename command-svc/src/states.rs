//! The states of hot aggregates. A cache needs no ownership: the append checks the version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_kernel::{Epoch, StreamId};
use moka::sync::Cache;

use crate::decide::VersionedState;

/// Bounded cache of the newest known states.
#[derive(Clone)]
pub(crate) struct States {
    cache: Cache<StreamId, VersionedState>,
    /// The epoch whose states are kept.
    epoch: Arc<AtomicU32>,
}

impl States {
    pub(crate) fn new(states_max: u64, epoch: Epoch) -> Self {
        Self { cache: Cache::new(states_max), epoch: Arc::new(AtomicU32::new(epoch.0)) }
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<VersionedState> {
        self.cache.get(&stream)
    }

    /// Keeps a state that was just committed: nothing newer can be known to this process.
    pub(crate) fn put(&self, stream: StreamId, state: VersionedState) {
        self.cache.insert(stream, state);
    }

    /// Keeps a state that was loaded, unless a newer one was committed meanwhile. One of another
    /// epoch than is kept never takes the place of one that is, whatever their numbers.
    pub(crate) fn offer(&self, stream: StreamId, state: &VersionedState) {
        let epoch = Epoch(self.epoch.load(Ordering::Acquire));
        let keep = |known: VersionedState| {
            let is_newer = known.version >= state.version;
            known.epoch == epoch && (state.epoch != epoch || is_newer)
        };
        if !self.cache.get(&stream).is_some_and(keep) {
            self.cache.insert(stream, state.clone());
        }
    }

    pub(crate) fn forget(&self, stream: StreamId) {
        self.cache.invalidate(&stream);
    }

    /// Keeps states of this epoch from now on, and forgets all others: their history may be gone.
    pub(crate) fn enter(&self, epoch: Epoch) {
        if self.epoch.swap(epoch.0, Ordering::AcqRel) != epoch.0 {
            self.cache.invalidate_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_kernel::StreamVersion;
    use uuid::Uuid;

    use super::*;

    const STREAM: StreamId = StreamId(Uuid::nil());

    fn state((epoch, version): (u32, u64)) -> VersionedState {
        VersionedState { epoch: Epoch(epoch), version: StreamVersion(version), state: Arc::new(()) }
    }

    fn known(states: &States) -> Option<(u32, u64)> {
        states.get(STREAM).map(|state| (state.epoch.0, state.version.0))
    }

    #[test]
    fn no_state_of_another_epoch_shadows_one_of_this() {
        // committed or loaded before, offered now, known then; in epoch 5
        let table = [
            (None, (5, 3), (5, 3)),
            (Some((5, 3)), (5, 4), (5, 4)),
            (Some((5, 4)), (5, 3), (5, 4)),
            (Some((5, 3)), (9, 4), (5, 3)),
            (Some((5, 3)), (2, 4), (5, 3)),
            (Some((9, 4)), (5, 3), (5, 3)),
            (Some((2, 4)), (5, 3), (5, 3)),
        ];
        for (before, offered, expected) in table {
            let states = States::new(10, Epoch(5));
            if let Some(before) = before {
                states.put(STREAM, state(before));
            }
            states.offer(STREAM, &state(offered));
            assert_eq!(known(&states), Some(expected), "{before:?} {offered:?}");
        }
    }

    #[test]
    fn a_new_epoch_begins_with_no_states() {
        let states = States::new(10, Epoch(5));
        states.put(STREAM, state((5, 3)));
        states.enter(Epoch(5));
        assert_eq!(known(&states), Some((5, 3)));
        states.enter(Epoch(4));
        assert_eq!(known(&states), None);
    }
}
