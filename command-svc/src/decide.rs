//! Aggregates of any type behind one face, so that one appender batches them all.

use std::any::{Any, type_name};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use headwater_eventlog::{Fact, FactKind};
use headwater_kernel::aggregate::{Claim, Snapshot};
use headwater_kernel::{
    Aggregate, Context, Epoch, EventSet as _, NewEvent, Rejection, StreamVersion,
};

/// The state of an aggregate of some type.
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;

/// A state with its epoch and version: the base of a decision (optimistic concurrency).
#[derive(Clone)]
pub(crate) struct VersionedState {
    /// The epoch of the log whose history it is of.
    pub epoch: Epoch,
    /// The version it shows.
    pub version: StreamVersion,
    /// The state.
    pub state: AnyState,
    /// Estimate of the memory that the state holds beside its own size: as much as its last
    /// snapshot, or where it makes none all of its events, and the events since.
    pub heap_bytes: usize,
}

/// A command together with the aggregate it is for.
pub(crate) trait Decider: Send + Sync {
    /// Decides on a state. Pure: the same state gives the same verdict.
    fn decide(&self, current: &VersionedState) -> Verdict;
    /// The aggregate's name, and the state in bytes if it wants snapshots.
    fn snapshot(&self, state: &AnyState) -> Option<(&'static str, Snapshot)>;
    /// The aggregate's name and the type of its commands, for logs.
    fn names(&self) -> (&'static str, &'static str);
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
}

/// An accepted command.
pub(crate) struct Accepted {
    pub events: Vec<NewEvent>,
    pub facts: Vec<Fact>,
    /// Refusals to answer with if the fact of the same index does not hold.
    pub refusals: Vec<Option<Rejection>>,
    /// The state after the events.
    pub next: AnyState,
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
        let events = decision.events.iter().map(|event| event.encode()).collect();
        decision.events.iter().for_each(|event| next.evolve(event));
        let mut accepted =
            Accepted { events, facts: Vec::new(), refusals: Vec::new(), next: Arc::new(next) };
        let mut add = |kind, name, refusal| {
            accepted.facts.push(Fact { kind, name });
            accepted.refusals.push(refusal);
        };
        for claim in decision.claims {
            match claim {
                Claim::Take { value, taken } => add(FactKind::TakeClaim, value, Some(taken)),
                Claim::Free { value } => add(FactKind::FreeClaim, value, None),
            }
        }
        for guard in decision.guards {
            let kind = if guard.present { FactKind::MarkPresent } else { FactKind::MarkAbsent };
            add(kind, guard.mark, Some(guard.otherwise));
        }
        for mark in decision.marks {
            let kind = if mark.set { FactKind::SetMark } else { FactKind::ClearMark };
            add(kind, mark.name, None);
        }
        Verdict::Accepted(accepted)
    }

    fn snapshot(&self, state: &AnyState) -> Option<(&'static str, Snapshot)> {
        Some((A::NAME, state.downcast_ref::<A>()?.snapshot()?))
    }

    fn names(&self) -> (&'static str, &'static str) {
        (A::NAME, type_name::<A::Command>())
    }
}
