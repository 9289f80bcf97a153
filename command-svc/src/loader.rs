//! Loads of streams. Each stream is read and folded once, however many wait for it; streams that
//! are asked for while a statement is in flight share the next one.
//!
//! A load is made in steps. The first one, with a snapshot, is the whole of most streams, and so
//! the first steps of many streams share a statement. One that takes long is given up, and its
//! streams go on one by one. Long and slow streams go on in a bulkhead of their own, where they
//! hold up nobody else; what has been folded stays.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_eventlog::{EventLog, LoadFrom};
use headwater_kernel::{StreamId, StreamVersion};
use tokio::sync::{mpsc, oneshot};

use crate::decide::{StateKey, VersionedState};
use crate::folding::{Fold, FoldError};
use crate::reply::AppendError;
use crate::states::States;
use crate::supervisor::Supervisor;

mod bulkhead;

pub(crate) use bulkhead::LoadError;
use bulkhead::{Bounds, Bulkhead, Database, Step, StepEnd};

/// Streams that may be loaded at a time; beyond that the service is overloaded.
const LOADS_MAX: usize = 4_096;
/// Streams that share a statement, and events of each: with snapshots nearly all are shorter.
const FIRST_STREAMS: usize = 64;
const FIRST_EVENTS: u32 = 128;
/// Time that others may wait for a slow stream, and that a step of one may take.
const SHARED_MAX: Duration = Duration::from_secs(1);
const LONG_MAX: Duration = Duration::from_secs(3);
/// Events of a step of a longer stream.
const STEP_EVENTS_MAX: u32 = 2_000;
/// A step that the database did not answer in time is made again with so much less.
const SLOWER: u32 = 8;

type Loaded = Result<VersionedState, LoadError>;

/// How a load was joined.
enum Joined {
    /// It is to be begun.
    New,
    /// It is under way, and this waits for it.
    UnderWay,
    /// It is under way, for another type of aggregate.
    Foreign,
}

type Joining = (oneshot::Receiver<Loaded>, Joined);

/// Hands out the states of streams.
#[derive(Clone)]
pub(crate) struct Loader {
    first: mpsc::Sender<Step>,
    alone: mpsc::Sender<Step>,
    long: mpsc::Sender<Step>,
    states: States,
    flights: Arc<Mutex<HashMap<StreamId, Flight>>>,
}

/// A load that is under way, and who waits for it.
struct Flight {
    aggregate: TypeId,
    waiting: Vec<oneshot::Sender<Loaded>>,
}

impl Loader {
    /// Starts its tasks, which end when the last clone is dropped. What is loaded is offered to
    /// `states`.
    pub(crate) fn start(log: &EventLog, states: States, supervisor: &Supervisor) -> Self {
        let database = Arc::new(Database::new(log.clone()));
        let connections = log.connections_max() as usize;
        let start = |name, streams, statements, row| {
            let (steps, bulkhead) =
                Bulkhead::new(&database, Bounds { queue: LOADS_MAX, streams, statements, row });
            supervisor.spawn(name, bulkhead.run());
            steps
        };
        let first = start("the loader of streams", FIRST_STREAMS, connections / 2, SHARED_MAX);
        let alone = start("the loader of single streams", 1, 1, SHARED_MAX);
        let long = start("the loader of long streams", 1, connections / 4, LONG_MAX);
        Self { first, alone, long, states, flights: Arc::default() }
    }

    /// The state of a stream, loaded unless somebody is loading it already. The load goes on if
    /// this is dropped, and its state is offered to the cache.
    pub(crate) async fn load(
        &self,
        stream: StreamId,
        fold: impl FnOnce() -> Box<dyn Fold>,
    ) -> Loaded {
        let fold = fold();
        let aggregate = fold.aggregate();
        let loaded = loop {
            let (loaded, joined) = self.join(stream, aggregate)?;
            match joined {
                Joined::New => {
                    let answering = Answering { loader: self.clone(), stream, loaded: Err(lost()) };
                    tokio::spawn(answering.load(fold));
                    break loaded;
                }
                Joined::UnderWay => break loaded,
                // Of a command of another type of aggregate: once it is over.
                Joined::Foreign => drop(loaded.await),
            }
        };
        loaded.await.unwrap_or(Err(lost()))
    }

    /// Joins the load of a stream, or registers a new one, which the caller has to begin.
    fn join(&self, stream: StreamId, aggregate: TypeId) -> Result<Joining, LoadError> {
        let (waiting, loaded) = oneshot::channel();
        let mut flights = self.flights();
        if let Some(flight) = flights.get_mut(&stream) {
            if flight.waiting.len() == flight.waiting.capacity() {
                // Those who have given up, before it grows.
                flight.waiting.retain(|waiting| !waiting.is_closed());
            }
            flight.waiting.push(waiting);
            let is_ours = flight.aggregate == aggregate;
            return Ok((loaded, if is_ours { Joined::UnderWay } else { Joined::Foreign }));
        }
        if flights.len() >= LOADS_MAX {
            return Err(LoadError::Full);
        }
        flights.insert(stream, Flight { aggregate, waiting: vec![waiting] });
        Ok((loaded, Joined::New))
    }

    /// Reads a stream to its end.
    async fn read(&self, stream: StreamId, mut fold: Box<dyn Fold>) -> Loaded {
        let mut queue = &self.first;
        let mut events = FIRST_EVENTS;
        let mut events_max = STEP_EVENTS_MAX;
        let mut shared = true;
        loop {
            let (done, stepped) = oneshot::channel();
            let step = Step { stream, fold, events_max: events, done };
            queue.send(step).await.map_err(|_| lost())?;
            let stepped = stepped.await.map_err(|_| lost())?;
            fold = stepped.fold;
            match stepped.end {
                StepEnd::Whole => return Ok(fold.finish()),
                StepEnd::More => {
                    events = (events * 4).min(events_max);
                    queue = &self.long;
                }
                StepEnd::Slow if shared => queue = &self.alone,
                StepEnd::Slow if events > 1 => {
                    events = (events / SLOWER).max(1);
                    events_max = events;
                    queue = &self.long;
                }
                StepEnd::Slow => return Err(lost()),
                StepEnd::Failed(LoadError::Fold(FoldError::ForeignSnapshot)) => {
                    fold.restart(LoadFrom::Version(StreamVersion(0)));
                    queue = &self.long;
                }
                StepEnd::Failed(LoadError::Fold(FoldError::NewEpoch)) => {
                    let start = fold.start();
                    fold.restart(start);
                }
                StepEnd::Failed(error) => return Err(error),
            }
            shared = false;
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<StreamId, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load, and its answer to everybody who waits for it, however it ends.
struct Answering {
    loader: Loader,
    stream: StreamId,
    loaded: Loaded,
}

impl Answering {
    async fn load(mut self, fold: Box<dyn Fold>) {
        self.loaded = self.loader.read(self.stream, fold).await;
        if let Ok(state) = &self.loaded {
            self.loader.states.offer(StateKey::Stream(self.stream), state);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let flight = self.loader.flights().remove(&self.stream);
        for waiting in flight.into_iter().flat_map(|flight| flight.waiting) {
            // Nobody may be waiting any more.
            let _ = waiting.send(self.loaded.clone());
        }
    }
}

fn lost() -> LoadError {
    LoadError::Database(AppendError::DatabaseUnavailable)
}
