//! Client connections: accepted in one place and handed to the worker that has fewest.
//!
//! The alternative, a listener for each worker with SO_REUSEPORT, leaves the choice to a hash of
//! the addresses: of four connections from a mesh's proxy, three or all may meet on one core.
//! Connections live long and requests do not pass through here, so one place to accept is enough.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use headwater_chassis::metrics::Gauge;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::endpoint::Worker;
use crate::forward::{Forward, Shared};

/// After a failed accept: with no file descriptor left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time that a new connection may stay silent; pings start after the handshake.
const GREETING_MAX: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a client may send ahead on one stream of a slow upstream.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same on all streams of a connection: what one client can make the router hold.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Fewer, larger frames.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Metadata of a request: tokens and trace state fit, abuse does not.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Takes client connections in.
pub struct Front {
    lanes: Vec<Lane>,
    limits: Limits,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// Finish what is under way, take nothing new.
    drain: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

/// One worker.
struct Lane {
    runtime: Handle,
    forward: Arc<Forward>,
    open: Arc<AtomicUsize>,
}

/// Counts a connection while it lives.
struct Place {
    open: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>, gauge: &Gauge) -> Place {
        open.fetch_add(1, Ordering::Relaxed);
        gauge.inc();
        Place { open: open.clone(), gauge: gauge.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

impl Front {
    /// For these workers.
    pub fn new(workers: &[Handle], shared: Arc<Shared>) -> Front {
        let lanes = workers.iter().enumerate().map(|(number, runtime)| Lane {
            runtime: runtime.clone(),
            forward: Arc::new(Forward { worker: Worker(number), shared: shared.clone() }),
            open: Arc::default(),
        });
        Front {
            lanes: lanes.collect(),
            limits: shared.limits,
            shared,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// Serves until `draining` resolves, then drains within nine tenths of the deadline.
    ///
    /// # Errors
    /// If requests were still under way at the end of the drain, and were cut.
    pub async fn serve(
        self,
        listener: TcpListener,
        draining: impl Future<Output = ()>,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let mut draining = pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.hand_over(stream),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        self.drain(deadline).await
    }

    /// To the worker with the fewest connections.
    fn hand_over(&self, stream: TcpStream) {
        let meters = &self.shared.meters;
        if self.tasks.len() >= self.limits.connections_max {
            // Closed, and not left waiting: the client then turns to another copy.
            meters.connections_refused.inc();
            return;
        }
        let emptiest = self.lanes.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed));
        // Out of this runtime's reactor: the worker's is to watch it.
        let (Some(lane), Ok(stream)) = (emptiest, stream.into_std()) else {
            return;
        };
        let place = Place::take(&lane.open, &meters.connections);
        let connection = Connection {
            forward: lane.forward.clone(),
            age_max: self.limits.connection_age.mul_f64(rand::random_range(0.9..1.1)),
            drain: self.drain.clone(),
            abort: self.abort.clone(),
        };
        let served = async move {
            connection.serve(stream).await;
            drop(place);
        };
        self.tasks.spawn_on(served, &lane.runtime);
    }

    /// Streams get half of the deadline, calls most of it: the rest is for the process to end in
    /// good order.
    async fn drain(self, deadline: Duration) -> anyhow::Result<()> {
        self.drain.cancel();
        self.tasks.close();
        if self.ended_within(deadline / 2).await {
            return Ok(());
        }
        self.shared.cut.cancel();
        if self.ended_within(deadline * 2 / 5).await {
            return Ok(());
        }
        let under_way = self.shared.meters.in_flight.get();
        self.abort.cancel();
        anyhow::bail!("{under_way} requests were still under way at the end of the drain")
    }

    async fn ended_within(&self, patience: Duration) -> bool {
        timeout(patience, self.tasks.wait()).await.is_ok()
    }
}

/// Life of one connection: its limits and its end.
struct Connection {
    forward: Arc<Forward>,
    age_max: Duration,
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: std::net::TcpStream) {
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        if !greeted(&stream).await {
            return;
        }
        let (forward, streams_max) = (self.forward.clone(), self.forward.shared.limits.streams_max);
        let service = service_fn(move |request| forward.answer(request).map(Ok::<_, Infallible>));
        let protocol = protocol(streams_max);
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.leave() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.abort.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            // The client's doing, as a rule: a reset, a probe, another protocol.
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// Resolves when the client should be asked to go.
    async fn leave(&self) {
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = sleep(self.age_max) => {}
        }
    }
}

/// True if the client says anything in time.
async fn greeted(stream: &TcpStream) -> bool {
    // Small frames must not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let greeting = timeout(GREETING_MAX, stream.peek(&mut [0])).await;
    matches!(greeting, Ok(Ok(1)))
}

fn protocol(streams_max: u32) -> http2::Builder<TokioExecutor> {
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false);
    protocol
}
