//! A way to a server that can be blocked, as by a network that swallows everything, and that can
//! lead to another server, as a name does after a failover.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy)]
struct Way {
    port: u16,
    blocked: bool,
    /// Raised to cut every connection.
    cut: u32,
}

pub struct Proxy {
    pub port: u16,
    way: Arc<watch::Sender<Way>>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::channel(Way { port, blocked: false, cut: 0 }).0);
        let sender = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = sender.borrow().port;
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(copy(from_client, to_server, sender.subscribe()));
                tokio::spawn(copy(from_server, to_client, sender.subscribe()));
            }
        });
        Self { port: own_port, way }
    }

    /// From now on nothing passes, or everything does again.
    pub fn block(&self, blocked: bool) {
        self.way.send_modify(|way| way.blocked = blocked);
    }

    /// Cuts every connection; new ones go to another server.
    pub fn redirect(&self, port: u16) {
        self.way.send_modify(|way| *way = Way { port, cut: way.cut + 1, ..*way });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let cut = way.borrow().cut;
    let mut cuts = way.clone();
    let copying = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
            if way.wait_for(|way| !way.blocked).await.is_err() {
                return;
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
