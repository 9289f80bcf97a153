//! Connections of a server, however many runtimes serve them: accepted, greeted, served and
//! drained.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after a failed accept: with no file descriptor left it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The next connection of a listener, however often accepting fails meanwhile.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// The connections of one server, which end together.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSet {
    tasks: TaskTracker,
    /// Finish what is under way, take nothing new.
    drain: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

impl ConnectionSet {
    /// Number of connections.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Runs the task of a connection, which counts as open until the task ends.
    pub fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, runtime);
    }

    /// Serves a connection to its end, unless its peer stays silent for `greeting_max`. The peer is
    /// asked to go when the set drains or `leaving` resolves.
    pub async fn serve<A, F, B>(
        &self,
        stream: TcpStream,
        (protocol, greeting_max): (http2::Builder<TokioExecutor>, Duration),
        answer: A,
        leaving: impl Future<Output = ()>,
    ) where
        A: Fn(Request<Incoming>) -> F,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        if !greeted(&stream, greeting_max).await {
            return;
        }
        let service = service_fn(answer);
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
        let left = async {
            tokio::select! {
                () = self.drain.cancelled() => {}
                () = leaving => {}
            }
        };
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = left => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.abort.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            // The peer's doing, as a rule: a reset, a probe, another protocol.
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// Drains within nine tenths of the deadline. Streams get half of it, until `cut` is cancelled,
    /// calls most of it: the rest is for the program to end in good order.
    ///
    /// # Errors
    /// If calls were still under way at the end, by `under_way`'s count, and were cut.
    pub async fn drain(
        self,
        deadline: Duration,
        cut: &CancellationToken,
        under_way: impl FnOnce() -> i64,
    ) -> anyhow::Result<()> {
        self.drain.cancel();
        self.tasks.close();
        if self.ended_within(deadline / 2).await {
            return Ok(());
        }
        cut.cancel();
        if self.ended_within(deadline * 2 / 5).await {
            return Ok(());
        }
        let under_way = under_way();
        self.abort.cancel();
        anyhow::bail!(
            "{under_way} calls were still under way at the end of the drain, and were cut"
        )
    }

    async fn ended_within(&self, patience: Duration) -> bool {
        timeout(patience, self.tasks.wait()).await.is_ok()
    }
}

/// True if the peer says anything in time. A silent one would hold its place for ever: pings start
/// after the handshake.
async fn greeted(stream: &TcpStream, greeting_max: Duration) -> bool {
    // A small reply must not wait for the acknowledgement of the one before it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let greeting = timeout(greeting_max, stream.peek(&mut [0])).await;
    matches!(greeting, Ok(Ok(1)))
}
