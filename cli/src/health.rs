//! Asks a program's admin port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;

/// The admin port answers from memory; slower than this is not well.
const PATIENCE: Duration = Duration::from_secs(2);
/// A page of metrics is some ten kilobytes.
const BYTES_MAX: usize = 4 << 20;

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
    let page = Uri::builder().scheme("http").authority(admin.to_string()).path_and_query(path);
    let page = page.build().with_context(|| format!("{path} is no path of a page"))?;
    let answer = tokio::time::timeout(PATIENCE, exchange(admin, page)).await;
    answer.with_context(|| format!("{admin}{path} gives no answer within {PATIENCE:?}"))?
}

/// Succeeds if the program is ready; otherwise the error names the checks that say so.
pub async fn ready(admin: SocketAddr) -> anyhow::Result<()> {
    let answer = get(admin, "/readyz").await?;
    if answer.status != 200 {
        bail!("{}", answer.body.trim());
    }
    Ok(())
}

async fn exchange(admin: SocketAddr, page: Uri) -> anyhow::Result<Answer> {
    // Each question on its own connection: one kept from before may lead to a program that is gone.
    let mut client = Client::builder(TokioExecutor::new());
    let client = client.pool_max_idle_per_host(0).build_http::<Empty<Bytes>>();
    let reply = client.get(page).await.map_err(|error| failure(admin, error))?;
    let status = reply.status().as_u16();
    let body = Limited::new(reply.into_body(), BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => anyhow!("{admin} sends more than {BYTES_MAX} bytes"),
        false => anyhow!(error).context(format!("{admin} breaks off its answer")),
    })?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { status, body })
}

fn failure(admin: SocketAddr, error: Error) -> anyhow::Error {
    let what = match error.is_connect() {
        true => format!("{admin} cannot be reached"),
        false => format!("{admin} does not speak HTTP"),
    };
    anyhow::Error::new(error).context(what)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Result of asking a server that answers the first question with these bytes.
    async fn asked(reply: Vec<u8>) -> anyhow::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let admin = listener.local_addr().expect("its address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 1024]).await.expect("a question");
            // Who has heard enough hangs up.
            let _ = stream.write_all(&reply).await;
        });
        let answer = get(admin, "/readyz").await;
        server.await.expect("the server ends");
        answer
    }

    #[tokio::test]
    async fn answers_are_read() {
        let cases = [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\nfine\n", 200, "fine\n"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nread: down", 503, "read: down"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"),
        ];
        for (reply, status, body) in cases {
            let answer = asked(reply.into()).await.expect("an answer");
            assert_eq!(answer, Answer { status, body: body.to_owned() });
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said() {
        let long = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'x'; BYTES_MAX + 1]].concat();
        let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec();
        let cases = [
            (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), "does not speak HTTP"),
            (Vec::new(), "does not speak HTTP"),
            (long, "sends more than"),
            (short, "breaks off"),
        ];
        for (reply, expected) in cases {
            let error = format!("{:#}", asked(reply).await.expect_err("no answer"));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn who_does_not_listen_and_who_stays_silent_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let admin = listener.local_addr().expect("its address");
        let error = format!("{:#}", get(admin, "/readyz").await.expect_err("silence"));
        assert!(error.contains("gives no answer within 2s"), "{error}");
        drop(listener);
        let error = format!("{:#}", get(admin, "/readyz").await.expect_err("nobody"));
        assert!(error.contains("cannot be reached") && error.contains("refused"), "{error}");
    }
}
