//! Progress: a program that nothing disturbs gets its commands through, and the projector whatever
//! there is.

use crate::properties::Violation;
use crate::rules::{Bounds, Rules};
use crate::step::{Action, Outcome, Step};
use crate::world::World;
use crate::{programs, projector};

/// Steps within which a command has to be committed: twice all that a command can go through.
const STEPS_MAX: usize = 16;

/// Each program, if the server that it uses takes writes and keeps doing so, gets the command under
/// way through, or else a new one.
pub fn check(world: &World, rules: &Rules, bounds: &Bounds) -> Result<(), Violation> {
    let more = Bounds { commands: bounds.commands + 1, ..*bounds };
    for program in 0..world.programs.len() {
        let newest = world.programs[program].newest;
        let best = world.primaries(newest).max_by_key(|(_, server)| server.timeline);
        let Some((server, _)) = best.filter(|(_, server)| server.is_begun()) else { continue };
        let mut world = *world;
        let is_through = (0..STEPS_MAX).any(|_| {
            let mut steps = Vec::new();
            programs::steps(&world, program, (rules, &more), &mut steps);
            let step = steps.into_iter().find(|step| goes_on(step, (program, server)));
            let Some(Step { action, next: Ok(next) }) = step else { return false };
            world = next;
            is_done(&action)
        });
        if !is_through {
            return Err(Violation::Stuck(program));
        }
    }
    if bounds.projector { views(world, rules) } else { Ok(()) }
}

/// The projector, if the log on the server that it uses begins with what the views show, takes them
/// to the log's end and epoch.
fn views(world: &World, rules: &Rules) -> Result<(), Violation> {
    let best = world.primaries(world.projector.newest).max_by_key(|(_, s)| s.timeline);
    let Some((place, server)) = best.filter(|(_, server)| server.is_begun()) else { return Ok(()) };
    let log = server.log;
    if !log.events.starts_with(world.projector.shown) {
        return Ok(());
    }
    let mut world = *world;
    for _ in 0..STEPS_MAX {
        let mut steps = Vec::new();
        projector::steps(&world, rules, &mut steps);
        let goes_on = |action| match action {
            Action::Adopt(server) | Action::ReadBatch(server) => server == place,
            // What was read elsewhere is lost.
            action => action == Action::DropBatch,
        };
        let Some(step) = steps.into_iter().find(|step| goes_on(step.action)) else { break };
        world = step.next?;
        if step.action == Action::ReadBatch(place) {
            let batch = world.projector.batch.expect("was read");
            world = projector::commit(&world, batch).0;
        }
    }
    let projector = world.projector;
    let is_there = (projector.epoch, projector.shown) == (log.epoch, log.events);
    if is_there { Ok(()) } else { Err(Violation::ViewsStuck) }
}

/// True if it is what a program does that is answered by this server.
fn goes_on(step: &Step, place: (usize, usize)) -> bool {
    match step.action {
        Action::Decide(_, _, source) => source.server().is_none_or(|server| server == place.1),
        Action::Outdated(at, _)
        | Action::Append(at, _)
        | Action::Fence(at)
        | Action::Find(at, _) => at == place,
        _ => false,
    }
}

fn is_done(action: &Action) -> bool {
    let committed = [Outcome::Committed, Outcome::Replayed];
    match action {
        Action::Append(_, outcome) => committed.contains(outcome),
        Action::Find(_, is_found) => *is_found,
        _ => false,
    }
}
