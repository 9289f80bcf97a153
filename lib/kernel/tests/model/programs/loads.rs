//! Loads, from a snapshot on, and in one step or two.

use super::ProgramSteps;
use crate::history::History;
use crate::properties::Violation;
use crate::rules::SnapshotTrust;
use crate::step::Action;
use crate::world::{Loaded, Log, Phase, Program, Server, Snapshot, Versioned};

impl ProgramSteps<'_> {
    /// Loads a stream that is not cached (loader.rs) for a command that will be decided later,
    /// after others.
    pub(super) fn load_early(&mut self) {
        let me = self.me();
        if let Some(loaded) = me.loaded {
            if !loaded.is_whole {
                self.load_on(loaded);
            }
            return;
        }
        let has_commands = self.world.commands < self.bounds.commands;
        let again = self.commands().next().filter(|_| matches!(me.phase, Phase::Again(_)));
        for stream in 0..self.bounds.streams {
            let is_wanted = has_commands || again.is_some_and(|c| c.stream() == stream);
            if me.cache[usize::from(stream)].is_some() || !is_wanted {
                continue;
            }
            for (server, at) in self.servers() {
                let next = self.load(at, stream).map(|(mut state, _)| {
                    let is_whole = !self.bounds.long_loads || state.state.len() < 2;
                    state.state = if is_whole { state.state } else { state.state.first(1) };
                    let loaded = Some(Loaded { stream, state, is_whole });
                    self.with(Program { loaded, ..self.at(at) })
                });
                self.add(Action::Load((self.program, server), stream, true), next);
            }
        }
    }

    /// The second step of a load, maybe on another server (load.rs).
    fn load_on(&mut self, loaded: Loaded) {
        let Loaded { stream, mut state, .. } = loaded;
        let first = state.state;
        for (server, at) in self.servers() {
            let is_same = self.world.epochs.look_equal(at.log.epoch, state.epoch);
            let rest = at.log.events.of(stream).events().skip(first.len().into());
            state.state = rest.fold(first, History::plus);
            let whole = Some(Loaded { stream, state, is_whole: true });
            let loaded = whole.filter(|_| is_same || !self.rules.loads_compare_epochs);
            let next = self.with(Program { loaded, ..self.at(at) });
            self.add(Action::Load((self.program, server), stream, loaded.is_some()), Ok(next));
        }
    }

    /// A stream's state as a server has it (load.sql), and whether a snapshot was trusted for it.
    pub(super) fn load(&self, server: &Server, stream: u8) -> Result<(Versioned, bool), Violation> {
        let log = &server.log;
        let stored = log.events.of(stream);
        let snapshot = log.snapshots[usize::from(stream)]
            .filter(|snapshot| is_trusted(snapshot, log, stream, self.rules.snapshots));
        if let Some(snapshot) = snapshot.filter(|saved| !stored.starts_with(saved.state)) {
            return Err(Violation::SnapshotOfLostHistory { snapshot, stored });
        }
        Ok((Versioned { epoch: log.epoch, state: stored }, snapshot.is_some()))
    }
}

/// True if a load begins from the snapshot (load.sql).
fn is_trusted(snapshot: &Snapshot, log: &Log, stream: u8, rule: SnapshotTrust) -> bool {
    let Some(event) = log.events.at(snapshot.position) else { return false };
    let version = log.events.first(snapshot.position).of(stream).len();
    let is_there = event.stream() == stream && version == snapshot.state.len();
    match rule {
        SnapshotTrust::Place => is_there,
        SnapshotTrust::Command => is_there && snapshot.state.last() == Some(event),
    }
}
