//! Steps of a copy of command-svc: decide, append, and what follows an unknown outcome.

mod appends;
mod loads;

use crate::epochs::EpochId;
use crate::history::Command;
use crate::properties::Violation;
use crate::rules::{Bounds, Rules, Trust};
use crate::step::{Action, Source, Step};
use crate::world::{Append, Doubt, Loaded, Phase, Program, Server, Versioned, World};

/// Steps of a program.
pub fn steps(
    world: &World,
    program: usize,
    (rules, bounds): (&Rules, &Bounds),
    steps: &mut Vec<Step>,
) {
    let mut next = ProgramSteps { world, program, rules, bounds, steps };
    if bounds.late_loads {
        next.load_early();
    }
    next.decide();
    match world.programs[program].phase {
        Phase::Sent(append) => next.append(append),
        Phase::Unknown(doubt) if doubt.is_fenced => next.find(doubt),
        Phase::Unknown(doubt) => next.fence(doubt),
        Phase::Idle | Phase::Again(_) => {}
    }
    next.append_late();
    next.send_again();
    next.save_snapshot();
}

/// One program's next.
struct ProgramSteps<'a> {
    world: &'a World,
    program: usize,
    rules: &'a Rules,
    bounds: &'a Bounds,
    steps: &'a mut Vec<Step>,
}

impl<'a> ProgramSteps<'a> {
    fn me(&self) -> Program {
        self.world.programs[self.program]
    }

    /// Servers that the program may use now. It uses one by a step, and moves to it by that.
    fn servers(&self) -> impl Iterator<Item = (usize, &'a Server)> + use<'a> {
        self.world.primaries(self.me().newest)
    }

    /// The program as it is after it has used a server.
    fn at(&self, server: &Server) -> Program {
        Program { newest: server.timeline, ..self.me() }
    }

    /// The world with another state of this program.
    fn with(&self, program: Program) -> World {
        let mut next = *self.world;
        next.programs[self.program] = program;
        next
    }

    fn add(&mut self, action: Action, next: Result<World, Violation>) {
        self.steps.push(Step { action, next });
    }

    /// Commands that can be decided now: the one that is to be decided again, or a new one.
    fn commands(&self) -> impl Iterator<Item = Command> + use<> {
        let phase = self.me().phase;
        let again = if let Phase::Again(command) = phase { Some(command) } else { None };
        let is_free = phase == Phase::Idle && self.world.commands < self.bounds.commands;
        let number = self.world.commands + 1;
        let new = (0..self.bounds.streams).filter(move |_| is_free);
        again.into_iter().chain(new.map(move |stream| Command::new(number, stream)))
    }

    /// Decides (plan.rs) on the newest state known: what is cached, what was loaded for this
    /// command, and what was loaded before.
    fn decide(&mut self) {
        for command in self.commands() {
            let me = self.me();
            let stream = command.stream();
            let cached = me.cache[usize::from(stream)];
            if cached.is_some() {
                self.decide_on(command, Source::Cache, me, cached);
            }
            if let Some(Loaded { state, .. }) =
                me.loaded.filter(|l| l.is_whole && l.stream == stream)
            {
                let newest = self.newest(cached.into_iter().chain([state]));
                self.decide_on(command, Source::Load, Program { loaded: None, ..me }, newest);
            }
            if cached.is_some() || self.bounds.late_loads {
                continue;
            }
            for (server, at) in self.servers() {
                match self.load(at, stream) {
                    Ok((state, from_snapshot)) => {
                        let source = Source::Server(server, from_snapshot);
                        self.decide_on(command, source, self.at(at), Some(state));
                    }
                    Err(violation) => {
                        let source = Source::Server(server, true);
                        self.add(Action::Decide(self.program, command, source), Err(violation));
                    }
                }
            }
        }
    }

    /// The newest of several states of a stream; first of the batch's epoch, if only those are
    /// trusted.
    fn newest(&self, known: impl Iterator<Item = Versioned>) -> Option<Versioned> {
        known.max_by_key(|known| {
            let number = self.world.epochs.number(known.epoch);
            let is_ours = self.rules.trust == Trust::SameEpoch && self.trusts(known);
            (is_ours, number, known.state.len())
        })
    }

    fn trusts(&self, known: &Versioned) -> bool {
        let epochs = &self.world.epochs;
        let (known, batch) = (epochs.number(known.epoch), epochs.number(self.me().epoch));
        match self.rules.trust {
            Trust::SameEpoch => known == batch,
            Trust::NotEarlier => known >= batch,
        }
    }

    /// Decides a command on a state, or, if that is not trusted, finds out the log's epoch and has
    /// the command decided again.
    fn decide_on(
        &mut self,
        command: Command,
        source: Source,
        mut me: Program,
        state: Option<Versioned>,
    ) {
        if let Some(state) = state.filter(|state| self.trusts(state)) {
            me.phase = Phase::Sent(Append { command, epoch: me.epoch, base: state.state });
            let mut next = self.with(me);
            next.commands = next.commands.max(command.number());
            return self.add(Action::Decide(self.program, command, source), Ok(next));
        }
        me.cache[usize::from(command.stream())] = None;
        for (server, at) in self.world.primaries(me.newest).filter(|(_, at)| at.is_begun()) {
            let mut me = Program { newest: at.timeline, ..me };
            if self.rules.outdated_follows && !state.is_some_and(|state| self.knows(state.epoch)) {
                self.follow(&mut me, at);
            }
            let next = self.with(me);
            if next != *self.world {
                self.add(Action::Outdated((self.program, server), command), Ok(next));
            }
        }
    }

    /// The command under way is sent to the other program too, with its key, if that one is free.
    fn send_again(&mut self) {
        let command = match self.me().phase {
            Phase::Idle => return,
            Phase::Again(command) => command,
            Phase::Sent(append) | Phase::Unknown(Doubt { append, .. }) => append.command,
        };
        let mut next = *self.world;
        let other = &mut next.programs[1 - self.program];
        let may = self.bounds.keys && self.world.given_up < self.bounds.given_up;
        if may && other.phase == Phase::Idle {
            other.phase = Phase::Again(command);
            next.given_up += 1;
            self.add(Action::SendAgain(self.program, command), Ok(next));
        }
    }

    /// True if the appender's epoch went through this one: then its states are just too old.
    fn knows(&self, epoch: EpochId) -> bool {
        self.world.epochs.went_through(self.me().epoch, epoch)
    }

    /// Takes the appender to the epoch of a log, and forgets the states of others.
    fn follow(&self, me: &mut Program, server: &Server) {
        let epoch = server.log.epoch;
        if me.epoch != epoch && self.rules.trust == Trust::SameEpoch {
            me.cache = Default::default();
        }
        me.epoch = epoch;
    }
}
