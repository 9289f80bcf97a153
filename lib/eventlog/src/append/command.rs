//! Commands of a batch, and their outcomes.

use headwater_kernel::{Epoch, NewEvent, Partition, Position, Query, StreamId, StreamVersion};
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
    /// The query that it was decided on, if that is not its stream alone.
    pub boundary: Option<Box<Boundary>>,
}

/// Base of a command that was decided on the events that a query matches, and the streams that its
/// own events go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The query.
    pub query: Query,
    /// The position up to which the partition had been read; an event after it that the query
    /// matches makes the command drop out.
    pub after: Position,
    /// Of each stream that the query names a version that it had there, or one since which nothing
    /// was added that the query matches.
    pub versions: Vec<(StreamId, StreamVersion)>,
    /// Number of events of commands before it in the batch that the query matches, all of which it
    /// was decided on; with any other number it drops out.
    pub ahead: usize,
    /// The streams that the command's events and facts go to, in their order.
    pub parts: Vec<Part>,
}

/// Some of a command's events and facts, those of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The stream. No two parts of a command are of the same one.
    pub stream: StreamId,
    /// The version it was decided on; another one makes the command drop out.
    pub expected: StreamVersion,
    /// Number of its events.
    pub events: usize,
    /// Number of its facts.
    pub facts: usize,
}

impl Command {
    /// The streams that its events and facts go to, in their order: its own, unless it has a
    /// boundary.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let boundary = self.boundary.as_deref();
        let events = self.events.len();
        let own =
            Part { stream: self.stream, expected: self.expected, events, facts: self.facts.len() };
        let parts = boundary.map_or(&[][..], |boundary| boundary.parts.as_slice());
        boundary.is_none().then_some(own).into_iter().chain(parts.iter().copied())
    }

    /// The part of its last event: what its receipt tells of. Its own stream, if it has no events.
    pub(super) fn last_part(&self) -> Part {
        let own = Part { stream: self.stream, expected: self.expected, events: 0, facts: 0 };
        self.parts().filter(|part| part.events > 0).last().unwrap_or(own)
    }

    /// Its events, with the stream and version of each.
    pub fn placed(&self) -> impl Iterator<Item = (StreamId, StreamVersion, &NewEvent)> {
        let place = |part: Part| {
            (1..=part.events as u64).map(move |n| (part.stream, part.expected.plus(n)))
        };
        let places = self.parts().flat_map(place);
        places.zip(&self.events).map(|((stream, version), event)| (stream, version, event))
    }
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
    /// The stream is at this version, another one than was expected; or events were added to what
    /// the command was decided on.
    VersionConflict(StreamVersion),
    /// The fact with this index did not hold.
    FactFailed(usize),
}

impl Outcome {
    /// True if another command came first: one with the same key, or on what it was decided on.
    pub(super) fn came_too_late(&self) -> bool {
        matches!(self, Self::Replayed(_) | Self::KeyReused | Self::VersionConflict(_))
    }
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
