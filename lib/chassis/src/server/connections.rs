//! Accepting, serving and draining connections.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::handler::Handler;
use super::limits::Limits;
use super::stack::Stack;
use crate::connection::{ConnectionSet, accept};

/// The connections of a server.
pub(super) struct Connections<S> {
    limits: Limits,
    stack: Arc<Stack<S>>,
    protocol: http2::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    open: ConnectionSet,
}

impl<S: Handler> Connections<S> {
    pub(super) fn new(limits: Limits, stack: Arc<Stack<S>>) -> Self {
        Self {
            protocol: protocol(&limits),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            limits,
            stack,
            open: ConnectionSet::default(),
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
        let methods = &self.stack.methods;
        let under_way = || methods.places.calls.get() + methods.places.waiting.get();
        self.open.drain(deadline, &self.stack.cut, under_way).await
    }

    async fn accept(&self, listener: &TcpListener) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        // A place comes first, so that who waits, waits in the backlog.
        let place = self.places.clone().acquire_owned().await;
        // The semaphore is never closed.
        (accept(listener).await, place.ok())
    }

    fn spawn(&self, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
        let stack = self.stack.clone();
        let open = self.open.clone();
        let terms = (self.protocol.clone(), self.limits.greeting_max);
        self.open.spawn(&Handle::current(), async move {
            let answer = move |request| stack.clone().answer(request);
            open.serve(stream, terms, answer, std::future::pending()).await;
            drop(place);
        });
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
