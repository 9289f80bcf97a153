//! Asks a program's admin port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The admin port answers from memory; slower than this is not well.
const PATIENCE: Duration = Duration::from_secs(2);
/// A page of metrics is some ten kilobytes.
const BYTES_MAX: u64 = 4 << 20;

/// An answer of the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Text of the page.
    pub body: String,
}

/// Reads a page, such as `/readyz` or `/metrics`.
pub async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(admin).await?;
        // HTTP/1.0: the server closes when it is done and does not send chunks.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.take(BYTES_MAX).read_to_end(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = tokio::time::timeout(PATIENCE, exchange).await;
    let reply = reply.with_context(|| format!("{admin}{path} gives no answer"))??;
    parse(&String::from_utf8_lossy(&reply)).with_context(|| format!("{admin} does not speak HTTP"))
}

/// Whether the program is ready; if not, the checks that say so.
pub async fn ready(admin: SocketAddr) -> anyhow::Result<()> {
    let answer = get(admin, "/readyz").await?;
    if answer.status != 200 {
        bail!("{}", answer.body.trim());
    }
    Ok(())
}

fn parse(reply: &str) -> Option<Answer> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let cases = [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\nfine\n", Some((200, "fine\n"))),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nread: down", Some((503, "read: down"))),
            ("SSH-2.0-OpenSSH\r\n\r\n", None),
            ("", None),
        ];
        for (reply, expected) in cases {
            let expected = expected.map(|(status, body)| Answer { status, body: body.to_owned() });
            assert_eq!(parse(reply), expected, "{reply}");
        }
    }
}
