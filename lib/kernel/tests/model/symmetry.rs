//! Symmetry: worlds that differ in names only are one.

use crate::epochs::EpochId;
use crate::history::Names;
use crate::world::{Append, Doubt, Log, Phase, Program, Projector, Server, Snapshot, World};

impl World {
    /// Without what makes no difference: the names of commands and the order of the programs.
    pub fn canonical(&self) -> Self {
        let mut world = *self;
        world.renumber_timelines();
        world.order_servers();
        world.forget_epochs();
        world.forget_revisions();
        let mut names = Names::default();
        world.rename_shared(&mut names);
        // Ordered as if each came first, so that it does not matter which one did.
        let alone = |program: &Program| program.renamed(&mut names.clone());
        let [one, other] = &mut world.programs;
        if alone(other) < alone(one) {
            std::mem::swap(one, other);
        }
        world.programs = world.programs.map(|program| program.renamed(&mut names));
        world
    }

    /// Lowers all timelines by the same; where nothing but "earlier" counts, any earlier one does.
    fn renumber_timelines(&mut self) {
        let [one, other] = &self.servers;
        let by = one.timeline.min(other.timeline) - 1;
        for server in &mut self.servers {
            let is_begun = server.is_begun();
            server.timeline -= by;
            server.log.timeline = if is_begun { server.timeline } else { 0 };
        }
        let seen = self.programs.iter_mut().map(|program| &mut program.newest);
        for newest in seen.chain([&mut self.projector.newest]) {
            *newest = newest.saturating_sub(by).max(1);
        }
    }

    /// Swaps the servers if they are in the wrong order.
    fn order_servers(&mut self) {
        let epochs = self.epochs;
        let key = |server: &Server| {
            let Log { epoch, events, snapshots, .. } = server.log;
            let snapshots = snapshots.map(|saved| saved.map(|s| (s.position, s.state.len())));
            let role = (server.is_primary, server.timeline, server.is_begun());
            (role, epochs.number(epoch), events.len(), snapshots)
        };
        let [one, other] = &mut self.servers;
        if key(other) < key(one) {
            std::mem::swap(one, other);
            for program in &mut self.programs {
                if let Some(orphan) = &mut program.orphan {
                    orphan.server = 1 - orphan.server;
                }
                if let Phase::Unknown(doubt) = &mut program.phase {
                    doubt.sent_to = doubt.sent_to.map(|server| 1 - server);
                }
            }
        }
    }

    /// Orders the epochs by their numbers, without those that no server has been in and that nobody
    /// holds any more: nobody gets their numbers again, so their tokens are refused for ever.
    fn forget_epochs(&mut self) {
        let mut lines: Vec<EpochId> = self.servers.iter().map(|s| s.log.epoch).collect();
        lines.push(self.projector.epoch);
        let mut held = Vec::with_capacity(8);
        self.each_epoch(|epoch| held.push(*epoch));
        let renumbered = self.epochs.keep(&lines, &held);
        self.each_epoch(|epoch| *epoch = renumbered[epoch.index()]);
    }

    /// Of a checkpoint's revisions it counts only whether one came after a batch was read.
    fn forget_revisions(&mut self) {
        let Projector { revision, batch, .. } = &mut self.projector;
        let read_at = batch.as_mut().map(|batch| std::mem::take(&mut batch.revision));
        *revision = read_at.is_some_and(|read_at| *revision != read_at).into();
    }

    /// Calls for each epoch that anybody holds.
    fn each_epoch(&mut self, mut call: impl FnMut(&mut EpochId)) {
        self.servers.iter_mut().for_each(|server| call(&mut server.log.epoch));
        call(&mut self.projector.epoch);
        for program in &mut self.programs {
            call(&mut program.epoch);
            program.cache.iter_mut().flatten().for_each(|cached| call(&mut cached.epoch));
            program.loaded.iter_mut().for_each(|loaded| call(&mut loaded.state.epoch));
            if let Phase::Sent(append) | Phase::Unknown(Doubt { append, .. }) = &mut program.phase {
                call(&mut append.epoch);
            }
            program.orphan.iter_mut().for_each(|orphan| call(&mut orphan.append.epoch));
        }
    }

    /// Renames the commands in all but the programs.
    fn rename_shared(&mut self, names: &mut Names) {
        self.epochs = self.epochs.map(|history| history.renamed(names));
        for server in &mut self.servers {
            server.log.events = server.log.events.renamed(names);
            server.log.snapshots.iter_mut().flatten().for_each(|s| s.rename(names));
        }
        let projector = &mut self.projector;
        projector.shown = projector.shown.renamed(names);
        if let Some(batch) = &mut projector.batch {
            batch.from = batch.from.renamed(names);
            batch.to = batch.to.renamed(names);
        }
    }
}

impl Program {
    fn renamed(mut self, names: &mut Names) -> Self {
        for cached in self.cache.iter_mut().flatten() {
            cached.state = cached.state.renamed(names);
        }
        if let Some(loaded) = &mut self.loaded {
            loaded.state.state = loaded.state.state.renamed(names);
        }
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Again(command) => *command = names.of(*command),
            Phase::Sent(append) | Phase::Unknown(Doubt { append, .. }) => append.rename(names),
        }
        if let Some(orphan) = &mut self.orphan {
            orphan.append.rename(names);
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.rename(names);
        }
        self
    }
}

impl Append {
    fn rename(&mut self, names: &mut Names) {
        self.command = names.of(self.command);
        self.base = self.base.renamed(names);
    }
}

impl Snapshot {
    fn rename(&mut self, names: &mut Names) {
        self.state = self.state.renamed(names);
    }
}
