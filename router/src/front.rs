//! Client connections: accepted in one place and handed to the worker that has fewest.
//!
//! The alternative, a listener for each worker with SO_REUSEPORT, leaves the choice to a hash of
//! the addresses: of four connections from a mesh's proxy, three or all may meet on one core.
//! Connections live long and requests do not pass through here, so one place to accept is enough.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use headwater_chassis::connection::{ConnectionSet, accept};
use headwater_chassis::metrics::Gauge;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::config::Limits;
use crate::endpoint::Worker;
use crate::forward::{Forward, Shared};

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
    open: ConnectionSet,
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
            open: ConnectionSet::default(),
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
                stream = accept(&listener) => self.hand_over(stream),
            }
        }
        drop(listener);
        let under_way = || self.shared.meters.places.calls.get();
        self.open.drain(deadline, &self.shared.cut, under_way).await
    }

    /// To the worker with the fewest connections.
    fn hand_over(&self, stream: TcpStream) {
        let meters = &self.shared.meters;
        if self.open.count() >= self.limits.connections_max {
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
        let age_max = self.limits.connection_age.mul_f64(rand::random_range(0.9..1.1));
        let served = serve(stream, lane.forward.clone(), self.open.clone(), age_max);
        self.open.spawn(&lane.runtime, async move {
            served.await;
            drop(place);
        });
    }
}

/// Serves one connection until its end; at the age of `age_max` its client is asked to go.
async fn serve(
    stream: std::net::TcpStream,
    forward: Arc<Forward>,
    open: ConnectionSet,
    age_max: Duration,
) {
    let Ok(stream) = TcpStream::from_std(stream) else {
        return;
    };
    let terms = (protocol(forward.shared.limits.streams_max), GREETING_MAX);
    let answer = move |request| forward.answer(request).map(Ok);
    open.serve(stream, terms, answer, sleep(age_max)).await;
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
