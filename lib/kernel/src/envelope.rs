//! Events on their way into the log and out of it.

use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::{Partition, Position, StreamId, StreamVersion};

/// An event that is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Full protobuf name of the payload's message.
    pub type_name: &'static str,
    /// Version of the type's meaning, from 1; raised when an upcast is needed to read older ones.
    pub schema_version: u16,
    /// The encoded message; at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// Names by which queries find it: a function of the message, which its digest covers, so that
    /// they can be checked and made anew. At most [`TAGS_MAX`], of at most [`TAG_BYTES_MAX`] each.
    pub tags: Vec<String>,
    /// Person or organisation whom the payload tells of, if it holds personal data: what is to be
    /// found and made unreadable when they ask for it.
    pub subject: Option<Subject>,
}

/// The one whom personal data is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The aggregate whose event it is, by its stream's id.
    Own,
    /// Somebody else, by an id of the domain that is no personal data itself; a text as a tag is.
    Other(String),
}

/// The subject of messages that are about the aggregate itself, for
/// [`event_set!`](crate::event_set).
pub fn own_subject<M>(_: &M) -> Option<Subject> {
    Some(Subject::Own)
}

/// The most tags an event may have.
pub const TAGS_MAX: usize = 16;
/// The longest tag; it holds no NUL.
pub const TAG_BYTES_MAX: usize = 200;

/// True if a text may be a tag.
pub fn is_tag(text: &str) -> bool {
    text.len() <= TAG_BYTES_MAX && !text.contains('\0')
}

/// The largest payload of one event. Events are facts, not documents; a megabyte here would stall a
/// partition.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The most events one command may cause: a command is atomic, so this bounds a batch.
pub const EVENTS_PER_COMMAND_MAX: usize = 256;

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The partition it is in.
    pub partition: Partition,
    /// Position in the partition.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Version of the stream with the event.
    pub version: StreamVersion,
    /// Full protobuf name of the payload's message.
    pub type_name: String,
    /// Version of the type's meaning.
    pub schema_version: u16,
    /// The encoded message.
    pub payload: Vec<u8>,
    /// The command that caused it.
    pub command_id: Uuid,
    /// Sender of the command, if known.
    pub caller: Option<String>,
    /// W3C trace context in which the command was handled, if it was traced.
    pub traceparent: Option<String>,
    /// Time of recording, by the write database's clock; never decreases along a partition.
    pub recorded_at: OffsetDateTime,
}

/// Error of stored bytes that could not be understood.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// No event of the set has this type.
    #[error("no event of this kind has the type {type_name}")]
    UnknownType {
        /// The stored type name.
        type_name: String,
    },
    /// Written by a newer program than this one.
    #[error(
        "{type_name} has schema version {found}, newer than the {known} this program knows; upgrade it"
    )]
    NewerSchema {
        /// The stored type name.
        type_name: String,
        /// The stored version.
        found: u16,
        /// The newest version this program can read.
        known: u16,
    },
    /// The payload is not what its type says.
    #[error("the payload of {type_name} v{schema_version} cannot be decoded: {cause}")]
    Payload {
        /// The stored type name.
        type_name: String,
        /// The stored version.
        schema_version: u16,
        /// The decoder's words.
        cause: String,
    },
}

/// A closed set of event types: those of one aggregate, or all that a projection reads.
pub trait EventSet: Sized + Send + Sync + 'static {
    /// Encodes the event in the newest version of its schema.
    fn encode(&self) -> NewEvent;

    /// Decodes a stored event, upcasting older versions.
    ///
    /// # Errors
    /// An unknown type, a newer schema than this program's, or a payload that is not of its type.
    fn decode(type_name: &str, schema_version: u16, payload: &[u8]) -> Result<Self, DecodeError>;

    /// True if events with this type name belong to the set.
    fn knows(type_name: &str) -> bool {
        !matches!(Self::decode(type_name, 0, &[]), Err(DecodeError::UnknownType { .. }))
    }
}

/// Defines an enum of event sets as an [`EventSet`]: what a view of several aggregates reads, or
/// everything that a log holds. Each line is `Variant(Set);`.
#[macro_export]
macro_rules! event_sets {
    ($(#[$meta:meta])* $vis:vis enum $sum:ident {
        $($(#[$variant_meta:meta])* $variant:ident($set:ty);)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $sum {
            $($(#[$variant_meta])* $variant($set),)*
        }

        $(impl From<$set> for $sum {
            fn from(event: $set) -> Self {
                Self::$variant(event)
            }
        })*

        impl $crate::EventSet for $sum {
            fn encode(&self) -> $crate::NewEvent {
                match self {
                    $(Self::$variant(event) => $crate::EventSet::encode(event),)*
                }
            }

            fn decode(
                type_name: &str,
                schema_version: u16,
                payload: &[u8],
            ) -> Result<Self, $crate::DecodeError> {
                $(if <$set as $crate::EventSet>::knows(type_name) {
                    return <$set as $crate::EventSet>::decode(type_name, schema_version, payload)
                        .map(Self::$variant);
                })*
                Err($crate::DecodeError::UnknownType { type_name: type_name.to_owned() })
            }

            fn knows(type_name: &str) -> bool {
                false $(|| <$set as $crate::EventSet>::knows(type_name))*
            }
        }
    };
}

/// Defines an enum of protobuf messages as an [`EventSet`].
///
/// Each line is `Variant(Message) = "full.type.Name" @ current_version`, optionally followed by
/// `, upcast function`, where
/// `function(schema_version: u16, payload: &[u8]) -> Result<Message, prost::DecodeError>` reads
/// every older version; and then by `, tags function`, where
/// `function(message: &Message) -> Vec<String>` gives the event's tags; and by `, subject function`
/// for a message with personal data, where `function(message: &Message) -> Option<Subject>` tells
/// whom it is about ([`own_subject`](crate::envelope::own_subject): the aggregate itself).
#[macro_export]
macro_rules! event_set {
    ($(#[$meta:meta])* $vis:vis enum $set:ident {
        $($variant:ident($message:ty) = $name:literal @ $version:literal
            $(, upcast $upcast:path)? $(, tags $tags:path)? $(, subject $subject:path)?;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $set {
            $(#[doc = concat!("`", $name, "`.")] $variant($message),)*
        }

        $(impl From<$message> for $set {
            fn from(message: $message) -> Self {
                Self::$variant(message)
            }
        })*

        impl $crate::EventSet for $set {
            fn encode(&self) -> $crate::NewEvent {
                match self {
                    $(Self::$variant(message) => $crate::NewEvent {
                        type_name: $name,
                        schema_version: $version,
                        payload: ::prost::Message::encode_to_vec(message),
                        tags: {
                            #[allow(unused_mut, unused_assignments)]
                            let mut tags = ::std::vec::Vec::new();
                            $(tags = $tags(message);)?
                            tags
                        },
                        subject: {
                            #[allow(unused_mut, unused_assignments)]
                            let mut subject = None;
                            $(subject = $subject(message);)?
                            subject
                        },
                    },)*
                }
            }

            fn decode(
                type_name: &str,
                schema_version: u16,
                payload: &[u8],
            ) -> Result<Self, $crate::DecodeError> {
                match type_name {
                    $($name => {
                        if schema_version > $version {
                            return Err($crate::DecodeError::NewerSchema {
                                type_name: type_name.to_owned(),
                                found: schema_version,
                                known: $version,
                            });
                        }
                        #[allow(unused_mut, unused_assignments)]
                        let mut decoded = None;
                        $(if schema_version < $version {
                            decoded = Some($upcast(schema_version, payload));
                        })?
                        decoded
                            .unwrap_or_else(|| <$message as ::prost::Message>::decode(payload))
                            .map(Self::$variant)
                            .map_err(|cause| $crate::DecodeError::Payload {
                                type_name: type_name.to_owned(),
                                schema_version,
                                cause: cause.to_string(),
                            })
                    })*
                    _ => Err($crate::DecodeError::UnknownType { type_name: type_name.to_owned() }),
                }
            }

            fn knows(type_name: &str) -> bool {
                matches!(type_name, $($name)|*)
            }
        }
    };
}
