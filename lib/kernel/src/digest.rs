//! The chain of digests that makes a log's history checkable by one value.
//!
//! Each event has a digest of its contents, made by the program that appends it. The append chains
//! a whole batch: `head = SHA-256(previous head ‖ recorded time ‖ digest of event 1 ‖ … ‖ digest of
//! event n)`, computed in the database while it holds the partition's lock, and stored with the
//! last event of the batch.

use std::fmt;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ids::{StreamId, StreamVersion};

/// A SHA-256 value: of one event's contents, or of a partition's history up to a position.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// Contents of an event that its digest covers: everything but its position, which the order of
/// chaining covers, and its recorded time, which the chaining itself covers.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Version of the stream with the event.
    pub version: StreamVersion,
    /// Protobuf type name.
    pub type_name: &'a str,
    /// Version of the type's meaning.
    pub schema_version: u16,
    /// Protobuf bytes.
    pub payload: &'a [u8],
    /// The command that caused it.
    pub command_id: Uuid,
    /// Sender of the command.
    pub caller: Option<&'a str>,
    /// The W3C trace context it was sent in.
    pub traceparent: Option<&'a str>,
}

impl Digest {
    /// The head digest of a partition without events.
    pub const EMPTY: Self = Self([0; 32]);

    /// Digest of one event's contents. Every variable part is preceded by its length, so that no
    /// two different events have the same input.
    pub fn of_contents(contents: &Contents<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update(contents.stream.0.as_bytes());
        hash.update(contents.version.0.to_be_bytes());
        hash.update(contents.schema_version.to_be_bytes());
        hash.update(contents.command_id.as_bytes());
        let parts: [&[u8]; 4] = [
            contents.type_name.as_bytes(),
            contents.payload,
            contents.caller.unwrap_or_default().as_bytes(),
            contents.traceparent.unwrap_or_default().as_bytes(),
        ];
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The head digest after a batch: `self` is the one before it, `recorded_micros` the batch's
    /// recorded time in microseconds since 1970, `events` the digests of its events in the order of
    /// their positions.
    pub fn chain(self, recorded_micros: i64, events: impl IntoIterator<Item = Digest>) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(recorded_micros.to_be_bytes());
        for event in events {
            hash.update(event.0);
        }
        Self(hash.finalize().into())
    }

    /// Reads a stored digest; `None` unless it has exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
