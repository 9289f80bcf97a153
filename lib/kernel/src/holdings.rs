//! The claims and marks that streams hold, as their events tell: what the log's tables of them,
//! which are kept beside the events, can be compared with and made anew from.

use crate::aggregate::{Aggregate, Holdings};
use crate::envelope::{DecodeError, EventSet as _, RecordedEvent};
use crate::ids::StreamId;

/// An aggregate of some type, by what its events say of holdings.
#[derive(Clone, Copy, Debug)]
pub struct AggregateType {
    /// Its name.
    pub name: &'static str,
    /// True if events of this type are its own.
    pub knows: fn(&str) -> bool,
    /// Begins a fold of a stream of it.
    pub fold: fn() -> Box<dyn HoldingsFold>,
}

/// Fold of one stream.
pub trait HoldingsFold: Send {
    /// Folds the next event.
    ///
    /// # Errors
    /// It is not one of the aggregate's, or cannot be decoded.
    fn add(&mut self, event: &RecordedEvent) -> Result<(), DecodeError>;

    /// Holdings of the stream after its events; `None` if the aggregate does not tell.
    fn holdings(&self, stream: StreamId) -> Option<Holdings>;
}

impl AggregateType {
    /// The type of an aggregate.
    pub fn of<A: Aggregate>() -> Self {
        Self { name: A::NAME, knows: A::Event::knows, fold: || Box::new(Folded(A::default())) }
    }
}

struct Folded<A>(A);

impl<A: Aggregate> HoldingsFold for Folded<A> {
    fn add(&mut self, event: &RecordedEvent) -> Result<(), DecodeError> {
        self.0.evolve(&A::Event::decode(&event.type_name, event.schema_version, &event.payload)?);
        Ok(())
    }

    fn holdings(&self, stream: StreamId) -> Option<Holdings> {
        self.0.holdings(stream)
    }
}
