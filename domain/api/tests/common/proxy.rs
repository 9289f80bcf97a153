//! A way to a server that can be blocked, as by a network that swallows everything, that can be
//! slow, and that can lead to another server, as a name does after a failover.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy)]
struct Way {
    port: u16,
    blocked: bool,
    /// Of what goes to the server.
    delay: Duration,
    /// Raised to cut every connection.
    cut: u32,
}

pub struct Proxy {
    pub port: u16,
    way: Arc<watch::Sender<Way>>,
    round_trips: Arc<AtomicU64>,
}

/// Counts the round trips of a connection: whenever the client speaks after the server did.
#[derive(Clone)]
struct Turns {
    servers: Arc<AtomicBool>,
    round_trips: Arc<AtomicU64>,
}

impl Turns {
    fn spoke(&self, client: bool) {
        let was_servers = self.servers.swap(!client, Ordering::SeqCst);
        if client && was_servers {
            self.round_trips.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let way =
            Arc::new(watch::channel(Way { port, blocked: false, delay: Duration::ZERO, cut: 0 }).0);
        let sender = Arc::clone(&way);
        let round_trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&round_trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = sender.borrow().port;
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let servers = Arc::new(AtomicBool::new(true));
                let turns = Turns { servers, round_trips: Arc::clone(&counted) };
                let way = || sender.subscribe();
                tokio::spawn(copy(from_client, to_server, way(), (true, turns.clone())));
                tokio::spawn(copy(from_server, to_client, way(), (false, turns)));
            }
        });
        Self { port: own_port, way, round_trips }
    }

    /// Round trips so far, over all connections.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::SeqCst)
    }

    /// From now on nothing passes, or everything does again.
    pub fn block(&self, blocked: bool) {
        self.way.send_modify(|way| way.blocked = blocked);
    }

    /// From now on all requests take this much longer.
    pub fn delay(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// New connections go to another server; those that there are go on.
    pub fn lead(&self, port: u16) {
        self.way.send_modify(|way| way.port = port);
    }

    /// Cuts every connection; new ones go to another server.
    pub fn redirect(&self, port: u16) {
        self.way.send_modify(|way| *way = Way { port, cut: way.cut + 1, ..*way });
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    (client, turns): (bool, Turns),
) {
    let cut = way.borrow().cut;
    let mut cuts = way.clone();
    let copying = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
            if way.wait_for(|way| !way.blocked).await.is_err() {
                return;
            }
            turns.spoke(client);
            let delay = way.borrow().delay;
            if client && !delay.is_zero() {
                // tidy: allow sleep: this is the slowness
                tokio::time::sleep(delay).await;
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = copying => {}
        _ = cuts.wait_for(|way| way.cut != cut) => {}
    }
}
