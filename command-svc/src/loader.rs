//! Loads of streams, coalesced: those that are asked for while a load is in flight go out as one
//! statement.

use std::collections::HashMap;
use std::time::Duration;

use headwater_chassis::Delays;
use headwater_eventlog::{EventLog, Loaded, LogError};
use headwater_kernel::StreamId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::reply::AppendError;
use crate::supervisor::Supervisor;
use crate::write_breaker::WriteBreaker;

/// Streams read by one statement.
const STREAMS_MAX: usize = 128;
/// Loads that may wait; beyond that the service is overloaded.
const QUEUE_MAX: usize = 4_096;

/// No load takes longer: a database that hangs keeps its connections open, and nothing else
/// notices.
const LOAD_MAX: Duration = Duration::from_secs(3);
/// Time without loads after one that failed: each failure may have taken [`LOAD_MAX`],
/// and commands that wait for the next one should rather be told at once.
const BREAKER_DELAYS: Delays =
    Delays { first: Duration::from_millis(200), max: Duration::from_secs(5), factor: 2.0 };

struct Request {
    stream: StreamId,
    use_snapshots: bool,
    answer: oneshot::Sender<Result<Loaded, AppendError>>,
}

/// Error of a load.
pub(crate) enum LoadError {
    /// Too many wait already.
    Full,
    /// The database could not be read.
    Failed(AppendError),
}

/// Hands loads to the task that makes them.
#[derive(Clone)]
pub(crate) struct Loader {
    requests: mpsc::Sender<Request>,
}

impl Loader {
    /// Starts the task; it ends when the last clone is dropped.
    pub(crate) fn start(log: EventLog, supervisor: &Supervisor) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        supervisor.spawn("the loader", run(log, queue));
        Self { requests }
    }

    /// Reads the events of a stream, from its snapshot on.
    pub(crate) async fn load(
        &self,
        stream: StreamId,
        use_snapshots: bool,
    ) -> Result<Loaded, LoadError> {
        let (answer, loaded) = oneshot::channel();
        let request = Request { stream, use_snapshots, answer };
        self.requests.try_send(request).map_err(|_| LoadError::Full)?;
        match loaded.await {
            Ok(loaded) => loaded.map_err(LoadError::Failed),
            // The loader's task is gone, and nothing will be read any more.
            Err(_) => Err(LoadError::Failed(AppendError::DatabaseUnavailable)),
        }
    }
}

async fn run(log: EventLog, mut queue: mpsc::Receiver<Request>) {
    let mut breaker = WriteBreaker::new(log.servers(), 1, BREAKER_DELAYS);
    let mut requests = Vec::with_capacity(STREAMS_MAX);
    while queue.recv_many(&mut requests, STREAMS_MAX).await > 0 {
        let (with, without): (Vec<_>, Vec<_>) =
            requests.drain(..).partition(|request| request.use_snapshots);
        for (requests, use_snapshots) in [(with, true), (without, false)] {
            if !requests.is_empty() {
                load(&log, &mut breaker, requests, use_snapshots).await;
            }
        }
    }
}

async fn load(
    log: &EventLog,
    breaker: &mut WriteBreaker,
    requests: Vec<Request>,
    use_snapshots: bool,
) {
    let mut index = HashMap::new();
    let mut streams = Vec::new();
    for request in &requests {
        index.entry(request.stream).or_insert_with(|| {
            streams.push(request.stream);
            streams.len() - 1
        });
    }
    let loaded =
        if breaker.allows() { read(log, breaker, &streams, use_snapshots).await } else { None };
    for request in requests {
        let answer = match &loaded {
            Some(loaded) => Ok(loaded[index[&request.stream]].clone()),
            None => Err(AppendError::DatabaseUnavailable),
        };
        // Nobody may be waiting any more.
        let _ = request.answer.send(answer);
    }
}

async fn read(
    log: &EventLog,
    breaker: &mut WriteBreaker,
    streams: &[StreamId],
    use_snapshots: bool,
) -> Option<Vec<Loaded>> {
    let error = match timeout(LOAD_MAX, log.load(streams, use_snapshots)).await {
        Ok(Ok(loaded)) => {
            breaker.succeeded();
            return Some(loaded);
        }
        Ok(Err(error)) => {
            match error {
                LogError::Unavailable(_) => breaker.failed(),
                // It is there, and says no: that is about these streams.
                _ => breaker.succeeded(),
            }
            error.to_string()
        }
        Err(_) => {
            breaker.failed();
            format!("no answer within {LOAD_MAX:?}")
        }
    };
    tracing::warn!(error, streams = streams.len(), "streams could not be loaded");
    None
}
