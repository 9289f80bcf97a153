//! Steps of the servers: replication, promotion, the beginning of epochs.

use crate::rules::{Bounds, Numbers, Rules};
use crate::step::{Action, Step};
use crate::world::{Log, Server, World};

/// Steps of both servers.
pub fn steps(world: &World, rules: &Rules, bounds: &Bounds, steps: &mut Vec<Step>) {
    for server in 0..world.servers.len() {
        if world.promotions < bounds.promotions {
            steps.push(Step { action: Action::Promote(server), next: Ok(promote(world, server)) });
        }
        if let Some(next) = copy(world, server) {
            steps.push(Step { action: Action::Copy(server), next: Ok(next) });
        }
        begin(world, server, rules, steps);
    }
}

/// A standby is promoted with what it has; or a primary, after a restart as a standby: then both
/// servers write on their own, and on the same timeline if both had the same ancestor.
fn promote(world: &World, server: usize) -> World {
    let mut next = *world;
    next.promotions += 1;
    let promoted = &mut next.servers[server];
    promoted.is_primary = true;
    promoted.timeline += 1;
    restarted(&mut next, server);
    next
}

/// A standby gets what it lacks; a server that was replaced is rewound. Replication of a part is
/// the same, at an earlier moment.
fn copy(world: &World, server: usize) -> Option<World> {
    let from = world.servers[1 - server];
    let to = &world.servers[server];
    let copied = Server { is_primary: false, ..from };
    if !from.is_primary || from.timeline < to.timeline || copied == *to {
        return None;
    }
    let mut next = *world;
    next.servers[server] = copied;
    restarted(&mut next, server);
    Some(next)
}

/// A restart ends all connections, and the appends in them.
fn restarted(world: &mut World, server: usize) {
    for program in &mut world.programs {
        program.orphan = program.orphan.filter(|orphan| orphan.server != server);
    }
}

/// Whoever finds a promoted server begins its epoch (`follow_epoch` in epochs.sql): each command
/// service does, whether it has a command or not.
fn begin(world: &World, server: usize, rules: &Rules, steps: &mut Vec<Step>) {
    let Server { is_primary, timeline, log } = world.servers[server];
    if !is_primary || log.timeline == timeline {
        return;
    }
    let numbers: Vec<u8> = match rules.numbers {
        Numbers::Drawn => world.epochs.draws(log.epoch).collect(),
        Numbers::Counted => vec![world.epochs.number(log.epoch) + 1],
    };
    for number in numbers {
        let mut next = *world;
        let is_drawn = rules.numbers == Numbers::Drawn;
        let epoch = next.epochs.begin(log.epoch, (number, is_drawn), log.events);
        next.servers[server].log = Log { epoch, timeline, ..log };
        steps.push(Step { action: Action::Begin(server, number), next: Ok(next) });
    }
}
