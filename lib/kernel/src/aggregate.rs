//! Traits and types that a domain implements on the write side.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::envelope::EventSet;
use crate::ids::StreamId;

/// A consistency boundary: its state is the fold of its stream, and commands are decided on that
/// state alone.
///
/// Both functions are pure: time, ids and the caller come in as data, so that deciding again after
/// a conflict, or on top of a decision that is not committed yet, gives the same answer for the
/// same state.
pub trait Aggregate: Clone + Default + Send + Sync + 'static {
    /// Name for logs and metrics, such as `store`.
    const NAME: &'static str;
    /// Commands of the aggregate.
    type Command: Send + Sync + 'static;
    /// Events of the aggregate.
    type Event: EventSet;

    /// Decides a command: the events it causes, or its refusal. No events means that the command
    /// changes nothing.
    ///
    /// # Errors
    /// The rejection that the client is answered with.
    fn decide(&self, command: &Self::Command, context: &Context) -> Decided<Self::Event>;

    /// The state after an event. Never refuses: what is in the log has happened.
    fn evolve(&mut self, event: &Self::Event);

    /// The claims and marks that a stream in this state holds: what its commands have taken and
    /// set, and not freed or cleared since. The log's tables of them are compared with that, and
    /// made anew from it (`headwater verify claims`, `headwater rebuild claims`), also after a new
    /// mark came to streams that are there already. `None`, the default, leaves those of the stream
    /// alone: right for an aggregate without any.
    fn holdings(&self, _stream: StreamId) -> Option<Holdings> {
        None
    }

    /// The one format of snapshots that [`Aggregate::restore`] reads: those of other formats, made
    /// by programs of another version that run beside this one, are left to them. `None` if it
    /// looks at the newest one, whatever its format.
    const SNAPSHOT_FORMAT: Option<u16> = None;

    /// The state as bytes, if streams of this aggregate grow so long that folding them takes too
    /// long; with the version of that format, which is raised whenever its meaning changes, so that
    /// older snapshots are ignored.
    fn snapshot(&self) -> Option<Snapshot> {
        None
    }

    /// The state that [`Aggregate::snapshot`] made these bytes from; `None` if they are of another
    /// format, and then the whole stream is folded.
    fn restore(_snapshot: &Snapshot) -> Option<Self> {
        None
    }
}

/// A state in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the format of `state`.
    pub format: u16,
    /// The aggregate's state.
    pub state: Vec<u8>,
}

/// Knowledge of a decision besides the state.
#[derive(Clone, Debug)]
pub struct Context {
    /// The stream of the aggregate.
    pub stream: StreamId,
    /// Id of the command.
    pub command_id: Uuid,
    /// Sender, if known.
    pub caller: Option<String>,
    /// Arrival time.
    pub now: OffsetDateTime,
}

/// The effects of a command, or its refusal.
pub type Decided<E> = Result<Decision<E>, Rejection>;

/// Effects of a command; all of them are committed in one transaction, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<E> {
    /// The events, in order; at most
    /// [`EVENTS_PER_COMMAND_MAX`](crate::envelope::EVENTS_PER_COMMAND_MAX).
    pub events: Vec<E>,
    /// Values to take or free in the whole log.
    pub claims: Vec<Claim>,
    /// Marks to set or clear, for the guards of other streams of the partition.
    pub marks: Vec<Mark>,
    /// Conditions on the marks of the partition.
    pub guards: Vec<Guard>,
}

/// The claims and marks that one stream holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Values that it has taken, and not freed since.
    pub claims: Vec<String>,
    /// Marks that it has set, and not cleared since.
    pub marks: Vec<String>,
}

/// A change to the set of claimed values, each of which belongs to one stream of the whole log at a
/// time.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Take a value for this stream.
    Take {
        /// The value, such as `email/a@b.example`; at most 400 bytes.
        value: String,
        /// Answer if another stream has it.
        taken: Rejection,
    },
    /// Free a value that this stream has taken.
    Free {
        /// The value.
        value: String,
    },
}

/// A change to the marks of the partition. A mark is a name that any number of streams can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The name, such as `store/<id>/stock`; at most 400 bytes.
    pub name: String,
    /// True sets this stream's mark, false clears it; either is without effect if it is so already.
    pub set: bool,
}

/// A condition that must hold when the events are appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Name of the mark.
    pub mark: String,
    /// True if some stream must have set it, false if none may have.
    pub present: bool,
    /// Answer if the condition does not hold.
    pub otherwise: Rejection,
}

/// The domain said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The class of refusal.
    pub kind: RejectionKind,
    /// Stable code for programs, such as `INSUFFICIENT_STOCK`.
    pub reason: &'static str,
    /// A sentence for people: what happened and what to do. Safe to show to the client.
    pub message: String,
    /// The request's field that is wrong, such as `amount.currency`, if it is a field's fault.
    pub field: Option<&'static str>,
}

/// Class of a refusal; each is one gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// The aggregate does not exist: NOT_FOUND.
    NotFound,
    /// Something of that name exists already: ALREADY_EXISTS.
    AlreadyExists,
    /// The state does not allow it: FAILED_PRECONDITION.
    FailedPrecondition,
    /// The command itself is wrong in a way that shows only beside the state: INVALID_ARGUMENT.
    InvalidArgument,
}

impl<E> Decision<E> {
    /// Nothing happens.
    pub fn nothing() -> Self {
        Self::events([])
    }

    /// One event.
    pub fn event(event: impl Into<E>) -> Self {
        Self::events([event.into()])
    }

    /// Several events.
    pub fn events(events: impl IntoIterator<Item = E>) -> Self {
        Self {
            events: events.into_iter().collect(),
            claims: Vec::new(),
            marks: Vec::new(),
            guards: Vec::new(),
        }
    }

    /// Takes a value that must be unique in the whole log.
    #[must_use]
    pub fn taking(mut self, value: impl Into<String>, taken: Rejection) -> Self {
        self.claims.push(Claim::Take { value: value.into(), taken });
        self
    }

    /// Frees a value taken before.
    #[must_use]
    pub fn freeing(mut self, value: impl Into<String>) -> Self {
        self.claims.push(Claim::Free { value: value.into() });
        self
    }

    /// Sets or clears a mark of this stream.
    #[must_use]
    pub fn marking(mut self, name: impl Into<String>, set: bool) -> Self {
        self.marks.push(Mark { name: name.into(), set });
        self
    }

    /// Requires that some stream of the partition has set the mark (`present`), or that none has.
    #[must_use]
    pub fn guarded(mut self, mark: impl Into<String>, present: bool, otherwise: Rejection) -> Self {
        self.guards.push(Guard { mark: mark.into(), present, otherwise });
        self
    }
}

impl Rejection {
    /// A refusal of the given kind.
    pub fn new(kind: RejectionKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), field: None }
    }

    /// The same, with the name of the request's field that is wrong.
    #[must_use]
    pub fn of_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// A refusal because of the state that the aggregate is in.
    pub fn failed_precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(RejectionKind::FailedPrecondition, reason, message)
    }
}
