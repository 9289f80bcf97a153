//! Accepting, serving and draining connections.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handler::Handler;
use super::limits::Limits;
use super::stack::Stack;

/// Pause after a failed accept: with no file descriptor left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections of a server.
pub(super) struct Connections<S> {
    limits: Limits,
    stack: Arc<Stack<S>>,
    protocol: http2::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Finish what is under way, take nothing new.
    drain: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

impl<S: Handler> Connections<S> {
    pub(super) fn new(limits: Limits, stack: Arc<Stack<S>>) -> Self {
        Self {
            protocol: protocol(&limits),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            limits,
            stack,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// Serves until `draining` resolves, then drains within nine tenths of the deadline.
    pub(super) async fn serve(
        self,
        listener: TcpListener,
        draining: impl Future<Output = ()>,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let mut draining = pin!(draining);
        loop {
            tokio::select! {
                () = &mut draining => break,
                (stream, place) = self.accept(&listener) => self.spawn(stream, place),
            }
        }
        drop(listener);
        self.drain(deadline).await
    }

    async fn accept(&self, listener: &TcpListener) -> (TcpStream, OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed; a place comes first, so that who waits, waits in the
            // backlog.
            let place = self.places.clone().acquire_owned().await;
            match (listener.accept().await, place) {
                (Ok((stream, _)), Ok(place)) => return (stream, place),
                (Err(error), _) => tracing::warn!(%error, "a connection could not be accepted"),
                (Ok(_), Err(_)) => {}
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn spawn(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let connection = self.connection(stream);
        self.tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + use<S> {
        let (stack, protocol) = (self.stack.clone(), self.protocol.clone());
        let (drain, abort) = (self.drain.clone(), self.abort.clone());
        let greeting_max = self.limits.greeting_max;
        async move {
            if !greeted(&stream, greeting_max).await {
                return;
            }
            let service = service_fn(move |request| stack.clone().answer(request));
            let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = drain.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection => ended,
                        () = abort.cancelled() => return,
                    }
                }
            };
            if let Err(error) = ended {
                // The peer's doing, as a rule: a reset, a probe, another protocol.
                tracing::debug!(%error, "a connection ended with an error");
            }
        }
    }

    /// Streams get half of the deadline, calls most of it: the rest is for the program to end in
    /// good order.
    async fn drain(self, deadline: Duration) -> anyhow::Result<()> {
        self.drain.cancel();
        self.tasks.close();
        if self.ended_within(deadline / 2).await {
            return Ok(());
        }
        self.stack.cut.cancel();
        if self.ended_within(deadline * 2 / 5).await {
            return Ok(());
        }
        let methods = &self.stack.methods;
        let under_way = methods.in_flight.get() + methods.streams.get();
        self.abort.cancel();
        anyhow::bail!(
            "{under_way} calls were still under way at the end of the drain, and were cut"
        )
    }

    async fn ended_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }
}

fn protocol(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_header_list_size(limits.header_bytes_max)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .auto_date_header(false);
    protocol
}

/// True if the peer says anything in time. A silent one would hold its place for ever: pings start
/// after the handshake.
async fn greeted(stream: &TcpStream, greeting_max: Duration) -> bool {
    // A small reply must not wait for the acknowledgement of the one before it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let greeting = tokio::time::timeout(greeting_max, stream.peek(&mut [0])).await;
    matches!(greeting, Ok(Ok(1)))
}
