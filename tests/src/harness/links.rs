//! Network links of a cluster: a proxy between each program and everything that it calls, which can
//! be cut, slowed down, or left half open.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headwater_cli::local::Plan;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that one direction of a connection holds while it is slow.
const CHUNK: usize = 16 * 1024;
/// Settings that name what a program calls.
const ADDRESSES: [&str; 5] = [
    "HEADWATER_WRITE_URL",
    "HEADWATER_READ_URL",
    "HEADWATER_READ_URLS",
    "HEADWATER_COMMAND_UPSTREAMS",
    "HEADWATER_QUERY_UPSTREAMS",
];

/// Condition of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Everything is passed on at once.
    Up,
    /// Connections are closed, and so is each new one.
    Cut,
    /// Requests arrive, and replies do not: nobody is told, and connections stay open. They break
    /// when it is over, as with a peer that has forgotten them.
    HalfOpen,
    /// Everything is passed on later by this time, in both directions.
    Delayed(Duration),
    /// So many bytes a second are passed on, for each direction of each connection.
    Throttled(u32),
}

/// All links of a cluster, by who calls and who is called.
#[derive(Default)]
pub struct Links {
    lines: BTreeMap<(String, String), watch::Sender<Line>>,
}

impl Links {
    /// Puts a proxy between the programs of a plan and what they call: their settings name it
    /// instead. Before any of them is started.
    ///
    /// # Errors
    /// No port is free.
    pub async fn lay(plan: &mut Plan) -> anyhow::Result<Links> {
        let nodes = plan.nodes.iter().map(|node| (node.name.clone(), node.address()));
        let programs = plan.programs.iter().map(|program| (program.name.clone(), program.grpc));
        let called: Vec<(String, SocketAddr)> = nodes.chain(programs).collect();
        let mut lines = BTreeMap::new();
        for program in &mut plan.programs {
            let mut env: Vec<&mut (String, String)> = program.env.iter_mut().collect();
            env.retain(|(name, _)| ADDRESSES.contains(&name.as_str()));
            for (name, address) in &called {
                if !env.iter().any(|(_, value)| redirected(value, *address, "") != *value) {
                    continue;
                }
                let (line, proxy) = lay(*address).await?;
                for (_, value) in &mut env {
                    *value = redirected(value, *address, &proxy.to_string());
                }
                lines.insert((program.name.clone(), name.clone()), line);
            }
        }
        Ok(Links { lines })
    }

    /// Sets the condition of the links between two members. A name stands for all copies
    /// (`projector`, `replica`), and `*` for everybody.
    ///
    /// # Panics
    /// If there is no such link.
    pub fn set(&self, from: &str, to: &str, line: Line) {
        let is_meant = |wanted: &str, name: &str| {
            let rest = name.strip_prefix(wanted);
            wanted == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let meant = self.lines.iter().filter(|((a, b), _)| is_meant(from, a) && is_meant(to, b));
        let meant: Vec<_> = meant.map(|(_, sender)| sender).collect();
        assert!(!meant.is_empty(), "no link leads from {from} to {to}");
        for sender in meant {
            sender.send_replace(line);
        }
    }
}

/// A setting's text with another address in the place of this one.
fn redirected(text: &str, from: SocketAddr, to: &str) -> String {
    let from = from.to_string();
    let mut pieces = text.split(from.as_str());
    let mut redirected = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_another = piece.starts_with(|next: char| next.is_ascii_digit());
        redirected += if is_another { &from } else { to };
        redirected += piece;
    }
    redirected
}

async fn lay(to: SocketAddr) -> anyhow::Result<(watch::Sender<Line>, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, line) = watch::channel(Line::Up);
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(carry(caller, to, line.clone()));
        }
    });
    Ok((sender, address))
}

/// One connection, until an end closes it or the link breaks it.
async fn carry(caller: TcpStream, to: SocketAddr, line: watch::Receiver<Line>) -> io::Result<()> {
    if *line.borrow() == Line::Cut {
        return Ok(());
    }
    let called = TcpStream::connect(to).await?;
    for stream in [&caller, &called] {
        stream.set_nodelay(true)?;
    }
    let (requests, reply_to) = caller.into_split();
    let (replies, request_to) = called.into_split();
    let both = async {
        let requests = pass(requests, request_to, &line, false);
        let replies = pass(replies, reply_to, &line, true);
        tokio::try_join!(requests, replies).map(drop)
    };
    tokio::select! {
        ended = both => ended,
        () = until_broken(line.clone()) => Ok(()),
    }
}

async fn until_broken(mut line: watch::Receiver<Line>) {
    let breaks = |line: &Line| matches!(line, Line::Cut | Line::HalfOpen);
    // An error: the cluster is gone.
    let Ok(broken) = line.wait_for(breaks).await.map(|line| *line) else { return };
    if broken == Line::HalfOpen {
        let _ = line.wait_for(|line| *line != Line::HalfOpen).await;
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: &watch::Receiver<Line>,
    are_replies: bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let now = *line.borrow();
        let late = match now {
            Line::Up | Line::Cut => Duration::ZERO,
            Line::HalfOpen if are_replies => std::future::pending().await,
            Line::HalfOpen => Duration::ZERO,
            Line::Delayed(time) => time,
            Line::Throttled(rate) => Duration::from_secs_f64(read as f64 / f64::from(rate)),
        };
        if !late.is_zero() {
            // tidy: allow sleep: how slow the link is
            tokio::time::sleep(late).await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(100);

    /// Gives back what it is sent.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn answer(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_u8(7).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn a_line_is_cut_slowed_and_left_half_open() {
        let (line, address) = lay(echo().await).await.expect("a link");
        let mut stream = TcpStream::connect(address).await.expect("connected");
        assert_eq!(answer(&mut stream).await.expect("passed on"), 7);
        line.send_replace(Line::Delayed(SILENCE));
        let begun = Instant::now();
        assert_eq!(answer(&mut stream).await.expect("passed on"), 7);
        assert!(begun.elapsed() >= SILENCE * 2, "both ways: {:?}", begun.elapsed());
        line.send_replace(Line::HalfOpen);
        let silent = tokio::time::timeout(SILENCE, answer(&mut stream)).await;
        assert!(silent.is_err(), "{silent:?}");
        line.send_replace(Line::Up);
        assert!(answer(&mut stream).await.is_err(), "it was forgotten");
        let mut stream = TcpStream::connect(address).await.expect("connected");
        assert_eq!(answer(&mut stream).await.expect("passed on"), 7);
        line.send_replace(Line::Cut);
        assert!(answer(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(address).await.expect("accepted, and closed");
        assert!(answer(&mut refused).await.is_err());
    }

    #[test]
    fn an_address_is_replaced_and_a_longer_one_is_not() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1600));
        let text = "postgres://u:p@127.0.0.1:1600,127.0.0.1:16001/d";
        assert_eq!(redirected(text, from, "X"), "postgres://u:p@X,127.0.0.1:16001/d");
    }
}
