//! A router in front of copies, and clients to call it with.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use headwater_chassis::{Invocation, Shutdown};
use headwater_router::{Config, Router, start};
use prost::Message as _;
use tempfile::NamedTempFile;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic::{IntoRequest, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::copy::Copy;
use crate::echo::{Note, descriptors};

/// For everything that is waited for: far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A router under test.
pub struct Rig {
    pub router: Router,
    pub shutdown: Shutdown,
    _descriptors: NamedTempFile,
}

/// Nobody listens here: bound once, and closed again.
pub fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Rig {
    /// With one command and one query copy.
    pub async fn simple(command: &Copy, query: &Copy) -> Rig {
        Rig::start(&[command.address], &[query.address], &[]).await
    }

    pub async fn start(
        commands: &[SocketAddr],
        queries: &[SocketAddr],
        more: &[(&str, &str)],
    ) -> Rig {
        let mut file = NamedTempFile::new().unwrap();
        File::write_all(file.as_file_mut(), &descriptors().encode_to_vec()).unwrap();
        let list = |addresses: &[SocketAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let (commands, queries) = (list(commands), list(queries));
        let path = file.path().display().to_string();
        let vars = [
            ("HEADWATER_LISTEN", "127.0.0.1:0"),
            ("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0"),
            ("HEADWATER_COMMAND_UPSTREAMS", commands.as_str()),
            ("HEADWATER_QUERY_UPSTREAMS", queries.as_str()),
            ("HEADWATER_DESCRIPTORS", path.as_str()),
            ("HEADWATER_THREADS", "2"),
            ("HEADWATER_PROBE_MS", "50"),
        ];
        let vars = vars.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let vars = vars.chain(more).map(|(name, value)| (name.to_string(), value.to_string()));
        let config = Config::read(Invocation::from_parts("router", vars, Vec::new())).unwrap();
        let shutdown = Shutdown::new();
        let router = start(config, headwater_domain_proto::FILE_DESCRIPTOR_SET, shutdown.clone())
            .await
            .unwrap();
        Rig { router, shutdown, _descriptors: file }
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.router.grpc)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }

    /// A page of the admin port, and its status line.
    pub async fn admin(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.router.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    pub async fn ready(&self) -> bool {
        self.admin("/readyz").await.starts_with("HTTP/1.1 200")
    }

    /// Shuts down, and waits for the end of the drain.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        within(self.router.ended()).await
    }
}

/// A client of the test service.
#[derive(Clone)]
pub struct Client(Grpc<Channel>);

type Codec = ProstCodec<Note, Note>;

impl Client {
    pub fn new(channel: Channel) -> Client {
        let grpc = Grpc::new(channel);
        Client(grpc.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
    }

    pub async fn unary(
        &self,
        path: &'static str,
        request: impl IntoRequest<Note>,
    ) -> Result<Response<Note>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        grpc.unary(request.into_request(), path, Codec::default()).await
    }

    /// The text of a unary answer.
    pub async fn text(&self, path: &'static str, text: &str) -> Result<String, Status> {
        let reply = self.unary(path, Request::new(Note::new(text))).await?;
        Ok(reply.into_inner().text)
    }

    pub async fn client_streaming(
        &self,
        path: &'static str,
        notes: impl futures_util::Stream<Item = Note> + Send + 'static,
    ) -> Result<Response<Note>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        grpc.client_streaming(Request::new(notes), path, Codec::default()).await
    }

    pub async fn server_streaming(
        &self,
        path: &'static str,
        request: impl IntoRequest<Note>,
    ) -> Result<Streaming<Note>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let reply = grpc.server_streaming(request.into_request(), path, Codec::default()).await?;
        Ok(reply.into_inner())
    }

    pub async fn streaming(
        &self,
        path: &'static str,
        notes: impl futures_util::Stream<Item = Note> + Send + 'static,
    ) -> Result<Streaming<Note>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let reply = grpc.streaming(Request::new(notes), path, Codec::default()).await?;
        Ok(reply.into_inner())
    }
}

/// The reason that a failure carries.
pub fn reason(status: &Status) -> String {
    details(status).error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// A value from the metadata of the reason.
pub fn fact(status: &Status, key: &str) -> String {
    let details = details(status);
    let info = details.error_info();
    info.and_then(|info| info.metadata.get(key).cloned()).unwrap_or_default()
}

pub fn details(status: &Status) -> ErrorDetails {
    status.get_error_details()
}

/// Fails the test if it takes too long.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("took too long")
}

/// Waits until it holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            // tidy: allow sleep: between two looks, within the patience
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "timed out waiting until {what}");
}
