//! Stored streams become states, row by row as they are read.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use headwater_eventlog::{LoadFrom, LoadedRow, SavedSnapshot};
use headwater_kernel::{
    Aggregate, DecodeError, Epoch, EventSet as _, RecordedEvent, StreamVersion,
};
use thiserror::Error;

use crate::decide::{VersionedState, caught, evolve};

/// A stream that is being folded into the state of an aggregate of some type.
pub(crate) trait Fold: Send {
    /// Type of the state.
    fn aggregate(&self) -> TypeId;
    /// Place from which rows are wanted.
    fn from(&self) -> LoadFrom;
    /// Place from which a fold begins.
    fn start(&self) -> LoadFrom;
    /// Folds the next row.
    fn add(&mut self, row: LoadedRow) -> Result<(), FoldError>;
    /// Begins anew, with a snapshot or without.
    fn restart(&mut self, from: LoadFrom);
    /// The state that all rows made.
    fn finish(&mut self) -> VersionedState;
}

/// Reason why a row could not be folded.
#[derive(Clone, Debug, Error)]
pub(crate) enum FoldError {
    /// The snapshot is of a format this program does not read: the whole stream has to be read.
    #[error("a snapshot of another format")]
    ForeignSnapshot,
    /// The log has begun another epoch since the rows before: they may be of a history that is
    /// gone.
    #[error("another epoch began meanwhile")]
    NewEpoch,
    /// An event is missing.
    #[error("the event of version {expected} is missing, {found} follows")]
    Gap {
        /// The version that was due.
        expected: StreamVersion,
        /// The version that came.
        found: StreamVersion,
    },
    /// The event cannot be read, or is another aggregate's.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The domain's code panicked.
    #[error("the domain's code panicked")]
    Panicked,
}

/// Fold of a stream of this aggregate.
pub(crate) struct Folding<A> {
    state: A,
    version: StreamVersion,
    /// Of the first row; none before.
    epoch: Option<Epoch>,
    from: LoadFrom,
    /// Of the events.
    bytes: usize,
}

impl<A: Aggregate> Folding<A> {
    /// Of a stream of which nothing has been read.
    pub(crate) fn new() -> Self {
        let from = LoadFrom::Snapshot(A::SNAPSHOT_FORMAT);
        Self { state: A::default(), version: StreamVersion(0), epoch: None, from, bytes: 0 }
    }

    /// Of a stream of which this is known, if it is of this aggregate; only what follows is read.
    pub(crate) fn on(known: Option<&VersionedState>) -> Self {
        let known = known.filter(|known| known.version > StreamVersion(0));
        let state = known.and_then(|known| Some((known, known.state.downcast_ref::<A>()?.clone())));
        let Some((known, state)) = state else { return Self::new() };
        let VersionedState { epoch, version, heap_bytes, .. } = *known;
        let from = LoadFrom::Version(version);
        Self { state, version, epoch: Some(epoch), from, bytes: heap_bytes }
    }

    fn restore(&mut self, saved: &SavedSnapshot) -> Result<(), FoldError> {
        let is_ours = saved.aggregate == A::NAME;
        let restored = A::restore(&saved.snapshot).filter(|_| is_ours);
        self.state = restored.ok_or(FoldError::ForeignSnapshot)?;
        self.version = saved.version;
        Ok(())
    }

    fn evolve(&mut self, event: &RecordedEvent) -> Result<(), FoldError> {
        let expected = self.version.plus(1);
        if event.version != expected {
            return Err(FoldError::Gap { expected, found: event.version });
        }
        let event_of = A::Event::decode(&event.type_name, event.schema_version, &event.payload);
        self.state.evolve(&event_of?);
        self.version = event.version;
        self.bytes = self.bytes.saturating_add(event.payload.len());
        self.from = LoadFrom::Version(event.version);
        Ok(())
    }

    fn add_row(&mut self, row: &LoadedRow) -> Result<(), FoldError> {
        if *self.epoch.get_or_insert(row.epoch) != row.epoch {
            return Err(FoldError::NewEpoch);
        }
        row.snapshot.as_ref().map_or(Ok(()), |saved| self.restore(saved))?;
        row.event.as_ref().map_or(Ok(()), |event| self.evolve(event))
    }
}

impl<A: Aggregate> Fold for Folding<A> {
    fn aggregate(&self) -> TypeId {
        TypeId::of::<A>()
    }

    fn from(&self) -> LoadFrom {
        self.from
    }

    fn start(&self) -> LoadFrom {
        LoadFrom::Snapshot(A::SNAPSHOT_FORMAT)
    }

    fn add(&mut self, row: LoadedRow) -> Result<(), FoldError> {
        let names = (A::NAME, type_name::<A::Event>());
        caught("a fold", names, || self.add_row(&row)).unwrap_or(Err(FoldError::Panicked))
    }

    fn restart(&mut self, from: LoadFrom) {
        *self = Self { from, ..Self::new() };
    }

    fn finish(&mut self) -> VersionedState {
        let names = (A::NAME, type_name::<A::Event>());
        let snapshot = caught("a snapshot", names, || self.state.snapshot()).flatten();
        VersionedState {
            epoch: self.epoch.unwrap_or_default(),
            version: self.version,
            state: Arc::new(std::mem::take(&mut self.state)),
            heap_bytes: snapshot.map_or(self.bytes, |snapshot| snapshot.state.len()),
            extent: None,
            evolve: Some(evolve::<A>),
        }
    }
}
