//! A client without the manners of tonic's: it enforces nothing, and shows frames as they come.

use std::net::{Shutdown, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::echo::Note;

/// One connection.
pub struct Raw {
    pub sender: SendRequest<Full<Bytes>>,
    /// The same socket, to break it by.
    socket: std::net::TcpStream,
    address: SocketAddr,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap().into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Raw { sender, socket, address }
    }

    /// A well-formed call, to which headers can be added.
    pub fn call(&self, path: &str, text: &str) -> Request<Full<Bytes>> {
        let message = Note::new(text).encode_to_vec();
        let mut frame = vec![0];
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&message);
        Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(frame)))
            .unwrap()
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.sender.send_request(request).await.unwrap()
    }

    /// The connection breaks, without a word.
    pub fn cut(self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }
}

/// The rest of an answer: its bytes, and its trailers if it has any.
pub async fn rest(response: Response<Incoming>) -> (Bytes, Option<HeaderMap>) {
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}
