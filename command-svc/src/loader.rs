//! Loads of streams, coalesced: those that are asked for while a load is in flight go out as one statement.

use std::collections::HashMap;

use headwater_eventlog::{EventLog, Loaded};
use headwater_kernel::StreamId;
use tokio::sync::{mpsc, oneshot};

use crate::reply::Trouble;

/// Streams read by one statement.
const STREAMS_MAX: usize = 128;
/// Loads that may wait; beyond that the service is overloaded.
const QUEUE_MAX: usize = 4_096;

struct Request {
    stream: StreamId,
    use_snapshots: bool,
    answer: oneshot::Sender<Result<Loaded, Trouble>>,
}

/// Why a load gave nothing.
pub(crate) enum LoadError {
    /// Too many wait already.
    Full,
    /// The database could not be read.
    Trouble(Trouble),
}

/// Hands loads to the task that makes them.
#[derive(Clone)]
pub(crate) struct Loader {
    requests: mpsc::Sender<Request>,
}

impl Loader {
    /// Starts the task; it ends when the last clone is dropped.
    pub(crate) fn start(log: EventLog) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(log, queue));
        Self { requests }
    }

    /// What is stored of a stream.
    pub(crate) async fn load(
        &self,
        stream: StreamId,
        use_snapshots: bool,
    ) -> Result<Loaded, LoadError> {
        let (answer, loaded) = oneshot::channel();
        let request = Request { stream, use_snapshots, answer };
        self.requests.try_send(request).map_err(|_| LoadError::Full)?;
        match loaded.await {
            Ok(loaded) => loaded.map_err(LoadError::Trouble),
            Err(_) => Err(LoadError::Trouble(Trouble::DatabaseUnavailable)),
        }
    }
}

async fn run(log: EventLog, mut queue: mpsc::Receiver<Request>) {
    let mut requests = Vec::with_capacity(STREAMS_MAX);
    while queue.recv_many(&mut requests, STREAMS_MAX).await > 0 {
        let (with, without) = requests.drain(..).partition(|request| request.use_snapshots);
        load(&log, with, true).await;
        load(&log, without, false).await;
    }
}

async fn load(log: &EventLog, requests: Vec<Request>, use_snapshots: bool) {
    if requests.is_empty() {
        return;
    }
    let mut index = HashMap::new();
    let mut streams = Vec::new();
    for request in &requests {
        index.entry(request.stream).or_insert_with(|| {
            streams.push(request.stream);
            streams.len() - 1
        });
    }
    let loaded = log.load(&streams, use_snapshots).await;
    if let Err(error) = &loaded {
        tracing::warn!(%error, streams = streams.len(), "streams could not be loaded");
    }
    for request in requests {
        let answer = match &loaded {
            Ok(loaded) => Ok(loaded[index[&request.stream]].clone()),
            Err(_) => Err(Trouble::DatabaseUnavailable),
        };
        // Nobody may be waiting any more.
        let _ = request.answer.send(answer);
    }
}
