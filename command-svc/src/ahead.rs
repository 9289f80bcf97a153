//! Running ahead: the states that the commands of a batch leave to those behind them, before any of
//! it is in the log.

use std::collections::HashMap;

use headwater_eventlog::Command;
use headwater_kernel::{Epoch, StreamId, StreamVersion};

use crate::across::{follow, version_of};
use crate::decide::{BoundaryKey, Decider, EventRef, StateKey, VersionedState, caught};
use crate::recent::Recent;

/// What the batch so far leaves.
#[derive(Default)]
pub(crate) struct Ahead {
    streams: HashMap<StreamId, VersionedState>,
    /// With the number of commands that the state takes in.
    boundaries: HashMap<BoundaryKey, (VersionedState, usize)>,
    /// Of each stream the commands on a boundary that appended to it.
    moved: HashMap<StreamId, Vec<usize>>,
}

/// The command that a state is wanted for.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub stream: StreamId,
    pub decider: &'a dyn Decider,
    /// The state when it was sent on.
    pub loaded: &'a VersionedState,
}

impl Ahead {
    /// The newest state for a command: what the batch leaves, else the newest that is known; none
    /// if that is of another epoch.
    pub(crate) fn state(
        &self,
        asking: Asking<'_>,
        (epoch, commands): (Epoch, &[Command]),
        recent: &Recent,
        cached: &impl Fn(&StateKey) -> Option<VersionedState>,
    ) -> Option<VersionedState> {
        let Some(key) = asking.decider.boundary() else {
            let key = StateKey::Stream(asking.stream);
            let known = match self.streams.get(&asking.stream) {
                Some(state) => state.clone(),
                None => newest(cached(&key), asking.loaded, epoch)?,
            };
            return self.moved_on(known, asking, commands);
        };
        let (mut state, seen) = match self.boundaries.get(key) {
            Some((state, seen)) => (state.clone(), *seen),
            None => {
                let cached = cached(&StateKey::Boundary(key.clone()));
                let mut state = newest(cached, asking.loaded, epoch)?;
                let names = asking.decider.names();
                let caught_up =
                    caught("a fold", names, || recent.catch_up(&mut state, (asking.decider, key)));
                caught_up?.ok()?;
                (state, 0)
            }
        };
        let names = asking.decider.names();
        let followed = caught("a fold", names, || {
            for command in &commands[seen..] {
                for placed in command.placed() {
                    let matched = follow(asking.decider, key, &mut state, placed)?;
                    if let Some(extent) = &mut state.extent {
                        extent.ahead += usize::from(matched);
                    }
                }
            }
            Ok::<_, headwater_kernel::DecodeError>(())
        });
        followed?.ok()?;
        // The command's own stream may be none that the query names.
        let extent = state.extent.as_ref()?;
        let known = self.version(asking.stream, commands).or_else(|| {
            let known = cached(&StateKey::Stream(asking.stream));
            known.filter(|known| known.epoch == epoch).map(|known| known.version)
        });
        state.version = version_of(extent, asking.stream, known);
        Some(state)
    }

    /// Takes in a command and the state after it.
    pub(crate) fn add(
        &mut self,
        stream: StreamId,
        boundary: Option<&BoundaryKey>,
        after: VersionedState,
        commands: &[Command],
    ) {
        let Some(key) = boundary else {
            self.streams.insert(stream, after);
            return;
        };
        if let Some(command) = commands.last() {
            for part in command.parts().filter(|part| part.events > 0) {
                self.moved.entry(part.stream).or_default().push(commands.len() - 1);
            }
        }
        self.boundaries.insert(key.clone(), (after, commands.len()));
    }

    /// A stream's state with the events of the batch's commands on a boundary.
    fn moved_on(
        &self,
        mut state: VersionedState,
        asking: Asking<'_>,
        commands: &[Command],
    ) -> Option<VersionedState> {
        for index in self.moved.get(&asking.stream).into_iter().flatten() {
            for (stream, version, event) in commands[*index].placed() {
                // One that does not follow is in conflict with it: the append tells.
                if stream == asking.stream && version == state.version.plus(1) {
                    let event_ref = EventRef::of(stream, event);
                    let names = asking.decider.names();
                    let evolved = caught("a fold", names, || {
                        asking.decider.evolve(&mut state.state, event_ref)
                    });
                    evolved?.ok()?;
                    state.version = version;
                    state.heap_bytes = state.heap_bytes.saturating_add(event.payload.len());
                }
            }
        }
        Some(state)
    }

    fn version(&self, stream: StreamId, commands: &[Command]) -> Option<StreamVersion> {
        let moved = self.moved.get(&stream).and_then(|moved| moved.last());
        let moved = moved.and_then(|index| {
            let part = commands[*index].parts().find(|part| part.stream == stream)?;
            Some(part.expected.plus(part.events as u64))
        });
        moved.max(self.streams.get(&stream).map(|state| state.version))
    }
}

/// The newest of those that are of the epoch. The numbers of epochs are drawn, so of two that are
/// not in one line neither is the later one.
fn newest(
    cached: Option<VersionedState>,
    loaded: &VersionedState,
    epoch: Epoch,
) -> Option<VersionedState> {
    let known = cached.into_iter().chain([loaded.clone()]);
    known.filter(|state| state.epoch == epoch).max_by_key(VersionedState::progress)
}

/// The boundary of a command as the log sees it, decided on this state.
pub(crate) fn boundary(
    key: &BoundaryKey,
    current: &VersionedState,
) -> Option<Box<headwater_eventlog::Boundary>> {
    let extent = current.extent.as_ref()?;
    Some(Box::new(headwater_eventlog::Boundary {
        query: key.query.as_ref().clone(),
        after: extent.after,
        versions: extent.base.iter().map(|(stream, version)| (*stream, *version)).collect(),
        ahead: extent.ahead,
        parts: Vec::new(),
    }))
}
