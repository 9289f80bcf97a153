//! Aggregates of any type behind one face, so that one appender batches them all.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use headwater_eventlog::{Fact, FactKind, Part};
use headwater_kernel::aggregate::{Claim, Guard, Mark, Snapshot};
use headwater_kernel::{
    Aggregate, Context, DecodeError, Epoch, EventSet as _, NewEvent, Partition, Position, Query,
    RecordedEvent, Rejection, StreamId, StreamVersion,
};

/// The state of an aggregate of some type.
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;

/// Folds an event into the state of an aggregate of some type.
pub(crate) type Evolve = fn(&mut AnyState, EventRef<'_>) -> Result<(), DecodeError>;

/// A state with its epoch and version: the base of a decision (optimistic concurrency).
#[derive(Clone)]
pub(crate) struct VersionedState {
    /// The epoch of the log whose history it is of.
    pub epoch: Epoch,
    /// The version it shows; of a boundary, the one of the command's own stream.
    pub version: StreamVersion,
    /// The state.
    pub state: AnyState,
    /// Estimate of the memory that the state holds beside its own size: as much as its last
    /// snapshot, or where it makes none all of its events, and the events since.
    pub heap_bytes: usize,
    /// Of a boundary: how far its events have been read.
    pub extent: Option<Extent>,
    /// Of a stream: what folds the next event of it.
    pub evolve: Option<Evolve>,
}

/// How far the events of a boundary have been read.
#[derive(Clone, Default)]
pub(crate) struct Extent {
    /// All that its query matches up to this position is in the state.
    pub after: Position,
    /// Number of events in it that are of the batch, and not in the log yet.
    pub ahead: usize,
    /// Versions of streams as they were read, or as they were committed.
    pub base: Arc<HashMap<StreamId, StreamVersion>>,
    /// The same with the events of the batch.
    pub reached: HashMap<StreamId, StreamVersion>,
    /// True if there is known to be more in the log.
    pub outdated: bool,
}

/// Most streams whose versions are kept beside those that the query names.
const VERSIONS_MAX: usize = 64;

impl Extent {
    /// The extent once the batch's events up to this position are in the log.
    pub(crate) fn committed(mut self, position: Position, query: &Query) -> Self {
        let named = query.named_streams();
        if self.reached.len() > named.len() + VERSIONS_MAX {
            self.reached.retain(|stream, _| named.binary_search(stream).is_ok());
        }
        let base = Arc::new(self.reached.clone());
        Self { after: position, ahead: 0, base, reached: self.reached, outdated: false }
    }
}

impl VersionedState {
    /// Of two states of the same thing and epoch the one that shows more has the higher number.
    pub(crate) fn progress(&self) -> u64 {
        self.extent.as_ref().map_or(self.version.0, |extent| extent.after.0)
    }
}

/// Names a state: a stream's, or that of a model on what a query matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StateKey {
    Stream(StreamId),
    Boundary(BoundaryKey),
}

/// Names the state of a model on what a query matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BoundaryKey {
    pub model: TypeId,
    pub partition: Partition,
    pub query: Arc<Query>,
}

impl BoundaryKey {
    /// True if the query matches an event.
    pub(crate) fn matches(&self, stream: StreamId, event: &NewEvent) -> bool {
        self.query.matches(stream, event.type_name, &event.tags)
    }
}

/// An event in bytes.
#[derive(Clone, Copy)]
pub(crate) struct EventRef<'a> {
    pub stream: StreamId,
    pub type_name: &'a str,
    pub schema_version: u16,
    pub payload: &'a [u8],
}

impl<'a> EventRef<'a> {
    pub(crate) fn of(stream: StreamId, event: &'a NewEvent) -> Self {
        let NewEvent { type_name, schema_version, payload, .. } = event;
        Self { stream, type_name, schema_version: *schema_version, payload }
    }

    pub(crate) fn recorded(event: &'a RecordedEvent) -> Self {
        let RecordedEvent { stream, type_name, schema_version, payload, .. } = event;
        Self { stream: *stream, type_name, schema_version: *schema_version, payload }
    }
}

/// A command together with the aggregate it is for.
pub(crate) trait Decider: Send + Sync {
    /// Decides on a state. Pure: the same state gives the same verdict.
    fn decide(&self, current: &VersionedState) -> Verdict;
    /// The state before the first event.
    fn blank(&self) -> AnyState;
    /// The state after an event.
    fn evolve(&self, state: &mut AnyState, event: EventRef<'_>) -> Result<(), DecodeError>;
    /// The aggregate's name, and the state in bytes if it wants snapshots.
    fn snapshot(&self, state: &AnyState) -> Option<(&'static str, Snapshot)>;
    /// The aggregate's name and the type of its commands, for logs.
    fn names(&self) -> (&'static str, &'static str);
    /// What it is decided on, if that is not its stream alone.
    fn boundary(&self) -> Option<&BoundaryKey> {
        None
    }
}

/// Folds an event into the state of an aggregate of this type.
pub(crate) fn evolve<A: Aggregate>(
    state: &mut AnyState,
    event: EventRef<'_>,
) -> Result<(), DecodeError> {
    let decoded = A::Event::decode(event.type_name, event.schema_version, event.payload)?;
    own::<A>(state, event)?.evolve(&decoded);
    Ok(())
}

/// The state, to be changed: a copy if others hold it, too.
pub(crate) fn own<'a, S: Clone + Send + Sync + 'static>(
    state: &'a mut AnyState,
    event: EventRef<'_>,
) -> Result<&'a mut S, DecodeError> {
    let foreign = || DecodeError::UnknownType { type_name: event.type_name.to_owned() };
    if Arc::get_mut(state).is_none() {
        let copy = state.downcast_ref::<S>().ok_or_else(foreign)?.clone();
        *state = Arc::new(copy);
    }
    Arc::get_mut(state).and_then(|state| state.downcast_mut()).ok_or_else(foreign)
}

/// Runs code of the domain; `None` if it panics, which is logged as a defect of `what` of the
/// aggregate. Other commands, and the task that runs them, go on.
pub(crate) fn caught<T>(
    what: &'static str,
    (aggregate, command): (&'static str, &'static str),
    code: impl FnOnce() -> T,
) -> Option<T> {
    // Whatever it may have left half changed is dropped: the domain works on a copy of the state.
    let result = catch_unwind(AssertUnwindSafe(code));
    if result.is_err() {
        tracing::error!(aggregate, command, what, "the domain's code panicked");
    }
    result.ok()
}

/// Result of a command on a state.
pub(crate) enum Verdict {
    /// Events (or none) and the facts that must hold.
    Accepted(Accepted),
    /// The domain says no.
    Refused(Rejection),
    /// The stream is another aggregate's.
    Foreign,
    /// It would append to a stream that is neither its own nor named by its query: a defect.
    Astray(StreamId),
}

/// An accepted command.
pub(crate) struct Accepted {
    pub events: Vec<NewEvent>,
    pub facts: Vec<Fact>,
    /// Refusals to answer with if the fact of the same index does not hold.
    pub refusals: Vec<Option<Rejection>>,
    /// Of a command on a boundary: the streams of the events and facts.
    pub parts: Vec<Part>,
    /// The state after the events.
    pub next: AnyState,
    /// Of a command on a boundary: how far that state goes.
    pub extent: Option<Extent>,
}

impl Accepted {
    /// Nothing happens; the state is this one.
    pub(crate) fn nothing(next: AnyState) -> Self {
        Self {
            events: Vec::new(),
            facts: Vec::new(),
            refusals: Vec::new(),
            parts: Vec::new(),
            next,
            extent: None,
        }
    }

    pub(crate) fn add_facts(&mut self, claims: Vec<Claim>, guards: Vec<Guard>, marks: Vec<Mark>) {
        let mut add = |kind, name, refusal| {
            self.facts.push(Fact { kind, name });
            self.refusals.push(refusal);
        };
        for claim in claims {
            match claim {
                Claim::Take { value, taken } => add(FactKind::TakeClaim, value, Some(taken)),
                Claim::Free { value } => add(FactKind::FreeClaim, value, None),
            }
        }
        for guard in guards {
            let kind = if guard.present { FactKind::MarkPresent } else { FactKind::MarkAbsent };
            add(kind, guard.mark, Some(guard.otherwise));
        }
        for mark in marks {
            let kind = if mark.set { FactKind::SetMark } else { FactKind::ClearMark };
            add(kind, mark.name, None);
        }
    }
}

/// A command of a known type.
pub(crate) struct Typed<A: Aggregate> {
    pub command: A::Command,
    pub context: Context,
}

impl<A: Aggregate> Decider for Typed<A> {
    fn decide(&self, current: &VersionedState) -> Verdict {
        let mut next = match current.state.downcast_ref::<A>() {
            Some(state) => state.clone(),
            // Looked for by a command of another type, and not there.
            None if current.version == StreamVersion(0) => A::default(),
            None => return Verdict::Foreign,
        };
        let decision = match next.decide(&self.command, &self.context) {
            Ok(decision) => decision,
            Err(rejection) => return Verdict::Refused(rejection),
        };
        decision.events.iter().for_each(|event| next.evolve(event));
        let mut accepted = Accepted::nothing(Arc::new(next));
        accepted.events = decision.events.iter().map(|event| event.encode()).collect();
        accepted.add_facts(decision.claims, decision.guards, decision.marks);
        Verdict::Accepted(accepted)
    }

    fn blank(&self) -> AnyState {
        Arc::new(A::default())
    }

    fn evolve(&self, state: &mut AnyState, event: EventRef<'_>) -> Result<(), DecodeError> {
        evolve::<A>(state, event)
    }

    fn snapshot(&self, state: &AnyState) -> Option<(&'static str, Snapshot)> {
        Some((A::NAME, state.downcast_ref::<A>()?.snapshot()?))
    }

    fn names(&self) -> (&'static str, &'static str) {
        (A::NAME, type_name::<A::Command>())
    }
}
