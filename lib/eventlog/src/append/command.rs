//! Commands of a batch, and their outcomes.

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
    /// Id of the command.
    pub command_id: Uuid,
    /// Sender of the command.
    pub caller: Option<String>,
    /// The W3C trace context it is handled in.
    pub traceparent: Option<String>,
    /// Idempotency key, if it has one.
    pub key: Option<Key>,
    /// Events that the command causes. Without events it is only checked.
    pub events: Vec<NewEvent>,
    /// Claims, marks and guards.
    pub facts: Vec<Fact>,
}

/// An idempotency key and the payload it was sent with, as the log stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key: itself if it is a UUIDv7, which keeps the index in order, else a hash.
    pub key: Uuid,
    /// The hash that programs of edition 2 stored of it.
    pub old_key: Uuid,
    /// Hash of the command.
    pub payload: Uuid,
    /// True if the key is to be remembered; false only looks for it (that of a refused command is
    /// not).
    pub store: bool,
}

/// A claim, mark or guard of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Check or change of the fact.
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

/// Outcome of one command of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Passed; the events, if any, are in the log.
    Committed(Receipt),
    /// Key found: applied before.
    Replayed(Receipt),
    /// Key found, applied before with another payload.
    KeyReused,
    /// The stream is at another version.
    VersionConflict(StreamVersion),
    /// The fact with this index did not hold.
    FactFailed(usize),
}

/// Place of a command's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Stream of the aggregate.
    pub stream: StreamId,
    /// The partition.
    pub partition: Partition,
    /// Position at which the effect is visible: the one of its last event, or the head it was
    /// checked at.
    pub position: Position,
    /// The epoch of the log that the position is of.
    pub epoch: Epoch,
    /// Version of the stream after it.
    pub version: StreamVersion,
    /// Time of recording.
    pub recorded_at: OffsetDateTime,
}
