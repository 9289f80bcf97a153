//! Rules of the protocol, and in place of each the mistake that it prevents.

use crate::history::STREAMS;

/// Rules that the programs and the databases keep.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Known states that a command may be decided on.
    pub trust: Trust,
    /// True if a program asks for the log's epoch when it trusts no state: an append would learn of
    /// it, but there is none.
    pub outdated_follows: bool,
    /// Snapshots that a load may begin from.
    pub snapshots: SnapshotTrust,
    /// Numbers of new epochs.
    pub numbers: Numbers,
    /// True if an append is refused on a server that was promoted since its epoch began.
    pub append_compares_timelines: bool,
    /// True if a load in several steps ends when one of them finds another epoch.
    pub loads_compare_epochs: bool,
    /// True if the server process of an append without an answer is ended before the append's
    /// command is looked for, if it is on the server that is asked.
    pub resolve_fences: bool,
    /// True if a command without a key is decided again only if its append was fenced and looked
    /// for on the server that it was sent to. Else its client is told that the outcome is unknown:
    /// after every failover, for the sake of a rare one.
    pub keyless_again_only_where_sent: bool,
    /// True if the projector goes on in another epoch only if the log has the checkpoint's digest.
    pub projector_compares_digests: bool,
    /// True if the projector stops at an epoch with a lower number than the checkpoint's. Needless:
    /// one that is not among the checkpoint's own may be beside it.
    pub projector_compares_numbers: bool,
    /// True if a checkpoint's revision rises when it is taken to another epoch.
    pub adoption_raises_revision: bool,
}

/// Rule for known states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only of the very epoch that the batch will be of.
    SameEpoch,
    /// Of any epoch whose number is not lower. Mistaken: numbers are drawn, and of two servers that
    /// were promoted from one ancestor either may have the lower one.
    NotEarlier,
}

/// Rule for snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotTrust {
    /// The event at its version is still at its position, and of the command that it names.
    Command,
    /// Some event of the stream is at its version and position. Mistaken: after a failover that may
    /// be another one.
    Place,
}

/// Rule for the numbers of epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Drawn, from far more than there will ever be: no two epochs get the same one.
    Drawn,
    /// One more than before. Mistaken: two servers promoted from one ancestor count alike.
    Counted,
}

impl Rules {
    /// The rules in force, on a log of the newest edition.
    pub const IN_FORCE: Self = Self {
        trust: Trust::SameEpoch,
        outdated_follows: true,
        snapshots: SnapshotTrust::Command,
        numbers: Numbers::Drawn,
        append_compares_timelines: true,
        loads_compare_epochs: true,
        resolve_fences: true,
        keyless_again_only_where_sent: false,
        projector_compares_digests: true,
        projector_compares_numbers: true,
        adoption_raises_revision: true,
    };
}

/// Bounds of a search, and parts of the system that are left out of it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Commands that clients send.
    pub commands: u8,
    /// Promotions.
    pub promotions: u8,
    /// Streams that the commands are for.
    pub streams: u8,
    /// Commands have idempotency keys.
    pub keys: bool,
    /// Loads may come late: what they read is used long after, beside what is cached meanwhile.
    pub late_loads: bool,
    /// Loads beside them take two steps, as those of long streams do.
    pub long_loads: bool,
    /// Answers that are not waited for: by a program, or by a client, who sends its command to the
    /// other program too, if it has a key.
    pub given_up: u8,
    /// Snapshots are written, one a command.
    pub snapshots: bool,
    /// The projector works.
    pub projector: bool,
    /// In every state a program that nothing disturbs is checked to get a command through.
    pub progress: bool,
}

impl Bounds {
    /// Nothing but commands that are answered.
    pub const fn of(commands: u8, promotions: u8) -> Self {
        Self {
            commands,
            promotions,
            streams: STREAMS,
            keys: true,
            late_loads: false,
            long_loads: false,
            given_up: 0,
            snapshots: false,
            projector: false,
            progress: false,
        }
    }
}
