//! The connections of one worker thread to one endpoint. The first is opened at once and again
//! whenever it breaks; more are opened when the streams of those there are run out.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_chassis::{Backoff, Delays};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::balance::Standing;
use crate::fault::plain;
use crate::replay_body::Replay;

/// Bytes that an upstream may send ahead on one stream of a slow client.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Streams at once on one connection, if the endpoint allows as many.
const STREAMS_MAX: usize = 1_000;
/// Large enough for all its streams, so that clients that stopped reading cannot stop the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// Fewer, larger frames.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Metadata of an answer.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Connections of one worker to one endpoint.
const CONNECTIONS_MAX: usize = 16;
/// A reachable endpoint answers within a round trip.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const RECONNECT: Delays =
    Delays { first: Duration::from_millis(50), max: Duration::from_secs(1), factor: 2.0 };
/// One that lived shorter was no success: an endpoint that accepts and closes must not be called
/// in a loop.
const LIVED_MIN: Duration = Duration::from_secs(3);
/// No endpoint announces this many streams: as long as it is what we know, the endpoint has
/// announced nothing.
const UNANNOUNCED: usize = 99_999;
const ANNOUNCEMENT_POLL: Duration = Duration::from_millis(1);
/// Finds out that a peer vanished without a word, while requests wait for it.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The request body as it is sent.
pub type SentBody = Replay<Incoming>;

/// Connections of one worker to one endpoint.
pub struct Link {
    address: SocketAddr,
    /// The first is the lasting one.
    slots: Vec<watch::Sender<Slot>>,
    /// Told when the endpoint has been heard of on another way.
    heard_of: Notify,
    retired: CancellationToken,
}

/// Place of a connection.
enum Slot {
    /// Not asked for yet.
    Idle,
    Connecting,
    Ready(Arc<Connection>),
    /// Tried again after a while.
    Broken(&'static str),
}

struct Connection {
    sender: SendRequest<SentBody>,
    in_flight: AtomicUsize,
    /// Bound of concurrent streams that the endpoint allows, as far as it is known.
    streams_max: AtomicUsize,
}

/// Reason why no connection can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// Every stream of every connection is taken.
    Full,
    /// Broken connection, and the cause.
    Broken(&'static str),
}

/// One stream of a connection, given back when dropped.
pub struct Claim(Arc<Connection>);

impl Claim {
    /// Sends a request. The error holds the request if it was never sent. Dropping the future
    /// resets the stream.
    pub fn send(
        &self,
        request: Request<SentBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<SentBody>>>> + use<>
    {
        self.0.sender.clone().try_send_request(request)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    /// Only the link's worker claims, so that looking and taking cannot be torn apart.
    fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) < self.streams_max.load(Ordering::Relaxed)
            && !self.sender.is_closed()
    }

    /// Time to open another one.
    fn is_crowded(&self) -> bool {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        in_flight >= self.streams_max.load(Ordering::Relaxed) / 4 * 3
    }
}

impl Link {
    /// Of an endpoint that is about to be connected to; see [`Link::keep`].
    pub fn new(address: SocketAddr, retired: CancellationToken) -> Link {
        let first = std::iter::once(Slot::Connecting);
        let more = std::iter::repeat_with(|| Slot::Idle);
        let slots = first.chain(more).take(CONNECTIONS_MAX).map(watch::Sender::new).collect();
        Link { address, slots, heard_of: Notify::new(), retired }
    }

    /// State as the balancer should see it.
    pub fn standing(&self) -> Standing {
        let mut best = Standing::Unusable;
        for slot in &self.slots {
            let standing = match &*slot.borrow() {
                Slot::Ready(connection) if connection.has_room() => return Standing::Good,
                Slot::Ready(_) => Standing::Full,
                Slot::Connecting => Standing::Connecting,
                Slot::Idle | Slot::Broken(_) => Standing::Unusable,
            };
            best = best.min(standing);
        }
        best
    }

    /// Reason why there is no connection, if there is none.
    pub fn problem(&self) -> Option<&'static str> {
        match &*self.slots[0].borrow() {
            Slot::Broken(cause) => Some(cause),
            Slot::Idle | Slot::Connecting | Slot::Ready(_) => None,
        }
    }

    /// A stream of the emptiest connection; waits for one that is being made (bounded, since
    /// making it is).
    pub async fn claim(self: &Arc<Self>) -> Result<Claim, NoStream> {
        if let Some(claim) = self.try_claim() {
            return Ok(claim);
        }
        // Boxed, since it is rare and would make every request's future larger.
        Box::pin(self.wait_for_connection()).await;
        self.try_claim().ok_or_else(|| match self.problem() {
            Some(cause) => NoStream::Broken(cause),
            None => NoStream::Full,
        })
    }

    async fn wait_for_connection(&self) {
        let connecting = |slot: &Slot| matches!(slot, Slot::Connecting);
        if let Some(slot) = self.slots.iter().find(|slot| connecting(&slot.borrow())) {
            // An error would mean that the link is gone, and it is borrowed here.
            let _ = slot.subscribe().wait_for(|slot| !connecting(slot)).await;
        }
    }

    fn try_claim(self: &Arc<Self>) -> Option<Claim> {
        let first = self.ready(0);
        let connection = match first {
            Some(connection) if !connection.is_crowded() => connection,
            first => {
                let emptiest = (1..self.slots.len()).filter_map(|slot| self.ready(slot));
                let emptiest = emptiest
                    .chain(first)
                    .min_by_key(|connection| connection.in_flight.load(Ordering::Relaxed))?;
                if emptiest.is_crowded() {
                    self.open_another();
                }
                emptiest
            }
        };
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Claim(connection))
    }

    fn ready(&self, slot: usize) -> Option<Arc<Connection>> {
        match &*self.slots[slot].borrow() {
            Slot::Ready(connection) if connection.has_room() => Some(connection.clone()),
            Slot::Idle | Slot::Connecting | Slot::Ready(_) | Slot::Broken(_) => None,
        }
    }

    /// One at a time.
    fn open_another(self: &Arc<Self>) {
        let connecting = |slot: &watch::Sender<Slot>| matches!(*slot.borrow(), Slot::Connecting);
        let idle = |slot: &watch::Sender<Slot>| matches!(*slot.borrow(), Slot::Idle);
        if self.slots.iter().any(connecting) {
            return;
        }
        if let Some(slot) = self.slots.iter().skip(1).position(idle) {
            let slot = slot + 1;
            self.slots[slot].send_replace(Slot::Connecting);
            let link = self.clone();
            tokio::spawn(async move {
                // Not tried again: the next request that finds a crowd does that.
                let _ = link.connect(slot).await;
                link.slots[slot].send_replace(Slot::Idle);
            });
        }
    }

    /// Keeps the first connection up until the endpoint is retired. Runs on the worker's runtime.
    pub async fn keep(self: Arc<Self>) {
        let mut backoff = Backoff::new(RECONNECT);
        let mut failed = false;
        let retired = self.retired.clone();
        while !retired.is_cancelled() {
            self.slots[0].send_replace(Slot::Connecting);
            let begun = Instant::now();
            let result = self.connect(0).await;
            match result {
                // A restart is nothing unusual: call again at once.
                Ok(()) if begun.elapsed() > LIVED_MIN => backoff.reset(),
                // Requests may wait for it: it was there a moment ago.
                Ok(()) => self.pause(&mut backoff, Slot::Connecting).await,
                // One miss may be the end of the one before: it said goodbye while we called.
                Err(_) if !failed => self.pause(&mut backoff, Slot::Connecting).await,
                Err(cause) => self.pause(&mut backoff, Slot::Broken(cause)).await,
            }
            failed = result.is_err();
        }
        self.slots[0].send_replace(Slot::Broken("endpoint removed"));
    }

    /// The endpoint answers elsewhere: no pause is needed before it is called again. Otherwise a
    /// copy that has just come back could be without connections for up to a second, and the
    /// requests without a copy if the next one goes.
    pub fn wake(&self) {
        self.heard_of.notify_waiters();
    }

    async fn pause(&self, backoff: &mut Backoff, meanwhile: Slot) {
        self.slots[0].send_replace(meanwhile);
        let pause = timeout(backoff.next(rand::random()), self.heard_of.notified());
        self.retired.run_until_cancelled(pause).await;
    }

    /// Makes a connection and drives it to its end; the slot shows it meanwhile.
    async fn connect(&self, slot: usize) -> Result<(), &'static str> {
        let slot = &self.slots[slot];
        let opened = self.retired.run_until_cancelled(timeout(CONNECT_MAX, self.open())).await;
        let opened = opened.ok_or("endpoint removed")?;
        let (sender, mut driver) = opened.map_err(|_| "connection timed out")??;
        let connection = Arc::new(Connection {
            sender,
            in_flight: AtomicUsize::new(0),
            streams_max: AtomicUsize::new(allowed(&driver)),
        });
        slot.send_replace(Slot::Ready(connection.clone()));
        let driven = poll_fn(|cx| {
            connection.streams_max.store(allowed(&driver), Ordering::Relaxed);
            Pin::new(&mut driver).poll(cx)
        });
        // Once retired nothing new is sent; hyper's own tasks carry what is under way to its end.
        self.retired.run_until_cancelled(driven).await;
        Ok(())
    }

    /// Opens one, and waits until the endpoint has announced how many streams it takes: more would
    /// queue up in the connection, out of the balancer's sight. A process that hangs accepts
    /// connections too, and announces nothing.
    async fn open(&self) -> Result<(SendRequest<SentBody>, Driver), &'static str> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| plain(&error))?;
        // Small frames must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let handshake = builder().handshake(TokioIo::new(stream)).await;
        let (sender, mut driver) = handshake.map_err(|_| "connection closed")?;
        while driver.current_max_send_streams() == UNANNOUNCED {
            // Resolves only when the connection has ended.
            if timeout(ANNOUNCEMENT_POLL, &mut driver).await.is_ok() {
                return Err("connection closed");
            }
        }
        Ok((sender, driver))
    }
}

type Driver = http2::Connection<TokioIo<TcpStream>, SentBody, TokioExecutor>;

/// Streams at once that the endpoint takes, and we send.
fn allowed(driver: &Driver) -> usize {
    driver.current_max_send_streams().min(STREAMS_MAX)
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_max_send_streams(UNANNOUNCED)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
