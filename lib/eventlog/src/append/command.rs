//! What is appended, and what became of it.

use headwater_kernel::{Epoch, NewEvent, Partition, Position, StreamId, StreamVersion};
use time::OffsetDateTime;
use uuid::Uuid;

/// A command as the log sees it.
#[derive(Clone, Debug)]
pub struct Command {
    /// The stream it is about.
    pub stream: StreamId,
    /// The version it was decided on; another one makes it drop out.
    pub expected: StreamVersion,
    /// Its id.
    pub command_id: Uuid,
    /// Who sent it.
    pub caller: Option<String>,
    /// The W3C trace context it is handled in.
    pub traceparent: Option<String>,
    /// Its idempotency key, if it has one.
    pub key: Option<Key>,
    /// What it causes. Without events the command is only checked.
    pub events: Vec<NewEvent>,
    /// Claims, marks and guards.
    pub facts: Vec<Fact>,
}

/// Hashes of an idempotency key and of the payload it was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of the key.
    pub key: Uuid,
    /// Of the command.
    pub payload: Uuid,
    /// Whether a receipt is to be stored; false only looks for one (a refused command has none).
    pub store: bool,
}

/// A claim, mark or guard of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What is checked or changed.
    pub kind: FactKind,
    /// The claim's value or the mark's name.
    pub name: String,
}

/// Kind of a [`Fact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FactKind {
    /// Takes a claim; fails if another stream has it.
    TakeClaim,
    /// Frees a claim of this stream.
    FreeClaim,
    /// Sets a mark of this stream.
    SetMark,
    /// Clears a mark of this stream.
    ClearMark,
    /// Fails unless some stream has set the mark.
    MarkPresent,
    /// Fails if some stream has set the mark.
    MarkAbsent,
}

/// What became of one command of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed; its events, if any, are in the log.
    Committed(Receipt),
    /// Its key had been applied before.
    Replayed(Receipt),
    /// Its key had been applied before with another payload.
    KeyReused,
    /// The stream is at another version.
    VersionConflict(StreamVersion),
    /// The fact with this index did not hold.
    FactFailed(usize),
}

/// Where a command's effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its stream.
    pub stream: StreamId,
    /// The partition.
    pub partition: Partition,
    /// Where the effect is visible: the position of its last event, or the head it was checked at.
    pub position: Position,
    /// The epoch of the log that the position is of.
    pub epoch: Epoch,
    /// Version of the stream after it.
    pub version: StreamVersion,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}
