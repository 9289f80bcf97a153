//! Steps of the projector: reading, committing, following into another epoch.

use crate::properties::{self, Violation};
use crate::rules::Rules;
use crate::step::{Action, Step};
use crate::world::{Batch, Projector, Server, World};

/// Steps of the projector.
pub fn steps(world: &World, rules: &Rules, steps: &mut Vec<Step>) {
    let mut add = |action, next| steps.push(Step { action, next });
    for (number, server) in world.primaries(world.projector.newest) {
        if let Some(next) = adopt(world, server, rules) {
            add(Action::Adopt(number), checked(next));
        }
        if let Some(next) = read(world, server) {
            add(Action::ReadBatch(number), Ok(next));
        }
    }
    if let Some(batch) = world.projector.batch {
        let (next, moved) = commit(world, batch);
        add(Action::CommitBatch(moved), checked(next));
        let projector = Projector { batch: None, ..world.projector };
        add(Action::DropBatch, Ok(World { projector, ..*world }));
    }
}

/// `in_epoch` in engine.rs: the log has begun another epoch, and its history is what was applied.
fn adopt(world: &World, server: &Server, rules: &Rules) -> Option<World> {
    let Server { timeline, log, .. } = *server;
    let projector = Projector { newest: timeline, ..world.projector };
    let number = |epoch| world.epochs.number(epoch);
    let is_lower = number(log.epoch) < number(projector.epoch);
    let is_known = world.epochs.went_through(projector.epoch, log.epoch);
    if is_known || is_lower && rules.projector_compares_numbers {
        // Stops with an alarm (`belongs_to` in checkpoint.rs), or goes on.
        return None;
    }
    let continues = if rules.projector_compares_digests {
        log.events.starts_with(projector.shown)
    } else {
        log.events.len() >= projector.shown.len()
    };
    let revision = projector.revision + u8::from(rules.adoption_raises_revision);
    let projector = Projector { epoch: log.epoch, revision, ..projector };
    continues.then_some(World { projector, ..*world })
}

/// `Feed::next` in feed.rs: the log is in the checkpoint's epoch, and what it has beyond the
/// checkpoint is chained to the checkpoint's digest.
fn read(world: &World, server: &Server) -> Option<World> {
    let Server { timeline, log, .. } = *server;
    let projector = Projector { newest: timeline, ..world.projector };
    let Projector { epoch, shown, revision, .. } = projector;
    let is_news = log.events.len() > shown.len() && log.events.starts_with(shown);
    if projector.batch.is_some() || !is_news || !world.epochs.look_equal(log.epoch, epoch) {
        return None;
    }
    let batch = Batch { from: shown, revision, to: log.events };
    let projector = Projector { batch: Some(batch), ..projector };
    Some(World { projector, ..*world })
}

/// Compare-and-set of the checkpoint (commit.sql). The session that sent it may be over by then.
pub fn commit(world: &World, batch: Batch) -> (World, bool) {
    let projector = world.projector;
    let stands = (projector.shown, projector.revision) == (batch.from, batch.revision);
    let shown = if stands { batch.to } else { projector.shown };
    (World { projector: Projector { shown, batch: None, ..projector }, ..*world }, stands)
}

fn checked(next: World) -> Result<World, Violation> {
    properties::views(&next).map(|()| next)
}
