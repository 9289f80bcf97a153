//! Loads of boundaries: what a query matches is read and folded once, however many wait for it, and
//! read on from where a state ends that is known already.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_eventlog::{BoundaryRead, BoundaryStep, EventLog, LogError};
use headwater_kernel::{Epoch, Position, RecordedEvent, StreamId, StreamVersion};
use tokio::sync::{Semaphore, oneshot};

use crate::decide::{BoundaryKey, Decider, EventRef, Extent, StateKey, VersionedState, caught};
use crate::folding::FoldError;
use crate::loader::LoadError;
use crate::reply::AppendError;
use crate::states::States;

/// Boundaries that may be loaded at a time; beyond that the service is overloaded.
const LOADS_MAX: usize = 4_096;
/// Events of a statement, the first one and those after it.
const FIRST_EVENTS: u32 = 128;
const STEP_EVENTS: u32 = 2_000;
/// Time that one may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// Times that another epoch may begin during one load.
const EPOCHS_MAX: usize = 3;

type Loaded = Result<VersionedState, LoadError>;
/// A boundary, and the stream of the command, if its query does not name it.
type Flight = (BoundaryKey, Option<StreamId>);

/// Hands out the states of boundaries.
#[derive(Clone)]
pub(crate) struct Boundaries {
    log: EventLog,
    states: States,
    statements: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<Flight, Vec<oneshot::Sender<Loaded>>>>>,
}

/// Error of one step.
enum StepError {
    Log(LogError),
    Fold(FoldError),
}

impl From<LogError> for StepError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Boundaries {
    /// On this log; what is loaded is offered to `states`.
    pub(crate) fn new(log: &EventLog, states: States) -> Self {
        // A share of the connections: slow boundaries and slow streams together leave one for
        // streams that are loaded at once.
        let statements = (log.connections_max() as usize / 4).max(1);
        let statements = Arc::new(Semaphore::new(statements));
        Self { log: log.clone(), states, statements, flights: Arc::default() }
    }

    /// The state of a boundary: as it is known, if `fresh` is false and nobody has found it out of
    /// date; else read on to the end of the log, unless somebody is reading it already.
    pub(crate) async fn state(
        &self,
        (key, stream): (&BoundaryKey, StreamId),
        decider: &Arc<dyn Decider>,
        fresh: bool,
    ) -> Loaded {
        let known = self.states.get(&StateKey::Boundary(key.clone()));
        match known {
            Some(state) if !fresh && !self.is_outdated(&state) => Ok(state),
            known => {
                // At first it is taken for new, unless the query names it.
                let probed = fresh.then_some(stream);
                self.load((key, probed), decider, known).await
            }
        }
    }

    /// True if there is known to be more in the log: somebody has found it so, or one of its
    /// streams has moved on by commands on that stream alone.
    fn is_outdated(&self, state: &VersionedState) -> bool {
        let Some(extent) = &state.extent else { return true };
        let has_moved_on = |(stream, version): (&StreamId, &StreamVersion)| {
            let known = self.states.get(&StateKey::Stream(*stream));
            known.is_some_and(|known| known.epoch == state.epoch && known.version > *version)
        };
        extent.outdated || extent.base.iter().any(has_moved_on)
    }

    async fn load(
        &self,
        (key, stream): (&BoundaryKey, Option<StreamId>),
        decider: &Arc<dyn Decider>,
        known: Option<VersionedState>,
    ) -> Loaded {
        let named = key.query.named_streams();
        let unnamed = stream.filter(|stream| named.binary_search(stream).is_err());
        let flight = (key.clone(), unnamed);
        let (waiting, loaded) = oneshot::channel();
        let is_new = {
            let mut flights = self.flights();
            if flights.len() >= LOADS_MAX && !flights.contains_key(&flight) {
                return Err(LoadError::Full);
            }
            let all = flights.entry(flight.clone()).or_default();
            all.push(waiting);
            all.len() == 1
        };
        if is_new {
            let answering = Answering { loads: self.clone(), flight, loaded: Err(lost()) };
            tokio::spawn(answering.load(Arc::clone(decider), known));
        }
        loaded.await.unwrap_or(Err(lost()))
    }

    /// Reads what the query matches to its end, from where the known state ends.
    async fn read(
        &self,
        (key, stream): &Flight,
        decider: &dyn Decider,
        known: Option<VersionedState>,
    ) -> Loaded {
        let mut state = known.unwrap_or_else(|| blank(decider));
        let mut events_max = FIRST_EVENTS;
        let mut epochs = 0;
        loop {
            let Ok(_place) = self.statements.acquire().await else { return Err(lost()) };
            let read = self.step((key, *stream), decider, &mut state, events_max).await;
            match read {
                Ok(read) if read.events < events_max => return Ok(state),
                Ok(_) => events_max = STEP_EVENTS,
                Err(StepError::Fold(FoldError::NewEpoch)) if epochs < EPOCHS_MAX => {
                    epochs += 1;
                    state = blank(decider);
                }
                Err(StepError::Fold(error)) => return Err(LoadError::Fold(error)),
                Err(StepError::Log(LogError::Unavailable(error))) => {
                    tracing::warn!(%error, "a boundary could not be loaded");
                    return Err(lost());
                }
                Err(StepError::Log(LogError::Unmigrated)) => {
                    return Err(LoadError::Database(AppendError::Unmigrated));
                }
                Err(StepError::Log(error)) => {
                    tracing::error!(%error, "a boundary could not be loaded");
                    return Err(LoadError::Database(AppendError::Unloadable));
                }
            }
        }
    }

    /// Folds the next events into the state.
    async fn step(
        &self,
        (key, stream): (&BoundaryKey, Option<StreamId>),
        decider: &dyn Decider,
        state: &mut VersionedState,
        events_max: u32,
    ) -> Result<BoundaryRead, StepError> {
        let extent = state.extent.take().unwrap_or_default();
        let named = key.query.named_streams().into_iter().chain(stream);
        let known =
            named.map(|stream| (stream, extent.base.get(&stream).copied().unwrap_or_default()));
        let streams: Vec<(StreamId, StreamVersion)> = known.collect();
        let step = BoundaryStep {
            partition: key.partition,
            query: &key.query,
            after: extent.after,
            streams: &streams,
            events_max,
            time_max: STEP_MAX,
        };
        // Of what was read of several epochs, some may be of a history that is gone.
        let begun = (extent.after != Position(0)).then_some(state.epoch);
        let mut last = extent.after;
        let mut seen = BTreeMap::new();
        let each = |epoch, event: RecordedEvent| {
            same(begun, epoch)?;
            last = event.position;
            seen.insert(event.stream, event.version);
            fold(decider, state, &event).map_err(StepError::Fold)
        };
        let read = self.log.read_boundary(step, each).await?;
        same(begun, read.epoch)?;
        state.epoch = read.epoch;
        let mut reached = HashMap::clone(&extent.base);
        let is_whole = read.events < events_max;
        for ((stream, _), version) in streams.iter().zip(&read.versions) {
            let read_to = || seen.get(stream).copied();
            // Before the end a stream's version lies behind what is folded.
            let version = if is_whole { Some(*version) } else { read_to() };
            reached.extend(version.map(|version| (*stream, version)));
        }
        let after = if is_whole { read.head } else { last };
        let base = Arc::new(reached.clone());
        state.extent = Some(Extent { after, ahead: 0, base, reached, outdated: false });
        Ok(read)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Flight, Vec<oneshot::Sender<Loaded>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load, and its answer to everybody who waits for it, however it ends.
struct Answering {
    loads: Boundaries,
    flight: Flight,
    loaded: Loaded,
}

impl Answering {
    async fn load(mut self, decider: Arc<dyn Decider>, known: Option<VersionedState>) {
        self.loaded = self.loads.read(&self.flight, &*decider, known).await;
        if let Ok(state) = &self.loaded {
            self.loads.states.offer(StateKey::Boundary(self.flight.0.clone()), state);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let waiting = self.loads.flights().remove(&self.flight);
        for waiting in waiting.into_iter().flatten() {
            // Nobody may be waiting any more.
            let _ = waiting.send(self.loaded.clone());
        }
    }
}

fn blank(decider: &dyn Decider) -> VersionedState {
    VersionedState {
        epoch: Epoch::default(),
        version: StreamVersion(0),
        state: decider.blank(),
        heap_bytes: 0,
        extent: Some(Extent::default()),
        evolve: None,
    }
}

fn same(begun: Option<Epoch>, epoch: Epoch) -> Result<(), StepError> {
    match begun {
        Some(begun) if begun != epoch => Err(StepError::Fold(FoldError::NewEpoch)),
        _ => Ok(()),
    }
}

fn fold(
    decider: &dyn Decider,
    state: &mut VersionedState,
    event: &RecordedEvent,
) -> Result<(), FoldError> {
    let event_ref = EventRef::recorded(event);
    let names = decider.names();
    let evolved = caught("a fold", names, || decider.evolve(&mut state.state, event_ref));
    evolved.ok_or(FoldError::Panicked)?.map_err(FoldError::Decode)?;
    state.heap_bytes = state.heap_bytes.saturating_add(event.payload.len());
    Ok(())
}

fn lost() -> LoadError {
    LoadError::Database(AppendError::DatabaseUnavailable)
}
