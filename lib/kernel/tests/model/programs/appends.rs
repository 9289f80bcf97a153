//! Appends, unknown outcomes, and the writing of snapshots.

use super::ProgramSteps;
use crate::append::{after, append};
use crate::epochs::EpochId;
use crate::properties::{self, Violation};
use crate::step::{Action, Outcome};
use crate::world::{Append, Doubt, Orphan, Phase, Program, Server, Snapshot, Versioned, World};

impl ProgramSteps<'_> {
    /// The append reaches a server and is answered; or it is given up without an answer.
    pub(super) fn append(&mut self, sent: Append) {
        for (server, at) in self.servers() {
            self.append_at(sent, server, at);
            if self.world.given_up < self.bounds.given_up {
                let sent_to = self.rules.keyless_again_only_where_sent.then_some(server);
                let phase = Phase::Unknown(Doubt { append: sent, sent_to, is_fenced: false });
                let orphan = Some(Orphan { server, append: sent });
                let mut next = self.with(Program { phase, orphan, ..self.at(at) });
                next.given_up += 1;
                self.add(Action::GiveUp((self.program, server)), Ok(next));
            }
        }
    }

    /// The append under way, and what the program makes of its outcome (settle.rs, appender.rs).
    fn append_at(&mut self, sent: Append, server: usize, at: &Server) {
        let action = |outcome| Action::Append((self.program, server), outcome);
        let mut next = *self.world;
        let outcome = match append(&mut next, server, sent, (self.rules, self.bounds)) {
            Ok(outcome) => outcome,
            Err(violation) => return self.add(action(Outcome::Committed), Err(violation)),
        };
        let mut me = self.at(at);
        let cached = &mut me.cache[usize::from(sent.command.stream())];
        *cached = None;
        let is_done = matches!(outcome, Outcome::Committed | Outcome::Replayed);
        me.phase = if is_done { Phase::Idle } else { Phase::Again(sent.command) };
        if outcome == Outcome::Committed {
            let state = after(&sent);
            *cached = Some(Versioned { epoch: sent.epoch, state });
            if self.bounds.snapshots {
                let position = next.servers[server].log.events.len();
                me.snapshot.get_or_insert(Snapshot { state, position });
            }
        }
        if outcome == Outcome::NewEpoch {
            if !at.is_begun() {
                // It begins the epoch first: a step of the server.
                return;
            }
            self.follow(&mut me, at);
        }
        next.programs[self.program] = me;
        let next =
            if is_done { self.acknowledge(next, sent, (server, sent.epoch)) } else { Ok(next) };
        self.add(action(outcome), next);
    }

    fn acknowledge(
        &self,
        next: World,
        append: Append,
        place: (usize, EpochId),
    ) -> Result<World, Violation> {
        properties::acknowledged(&next, append.command, place).map(|()| next)
    }

    /// An append that was given up reaches its server.
    pub(super) fn append_late(&mut self) {
        let me = self.me();
        let Some(Orphan { server, append: late }) = me.orphan else { return };
        let mut next = self.with(Program { orphan: None, ..me });
        let (outcome, next) = match append(&mut next, server, late, (self.rules, self.bounds)) {
            Ok(outcome) => (outcome, Ok(next)),
            Err(violation) => (Outcome::Committed, Err(violation)),
        };
        self.add(Action::Late((self.program, server), outcome), next);
    }

    /// After an unknown outcome (`resolve` in append.rs): makes sure that the append is over, if it
    /// was sent to the server that is used now. Elsewhere there is no such process.
    pub(super) fn fence(&mut self, doubt: Doubt) {
        for (server, at) in self.servers() {
            let mut me = self.at(at);
            let sent_to = doubt.sent_to.filter(|sent_to| *sent_to == server);
            me.phase = Phase::Unknown(Doubt { sent_to, is_fenced: true, ..doubt });
            if self.rules.resolve_fences {
                me.orphan = me.orphan.filter(|orphan| orphan.server != server);
            }
            self.add(Action::Fence((self.program, server)), Ok(self.with(me)));
        }
    }

    /// Then looks for the command; maybe on another server.
    pub(super) fn find(&mut self, doubt: Doubt) {
        let Doubt { append, sent_to, .. } = doubt;
        let Append { command, base, .. } = append;
        for (server, at) in self.servers().filter(|(_, at)| at.is_begun()) {
            let mut me = self.at(at);
            self.follow(&mut me, at);
            me.cache[usize::from(command.stream())] = None;
            let stored = at.log.events.of(command.stream());
            let is_found = stored.at(base.len() + 1) == Some(command);
            let is_certain = self.bounds.keys || sent_to == Some(server);
            let again = is_certain || !self.rules.keyless_again_only_where_sent;
            me.phase = if is_found || !again { Phase::Idle } else { Phase::Again(command) };
            let next = self.with(me);
            let place = (server, at.log.epoch);
            let next = if is_found { self.acknowledge(next, append, place) } else { Ok(next) };
            self.add(Action::Find((self.program, server), is_found), next);
        }
    }

    /// Writes a snapshot to whatever server takes writes now (housekeeping.rs, save_snapshots.sql).
    pub(super) fn save_snapshot(&mut self) {
        let Some(snapshot) = self.me().snapshot else { return };
        let Some(last) = snapshot.state.last() else { return };
        for (server, at) in self.servers() {
            let mut next = self.with(Program { snapshot: None, ..self.at(at) });
            let saved = &mut next.servers[server].log.snapshots[usize::from(last.stream())];
            if saved.is_none_or(|old| old.state.len() < snapshot.state.len()) {
                *saved = Some(snapshot);
            }
            self.add(Action::SaveSnapshot((self.program, server)), Ok(next));
        }
    }
}
