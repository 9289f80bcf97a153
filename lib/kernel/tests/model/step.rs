//! Steps: everything that can happen next.

use std::fmt;

use crate::history::Command;
use crate::properties::Violation;
use crate::rules::{Bounds, Rules};
use crate::world::{Doubt, Phase, World};
use crate::{programs, projector, servers};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A server becomes a primary on a new timeline.
    Promote(usize),
    /// A standby catches up, or a server is rewound and follows the other one.
    Copy(usize),
    /// A primary begins the epoch of its timeline; the rank of its number among those drawn so far.
    Begin(usize, u8),
    /// A program reads a stream from a server, for later; false if it finds another epoch than at
    /// the step before.
    Load((usize, usize), u8, bool),
    /// A program decides a command on a state.
    Decide(usize, Command, Source),
    /// A program does not trust the state that it has, and asks a server for the log's epoch.
    Outdated((usize, usize), Command),
    /// An append reaches its server.
    Append((usize, usize), Outcome),
    /// A program gives up waiting for the answer to an append.
    GiveUp((usize, usize)),
    /// A client waits no longer for a program, and sends its command to the other one.
    SendAgain(usize, Command),
    /// An append that was given up reaches its server.
    Late((usize, usize), Outcome),
    /// A program makes sure that an append that was given up is over.
    Fence((usize, usize)),
    /// A program looks for the command of an append that was given up; true if it is there.
    Find((usize, usize), bool),
    /// A program writes a snapshot.
    SaveSnapshot((usize, usize)),
    /// The projector takes its checkpoint to the log's epoch.
    Adopt(usize),
    /// The projector reads what is new.
    ReadBatch(usize),
    /// The projector's commit reaches the read database; false if it changes nothing.
    CommitBatch(bool),
    /// The projector's commit is lost on its way.
    DropBatch,
}

/// Origin of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cache.
    Cache,
    /// An early load, or the cache if that is newer.
    Load,
    /// A server; true if it was read from a snapshot on.
    Server(usize, bool),
}

/// Outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Committed,
    /// Found by its idempotency key.
    Replayed,
    /// The stream is at another version.
    Conflict,
    /// The log is in another epoch.
    NewEpoch,
}

/// An action, and the world after it, or the property that it violates.
pub struct Step {
    /// The action.
    pub action: Action,
    /// The world afterwards.
    pub next: Result<World, Violation>,
}

/// All that can happen next.
pub fn steps(world: &World, rules: &Rules, bounds: &Bounds) -> Vec<Step> {
    let mut steps = Vec::with_capacity(16);
    servers::steps(world, rules, bounds, &mut steps);
    for program in 0..world.programs.len() {
        programs::steps(world, program, (rules, bounds), &mut steps);
    }
    if bounds.projector {
        projector::steps(world, rules, &mut steps);
    }
    for step in &mut steps {
        if let Ok(next) = &mut step.next {
            forget_what_is_over(next, bounds);
        }
    }
    steps
}

/// Clears what can make no difference any more, since no command is left that would look at it.
fn forget_what_is_over(world: &mut World, bounds: &Bounds) {
    if world.commands < bounds.commands {
        return;
    }
    for program in &mut world.programs {
        let stream = match program.phase {
            Phase::Idle => None,
            Phase::Again(command) => Some(command.stream()),
            Phase::Sent(append) | Phase::Unknown(Doubt { append, .. }) => {
                Some(append.command.stream())
            }
        };
        program.loaded = program.loaded.filter(|loaded| Some(loaded.stream) == stream);
        for (cached, of) in program.cache.iter_mut().zip(0..) {
            *cached = cached.filter(|_| Some(of) == stream);
        }
        if stream.is_none() && program.snapshot.is_none() {
            program.epoch = world.projector.epoch;
        }
        if program.phase == Phase::Idle && program.snapshot.is_none() {
            program.newest = 0;
        }
    }
    if world.programs.iter().all(|program| program.phase == Phase::Idle) {
        world.programs.iter_mut().for_each(|program| program.snapshot = None);
        world.servers.iter_mut().for_each(|server| server.log.snapshots = Default::default());
    }
}

impl Action {
    /// Kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Promote(_) => "promoted",
            Self::Copy(_) => "copied",
            Self::Begin(..) => "epoch begun",
            Self::Load(.., true) => "loaded early",
            Self::Load(.., false) => "load ended",
            Self::Decide(_, _, Source::Cache) => "decided on cache",
            Self::Decide(_, _, Source::Load) => "decided on early load",
            Self::Decide(_, _, Source::Server(_, false)) => "decided",
            Self::Decide(_, _, Source::Server(_, true)) => "decided on snapshot",
            Self::Outdated(..) => "outdated",
            Self::Append(_, Outcome::Committed) => "committed",
            Self::Append(_, Outcome::Replayed) => "replayed",
            Self::Append(_, Outcome::Conflict) => "conflict",
            Self::Append(_, Outcome::NewEpoch) => "new epoch",
            Self::GiveUp(_) => "given up",
            Self::SendAgain(..) => "sent again",
            Self::Late(_, Outcome::Committed) => "committed late",
            Self::Late(..) => "refused late",
            Self::Fence(_) => "fenced",
            Self::Find(_, true) => "found",
            Self::Find(_, false) => "not found",
            Self::SaveSnapshot(_) => "snapshot saved",
            Self::Adopt(_) => "adopted",
            Self::ReadBatch(_) => "read",
            Self::CommitBatch(true) => "projected",
            Self::CommitBatch(false) => "projection overtaken",
            Self::DropBatch => "projection lost",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Promote(s) => write!(f, "server {s} is promoted"),
            Self::Copy(s) => write!(f, "server {s} follows the other one, up to its end"),
            Self::Begin(s, number) => {
                write!(f, "server {s} begins an epoch, {number}. in the order of numbers")
            }
            Self::Load((p, s), stream, true) => {
                write!(f, "program {p} loads stream {stream} from server {s}")
            }
            Self::Load((p, s), ..) => write!(f, "program {p} finds another epoch on server {s}"),
            Self::Decide(p, command, source) => {
                write!(f, "program {p} decides {command:?} on {source}")
            }
            Self::Outdated((p, s), command) => {
                write!(f, "program {p} has no state to decide {command:?} on, and asks server {s}")
            }
            Self::Append((p, s), outcome) => write!(f, "program {p} appends to {s}: {outcome:?}"),
            Self::GiveUp((p, s)) => {
                write!(f, "program {p} appends to server {s}, and waits no longer for the answer")
            }
            Self::SendAgain(p, command) => {
                write!(f, "a client waits no longer for program {p}, and sends {command:?} again")
            }
            Self::Late((p, s), outcome) => {
                write!(f, "program {p}'s given up append reaches server {s}: {outcome:?}")
            }
            Self::Fence((p, s)) => {
                write!(f, "program {p} fences its given up append on server {s}")
            }
            Self::Find((p, s), true) => write!(f, "program {p} finds its command on server {s}"),
            Self::Find((p, s), false) => {
                write!(f, "program {p} does not find its command on server {s}")
            }
            Self::SaveSnapshot((p, s)) => write!(f, "program {p} saves a snapshot on server {s}"),
            Self::Adopt(s) => write!(f, "the projector adopts the epoch of server {s}"),
            Self::ReadBatch(s) => write!(f, "the projector reads server {s}"),
            Self::CommitBatch(true) => write!(f, "the projector commits"),
            Self::CommitBatch(false) => write!(f, "the projector's commit changes nothing"),
            Self::DropBatch => write!(f, "the projector's commit is lost"),
        }
    }
}

impl Source {
    /// The server, if it was read from one just now.
    pub fn server(self) -> Option<usize> {
        if let Self::Server(server, _) = self { Some(server) } else { None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => write!(f, "its cached state"),
            Self::Load => write!(f, "what it loaded"),
            Self::Server(server, false) => write!(f, "what it reads from server {server}"),
            Self::Server(server, true) => {
                write!(f, "a snapshot that it reads from server {server}")
            }
        }
    }
}
