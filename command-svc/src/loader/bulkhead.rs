//! Statements that read streams: how many at a time, how many streams each, and what a database
//! that does not answer means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_chassis::Delays;
use headwater_eventlog::{EventLog, LoadEnd, LoadMax, LoadStep, LoadedRow, LogError};
use headwater_kernel::StreamId;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::folding::{Fold, FoldError};
use crate::reply::AppendError;
use crate::write_breaker::WriteBreaker;

/// Time without loads after the database did not answer one: each may have waited for seconds, and
/// commands that wait for the next one should rather be told at once.
const BREAKER_DELAYS: Delays =
    Delays { first: Duration::from_millis(200), max: Duration::from_secs(5), factor: 2.0 };
/// A database that answers at all does so sooner, however long a stream takes.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(1);

/// Error of a load.
#[derive(Clone, Debug, Error)]
pub(crate) enum LoadError {
    /// Too many are under way already.
    #[error("too many streams are being loaded")]
    Full,
    /// The database could not be read.
    #[error("the database could not be read")]
    Database(AppendError),
    /// What is stored could not be folded.
    #[error(transparent)]
    Fold(FoldError),
}

/// A step of a load.
pub(super) struct Step {
    pub stream: StreamId,
    pub fold: Box<dyn Fold>,
    /// Events to read at most.
    pub events_max: u32,
    pub done: oneshot::Sender<Stepped>,
}

/// A step that has been made, or not.
pub(super) struct Stepped {
    /// With what has been read, however it ended.
    pub fold: Box<dyn Fold>,
    pub end: StepEnd,
}

/// End of a step.
pub(super) enum StepEnd {
    /// The stream has been read to its end.
    Whole,
    /// There may be more of it.
    More,
    /// Nothing of it came in time, from a database that answers.
    Slow,
    Failed(LoadError),
}

/// The log's database, and whether it answers.
pub(super) struct Database {
    log: EventLog,
    breaker: Mutex<WriteBreaker>,
}

impl Database {
    pub(super) fn new(log: EventLog) -> Self {
        let breaker = Mutex::new(WriteBreaker::new(log.servers(), 1, BREAKER_DELAYS));
        Self { log, breaker }
    }

    fn breaker(&self) -> MutexGuard<'_, WriteBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads steps of different streams by one statement.
    async fn read(
        &self,
        steps: &[LoadStep],
        max: LoadMax,
        each: impl FnMut(LoadedRow) + Send,
    ) -> Result<LoadEnd, AppendError> {
        if !self.breaker().allows() {
            return Err(AppendError::DatabaseUnavailable);
        }
        let end = self.log.load_rows(steps, max, each).await;
        if matches!(end, Ok(LoadEnd::Cut)) && !self.is_alive().await {
            tracing::warn!(streams = steps.len(), "the database does not answer a load");
            self.breaker().failed();
            return Err(AppendError::DatabaseUnavailable);
        }
        match end {
            Ok(end) => {
                self.breaker().succeeded();
                Ok(end)
            }
            Err(LogError::Unavailable(error)) => {
                tracing::warn!(%error, streams = steps.len(), "streams could not be loaded");
                self.breaker().failed();
                Err(AppendError::DatabaseUnavailable)
            }
            Err(error) => {
                // It is there, and says no: that is about these streams.
                tracing::error!(%error, streams = steps.len(), "streams could not be loaded");
                self.breaker().succeeded();
                Err(AppendError::Unloadable)
            }
        }
    }

    /// True if the database answers something short: then it is the streams that take long.
    async fn is_alive(&self) -> bool {
        matches!(timeout(SIGN_OF_LIFE_MAX, self.log.read_lineage()).await, Ok(Ok(_)))
    }
}

/// Statements of one kind, with their own share of the connections: what is slow in one bulkhead
/// holds up no other. Makes steps, several at a time.
pub(super) struct Bulkhead {
    database: Arc<Database>,
    queue: mpsc::Receiver<Step>,
    bounds: Bounds,
    statements: Arc<Semaphore>,
}

/// Bounds of a bulkhead.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Steps that may wait.
    pub queue: usize,
    /// Streams of a statement.
    pub streams: usize,
    /// Statements at a time; at least one.
    pub statements: usize,
    /// Time until a row comes.
    pub row: Duration,
}

impl Bulkhead {
    /// A bulkhead, and its queue.
    pub(super) fn new(database: &Arc<Database>, bounds: Bounds) -> (mpsc::Sender<Step>, Self) {
        let (steps, queue) = mpsc::channel(bounds.queue);
        let statements = Arc::new(Semaphore::new(bounds.statements.max(1)));
        (steps, Self { database: Arc::clone(database), queue, bounds, statements })
    }

    /// Makes steps until every sender of its queue is gone.
    pub(super) async fn run(mut self) {
        let streams_max = self.bounds.streams;
        let mut steps = Vec::with_capacity(streams_max);
        while self.queue.recv_many(&mut steps, streams_max).await > 0 {
            // Never closed.
            let Ok(place) = Arc::clone(&self.statements).acquire_owned().await else { return };
            // What has come in the meantime goes along.
            while steps.len() < streams_max {
                let Ok(step) = self.queue.try_recv() else { break };
                steps.push(step);
            }
            let (database, steps) = (Arc::clone(&self.database), std::mem::take(&mut steps));
            let row_max = self.bounds.row;
            tokio::spawn(async move {
                make(&database, steps, row_max).await;
                drop(place);
            });
        }
    }
}

/// A step that is being made.
struct Making {
    step: Step,
    rows: u32,
    error: Option<FoldError>,
}

/// Makes steps by one statement.
async fn make(database: &Database, steps: Vec<Step>, row_max: Duration) {
    let events_max = steps.iter().map(|step| step.events_max).min().unwrap_or(1);
    let max = LoadMax { events: events_max, row: row_max };
    let asked: Vec<LoadStep> =
        steps.iter().map(|step| LoadStep { stream: step.stream, from: step.fold.from() }).collect();
    let making = steps.into_iter().map(|step| (step.stream, Making { step, rows: 0, error: None }));
    let mut making: HashMap<StreamId, Making> = making.collect();
    let end = database.read(&asked, max, |row| add(&mut making, row)).await;
    for Making { step, rows, error } in making.into_values() {
        let end = match (error, end) {
            (Some(error), _) => StepEnd::Failed(LoadError::Fold(error)),
            (None, Err(error)) => StepEnd::Failed(LoadError::Database(error)),
            (None, Ok(LoadEnd::Cut)) if rows == 0 => StepEnd::Slow,
            (None, Ok(LoadEnd::Cut)) => StepEnd::More,
            (None, Ok(LoadEnd::Whole)) if rows >= events_max => StepEnd::More,
            (None, Ok(LoadEnd::Whole)) => StepEnd::Whole,
        };
        // Nobody may be waiting any more.
        let _ = step.done.send(Stepped { fold: step.fold, end });
    }
}

fn add(making: &mut HashMap<StreamId, Making>, row: LoadedRow) {
    let Some(making) = making.get_mut(&row.stream) else { return };
    making.rows += 1;
    if making.error.is_none() {
        making.error = making.step.fold.add(row).err();
    }
}
