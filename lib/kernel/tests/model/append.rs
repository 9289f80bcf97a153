//! The function `headwater_log.append` (append.sql), for one command.

use crate::history::History;
use crate::properties::Violation;
use crate::rules::{Bounds, Rules};
use crate::step::Outcome;
use crate::world::{Append, World};

/// Carries out an append on a server, in one transaction.
pub fn append(
    world: &mut World,
    server: usize,
    append: Append,
    (rules, bounds): (&Rules, &Bounds),
) -> Result<Outcome, Violation> {
    let Append { command, epoch, base } = append;
    let server = &mut world.servers[server];
    let log = &mut server.log;
    let was_promoted = log.timeline != server.timeline;
    let another = !world.epochs.look_equal(log.epoch, epoch);
    if another || was_promoted && rules.append_compares_timelines {
        return Ok(Outcome::NewEpoch);
    }
    let is_known = log.events.position(command).is_some();
    if is_known && bounds.keys {
        return Ok(Outcome::Replayed);
    }
    let stored = log.events.of(command.stream());
    if stored.len() != base.len() {
        return Ok(Outcome::Conflict);
    }
    if stored != base {
        return Err(Violation::DecidedOnLostHistory { command, base, stored });
    }
    if is_known {
        return Err(Violation::AppliedTwice(command));
    }
    let truth = world.epochs.truth(log.epoch);
    if truth != log.events {
        let position = log.events.len() + 1;
        return Err(Violation::PositionGivenTwice { command, position, before: truth });
    }
    log.events = log.events.plus(command);
    world.epochs.committed(log.epoch, log.events);
    Ok(Outcome::Committed)
}

/// State after the command.
pub fn after(append: &Append) -> History {
    append.base.plus(append.command)
}
