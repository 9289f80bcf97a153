//! Commands that are decided on a query instead of one stream, behind the face of all others.

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_eventlog::Part;
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{
    Context, DecisionModel, DecodeError, EventSet as _, NewEvent, StreamId, StreamVersion,
};

use crate::decide::{
    Accepted, AnyState, BoundaryKey, Decider, EventRef, Extent, Verdict, VersionedState, own,
};

/// A command on a model of a known type.
pub(crate) struct Across<M: DecisionModel> {
    pub command: M::Command,
    pub context: Context,
    pub key: BoundaryKey,
}

impl<M: DecisionModel> Decider for Across<M> {
    fn decide(&self, current: &VersionedState) -> Verdict {
        let model = current.state.downcast_ref::<M>();
        let (Some(model), Some(extent)) = (model, &current.extent) else {
            return Verdict::Foreign;
        };
        let decisions = match model.decide(&self.command, &self.context) {
            Ok(decisions) => decisions,
            Err(rejection) => return Verdict::Refused(rejection),
        };
        let mut extent = extent.clone();
        let mut next = model.clone();
        let mut accepted = Accepted::nothing(Arc::clone(&current.state));
        // A stream whose decisions stand apart has its events together in the log.
        let mut streams: Vec<StreamId> = Vec::new();
        let mut by_stream = BTreeMap::new();
        for (stream, decision) in decisions {
            let of_stream = by_stream.entry(stream).or_insert_with(|| {
                streams.push(stream);
                Vec::new()
            });
            of_stream.push(decision);
        }
        for stream in streams {
            let own = (stream == self.context.stream).then_some(current.version);
            let Some(expected) = extent.reached.get(&stream).copied().or(own) else {
                return Verdict::Astray(stream);
            };
            let (events_before, facts_before) = (accepted.events.len(), accepted.facts.len());
            for decision in by_stream.remove(&stream).into_iter().flatten() {
                for event in &decision.events {
                    let encoded = event.encode();
                    if self.key.matches(stream, &encoded) {
                        next.evolve(stream, event);
                        extent.ahead += 1;
                    }
                    accepted.events.push(encoded);
                }
                accepted.add_facts(decision.claims, decision.guards, decision.marks);
            }
            let events = accepted.events.len() - events_before;
            let facts = accepted.facts.len() - facts_before;
            accepted.parts.push(Part { stream, expected, events, facts });
            extent.reached.insert(stream, expected.plus(events as u64));
        }
        accepted.next = Arc::new(next);
        accepted.extent = Some(extent);
        Verdict::Accepted(accepted)
    }

    fn blank(&self) -> AnyState {
        Arc::new(M::default())
    }

    fn evolve(&self, state: &mut AnyState, event: EventRef<'_>) -> Result<(), DecodeError> {
        let decoded = M::Event::decode(event.type_name, event.schema_version, event.payload)?;
        own::<M>(state, event)?.evolve(event.stream, &decoded);
        Ok(())
    }

    fn snapshot(&self, _: &AnyState) -> Option<(&'static str, Snapshot)> {
        None
    }

    fn names(&self) -> (&'static str, &'static str) {
        (M::NAME, type_name::<M::Command>())
    }

    fn boundary(&self) -> Option<&BoundaryKey> {
        Some(&self.key)
    }
}

/// The newest version that is known of a stream, from a boundary's state: that of the batch, else
/// `otherwise`, else it is taken for new. If it is not, the append finds it.
pub(crate) fn version_of(
    extent: &Extent,
    stream: StreamId,
    otherwise: Option<StreamVersion>,
) -> StreamVersion {
    extent.reached.get(&stream).copied().or(otherwise).unwrap_or_default()
}

/// Folds an event that others have appended to the log, or put into the batch, into a boundary's
/// state, if its query matches it; true if it does.
pub(crate) fn follow(
    decider: &dyn Decider,
    key: &BoundaryKey,
    state: &mut VersionedState,
    (stream, version, event): (StreamId, StreamVersion, &NewEvent),
) -> Result<bool, DecodeError> {
    let matches = key.matches(stream, event);
    if matches {
        decider.evolve(&mut state.state, EventRef::of(stream, event))?;
        state.heap_bytes = state.heap_bytes.saturating_add(event.payload.len());
    }
    if let Some(extent) = &mut state.extent
        && let Some(reached) = extent.reached.get_mut(&stream)
    {
        *reached = (*reached).max(version);
    }
    Ok(matches)
}
