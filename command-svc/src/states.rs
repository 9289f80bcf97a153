//! The states of hot aggregates. A cache needs no ownership: the append checks the version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use headwater_kernel::{Epoch, RecordedEvent};
use moka::sync::Cache;

use crate::decide::{EventRef, StateKey, VersionedState, caught};

/// Memory of a state beside its own: key, pointers, counts, and what the cache keeps of it.
const ENTRY_BYTES: usize = 256;
/// The largest share of the cache that one state counts for, so that it is kept at all.
const ENTRIES_MIN: u64 = 8;

/// Bounded cache of the newest known states: in number, and in bytes by an estimate.
#[derive(Clone)]
pub(crate) struct States {
    cache: Cache<StateKey, VersionedState>,
    /// The epoch whose states are kept.
    epoch: Arc<AtomicU32>,
}

impl States {
    pub(crate) fn new(states_max: u64, bytes_max: u64, epoch: Epoch) -> Self {
        // One that is smaller counts as much as if all were of the average size, which is what
        // bounds their number.
        let least = bytes_max / states_max.max(1);
        let most = bytes_max / ENTRIES_MIN;
        let weight = move |_: &StateKey, state: &VersionedState| {
            let bytes = bytes_of(state).max(least).min(most);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(bytes_max).weigher(weight).build();
        Self { cache, epoch: Arc::new(AtomicU32::new(epoch.0)) }
    }

    pub(crate) fn get(&self, key: &StateKey) -> Option<VersionedState> {
        self.cache.get(key)
    }

    /// Keeps a state that was just committed: nothing newer can be known to this process.
    pub(crate) fn put(&self, key: StateKey, state: VersionedState) {
        self.cache.insert(key, state);
    }

    /// Keeps a state that was loaded, unless a newer one was committed meanwhile. One of another
    /// epoch than is kept never takes the place of one that is, whatever their numbers.
    pub(crate) fn offer(&self, key: StateKey, state: &VersionedState) {
        let epoch = Epoch(self.epoch.load(Ordering::Acquire));
        let keep = |known: VersionedState| {
            let is_outdated = known.extent.as_ref().is_some_and(|extent| extent.outdated);
            let is_newer = known.progress() >= state.progress() && !is_outdated;
            known.epoch == epoch && (state.epoch != epoch || is_newer)
        };
        if !self.cache.get(&key).is_some_and(keep) {
            self.cache.insert(key, state.clone());
        }
    }

    /// Brings the states that are kept up to date with events of this epoch or before. One that
    /// they do not follow on is forgotten.
    pub(crate) fn take_in(&self, epoch: Epoch, events: &[RecordedEvent]) {
        for event in events {
            let key = StateKey::Stream(event.stream);
            let Some(mut state) = self.get(&key) else { continue };
            if state.epoch != epoch || event.version <= state.version {
                continue;
            }
            let evolve = state.evolve.filter(|_| event.version == state.version.plus(1));
            let evolved = evolve.and_then(|evolve| {
                let names = ("a stream", "an event of another program");
                caught("a fold", names, || evolve(&mut state.state, EventRef::recorded(event)))
            });
            if let Some(Ok(())) = evolved {
                state.version = event.version;
                state.heap_bytes = state.heap_bytes.saturating_add(event.payload.len());
                self.offer(key, &state);
            } else {
                self.forget(&key);
            }
        }
    }

    /// Forgets a state that is out of date. That of a boundary is kept, as far as it goes, to be
    /// read on from there.
    pub(crate) fn forget(&self, key: &StateKey) {
        let boundary = matches!(key, StateKey::Boundary(_)).then(|| self.get(key)).flatten();
        match boundary {
            None => self.cache.invalidate(key),
            Some(mut state) => {
                if let Some(extent) = &mut state.extent {
                    extent.outdated = true;
                }
                self.cache.insert(key.clone(), state);
            }
        }
    }

    /// Keeps states of this epoch from now on, and forgets all others: their history may be gone.
    pub(crate) fn enter(&self, epoch: Epoch) {
        if self.epoch.swap(epoch.0, Ordering::AcqRel) != epoch.0 {
            self.cache.invalidate_all();
        }
    }
}

fn bytes_of(state: &VersionedState) -> u64 {
    // What is read into memory takes more than its encoding: pointers, lengths, spare capacity.
    let heap = state.heap_bytes.saturating_mul(2);
    (ENTRY_BYTES + size_of_val(&*state.state)).saturating_add(heap) as u64
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{StreamId, StreamVersion};
    use uuid::Uuid;

    use super::*;
    use crate::decide::AnyState;

    const STREAM: StateKey = StateKey::Stream(StreamId(Uuid::nil()));

    fn state((epoch, version): (u32, u64)) -> VersionedState {
        let (epoch, version) = (Epoch(epoch), StreamVersion(version));
        let state: AnyState = Arc::new(());
        VersionedState { epoch, version, state, heap_bytes: 0, extent: None, evolve: None }
    }

    /// States that are kept of a thousand with so much on the heap.
    fn kept(states_max: u64, bytes_max: u64, heap_bytes: usize) -> u64 {
        let states = States::new(states_max, bytes_max, Epoch(5));
        for n in 0..1_000 {
            let stream = StateKey::Stream(StreamId(Uuid::from_u128(n)));
            states.put(stream, VersionedState { heap_bytes, ..state((5, 1)) });
        }
        states.cache.run_pending_tasks();
        states.cache.entry_count()
    }

    #[test]
    fn states_are_bounded_in_number_and_in_bytes() {
        assert_eq!(kept(100, 1 << 30, 10), 100);
        assert_eq!(kept(100_000, 1 << 20, 50_000), 10);
        assert_eq!(kept(100_000, 1 << 30, 50_000), 1_000);
        // However large they are, some are kept.
        assert_eq!(kept(100_000, 1 << 20, usize::MAX), ENTRIES_MIN);
    }

    fn known(states: &States) -> Option<(u32, u64)> {
        states.get(&STREAM).map(|state| (state.epoch.0, state.version.0))
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
            let states = States::new(10, 1 << 20, Epoch(5));
            if let Some(before) = before {
                states.put(STREAM, state(before));
            }
            states.offer(STREAM, &state(offered));
            assert_eq!(known(&states), Some(expected), "{before:?} {offered:?}");
        }
    }

    #[test]
    fn a_new_epoch_begins_with_no_states() {
        let states = States::new(10, 1 << 20, Epoch(5));
        states.put(STREAM, state((5, 3)));
        states.enter(Epoch(5));
        assert_eq!(known(&states), Some((5, 3)));
        states.enter(Epoch(4));
        assert_eq!(known(&states), None);
    }
}
