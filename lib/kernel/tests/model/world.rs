//! State of everything that is modelled, as plain values.

use crate::epochs::{EpochId, Epochs};
use crate::history::{Command, History, PerStream};

/// Servers, programs, the projector, and what was ever true.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    /// Epochs that were begun.
    pub epochs: Epochs,
    /// Servers of the write database.
    pub servers: [Server; 2],
    /// Copies of command-svc.
    pub programs: [Program; 2],
    /// The projector, and the checkpoint that queries are judged by.
    pub projector: Projector,
    /// Commands that clients sent.
    pub commands: u8,
    /// Promotions that there were.
    pub promotions: u8,
    /// Answers that were not waited for.
    pub given_up: u8,
}

/// A server of the write database, with what its copy of the log holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// True if it takes writes, be it replaced or not.
    pub is_primary: bool,
    /// The timeline that it writes on, or follows.
    pub timeline: u8,
    /// The database.
    pub log: Log,
}

/// The database of a server: a standby's is what its primary's was at some time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// The epoch in the log's row. Where each epoch began, which the database stores too, follows
    /// from it.
    pub epoch: EpochId,
    /// The timeline in the log's row: that on which the epoch began.
    pub timeline: u8,
    /// The events.
    pub events: History,
    /// The newest snapshot of each stream.
    pub snapshots: PerStream<Option<Snapshot>>,
}

/// A snapshot: the state, and the position of its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snapshot {
    /// The state that was saved; its last event's command is what the snapshot names.
    pub state: History,
    /// Position of the last event.
    pub position: u8,
}

/// A copy of command-svc. It handles one command at a time; a load beside it stands for those of
/// other commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Program {
    /// The newest timeline that it has seen: it uses no server on an earlier one.
    pub newest: u8,
    /// The appender's epoch.
    pub epoch: EpochId,
    /// Cached states by stream.
    pub cache: PerStream<Option<Versioned>>,
    /// A state that was read from a database, and waits to be used.
    pub loaded: Option<Loaded>,
    /// The command under way.
    pub phase: Phase,
    /// An append that was given up without an answer, and may still be carried out: the last one,
    /// or none, if it was lost.
    pub orphan: Option<Orphan>,
    /// A snapshot that waits to be written.
    pub snapshot: Option<Snapshot>,
}

/// A state with its epoch; its version is its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versioned {
    /// The epoch that it was read or committed in.
    pub epoch: EpochId,
    /// The events that it was folded from.
    pub state: History,
}

/// A loaded state of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loaded {
    /// The stream.
    pub stream: u8,
    /// The state.
    pub state: Versioned,
    /// True once all steps of the load are done.
    pub is_whole: bool,
}

/// Progress of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// No command.
    Idle,
    /// To be decided again.
    Again(Command),
    /// Decided, and on its way to the server.
    Sent(Append),
    /// Outcome unknown.
    Unknown(Doubt),
}

/// A command as it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Append {
    /// The command.
    pub command: Command,
    /// The epoch that it demands.
    pub epoch: EpochId,
    /// The state that it was decided on; the append demands its version.
    pub base: History,
}

/// An append whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Doubt {
    /// The append.
    pub append: Append,
    /// The server that it was sent to, if that makes a difference and it was fenced nowhere else.
    pub sent_to: Option<usize>,
    /// True once the process that may have committed it is not on the server that was asked.
    pub is_fenced: bool,
}

/// An append that nobody waits for any more, on its way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Orphan {
    /// The server that it was sent to.
    pub server: usize,
    /// The append.
    pub append: Append,
}

/// The projector, with the views and their checkpoint in the read database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Projector {
    /// The newest timeline that it has seen.
    pub newest: u8,
    /// The checkpoint's epoch.
    pub epoch: EpochId,
    /// The events that the views show: the checkpoint's position and digest.
    pub shown: History,
    /// Number of times that the checkpoint was taken to another epoch.
    pub revision: u8,
    /// A batch that was read, and not committed yet.
    pub batch: Option<Batch>,
}

/// Events to be committed on top of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch {
    /// Position and digest of the checkpoint.
    pub from: History,
    /// Revision of the checkpoint.
    pub revision: u8,
    /// The events that the views show afterwards.
    pub to: History,
}

impl World {
    /// A primary with an empty log, its standby, and programs that know the primary.
    pub fn start() -> Self {
        let epochs = Epochs::first();
        let epoch = EpochId::default();
        let events = History::default();
        let log = Log { epoch, timeline: 1, events, snapshots: [None; 2] };
        let primary = Server { is_primary: true, timeline: 1, log };
        let standby = Server { is_primary: false, ..primary };
        let program = Program {
            newest: 1,
            epoch,
            cache: [None; 2],
            loaded: None,
            phase: Phase::Idle,
            orphan: None,
            snapshot: None,
        };
        let projector = Projector { newest: 1, epoch, shown: events, revision: 0, batch: None };
        let servers = [primary, standby];
        Self {
            epochs,
            servers,
            programs: [program; 2],
            projector,
            commands: 0,
            promotions: 0,
            given_up: 0,
        }
    }

    /// Servers that a process may use which has seen this timeline: whichever it happens to reach,
    /// but none on an earlier one (servers/choice.rs).
    pub fn primaries(&self, newest: u8) -> impl Iterator<Item = (usize, &Server)> {
        let servers = self.servers.iter().enumerate();
        servers.filter(move |(_, server)| server.is_primary && server.timeline >= newest)
    }
}

impl Server {
    /// True if it has begun the epoch of its timeline.
    pub fn is_begun(&self) -> bool {
        self.log.timeline == self.timeline
    }
}
