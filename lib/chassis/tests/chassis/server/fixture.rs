//! A running server whose handlers do as they are told, and its clients.
//!
//! The messages are those of the health service, behind the paths of other methods: what is tested
//! is the stack and not the messages.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BufMut as _;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use headwater_chassis::server::Handler;
use headwater_chassis::{
    Common, Limits, LogFormat, Metrics, Readiness, Server, Shutdown, bind, serve,
};
use http::uri::PathAndQuery;
use http::{Request as HttpRequest, Response as HttpResponse, Uri};
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::ServiceExt as _;

pub const UNARY: &str = "/users.v1.UserQueryService/GetUser";
pub const STREAM: &str = "/stores.v1.StoreQueryService/ListStores";

type Codec = tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckResponse>;

/// Sends bytes as they are.
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = HealthCheckResponse;
    type Encoder = Self;
    type Decoder = tonic_prost::ProstDecoder<HealthCheckResponse>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::Decoder::default()
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(
        &mut self,
        message: Vec<u8>,
        into: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), Status> {
        into.put_slice(&message);
        Ok(())
    }
}

/// Bounds every wait of a test.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("within 10 s")
}

/// A descriptor set of the services that the tests call, without their messages.
fn descriptors() -> &'static [u8] {
    let service = |name: &str, methods: &[&str]| ServiceDescriptorProto {
        name: Some(name.to_owned()),
        method: methods.iter().map(|name| method(name)).collect(),
        options: None,
    };
    let file = |package: &str, service: Vec<ServiceDescriptorProto>| FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: Some(package.to_owned()),
        service,
        ..Default::default()
    };
    let stores = vec![
        service("StoreCommandService", &["OpenStore"]),
        service("StoreQueryService", &["ListStores"]),
    ];
    let users = vec![service("UserQueryService", &["GetUser"])];
    let file = vec![file("stores.v1", stores), file("users.v1", users)];
    FileDescriptorSet { file }.encode_to_vec().leak()
}

fn method(name: &str) -> MethodDescriptorProto {
    MethodDescriptorProto { name: Some(name.to_owned()), ..Default::default() }
}

/// Waits for a condition.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), holds).await.expect(what);
}

pub struct Running {
    pub address: SocketAddr,
    pub channel: Channel,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    /// Lets what is told to hold go on.
    pub gate: Arc<Semaphore>,
    handlers: Arc<AtomicUsize>,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub async fn start(limits: Limits) -> Self {
        Self::start_with(limits, Duration::from_secs(10)).await
    }

    pub async fn start_with(limits: Limits, shutdown_max: Duration) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new();
        let readiness = Readiness::new(&[]);
        let shutdown = Shutdown::new();
        let mut server = Server::new(
            common(address, shutdown_max),
            metrics.clone(),
            readiness.clone(),
            shutdown.clone(),
            listener,
        );
        server.limits = limits;
        server.descriptors = vec![descriptors()];
        let (gate, handlers) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let obedient = Obedient { gate: gate.clone(), handlers: handlers.clone() };
        let served = tokio::spawn(serve(server, behind_other_paths(obedient)));
        let channel = Channel::builder(format!("http://{address}").parse().unwrap());
        let channel = channel.connect().await.unwrap();
        Self { address, channel, metrics, readiness, shutdown, gate, handlers, served }
    }

    /// Requests shutdown and waits for the end of the drain.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.trigger();
        within(self.served).await.expect("the server does not panic")
    }

    pub async fn call(&self, told: &str) -> Result<(), Status> {
        within(unary(self.channel.clone(), told)).await
    }

    /// Starts a call, and waits until its handler runs.
    pub async fn spawn_call(&self, told: &'static str) -> JoinHandle<Result<(), Status>> {
        let before = self.handlers();
        let call = tokio::spawn(unary(self.channel.clone(), told));
        eventually("the handler runs", || self.handlers() > before).await;
        call
    }

    /// A call on a connection of its own, whose client keeps no deadline itself, so that the
    /// server's is seen.
    pub async fn call_at(
        &self,
        path: &'static str,
        told: &str,
        timeout: Option<&'static str>,
    ) -> Result<(), Status> {
        let mut client = bare_client(self.address).await;
        let reply = client.unary(request(told, timeout), at(path), Codec::default());
        within(reply).await.map(|_| ())
    }

    /// The refusal of a call with these bytes as its message.
    pub async fn call_raw(&self, message: &[u8], encoding: Option<&'static str>) -> Status {
        let mut client = bare_client(self.address).await;
        let mut request = Request::new(message.to_vec());
        if let Some(encoding) = encoding {
            request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        }
        within(client.unary(request, at(UNARY), Raw)).await.map(|_| ()).expect_err("refused")
    }

    pub async fn stream(&self, told: &str) -> Streaming<HealthCheckResponse> {
        self.stream_until(told, None).await
    }

    pub async fn stream_until(
        &self,
        told: &str,
        timeout: Option<&'static str>,
    ) -> Streaming<HealthCheckResponse> {
        let mut client = bare_client(self.address).await;
        let reply = client.server_streaming(request(told, timeout), at(STREAM), Codec::default());
        within(reply).await.unwrap().into_inner()
    }

    pub async fn health(&self, service: &str) -> Result<ServingStatus, Code> {
        let mut client = HealthClient::new(self.channel.clone());
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = within(client.check(request)).await;
        reply.map(|reply| reply.into_inner().status()).map_err(|status| status.code())
    }

    /// Handlers that run now.
    pub fn handlers(&self) -> usize {
        self.handlers.load(Ordering::SeqCst)
    }

    pub fn gauge(&self, name: &str) -> i64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("the gauge").parse().unwrap()
    }

    /// Waits until so many calls are under way: a call ends a little after its reply was read.
    pub async fn in_flight(&self, expected: i64) {
        eventually("calls under way", || self.gauge("headwater_grpc_in_flight") == expected).await;
    }

    /// Waits until so many calls are counted.
    pub async fn counted(&self, path: &str, code: &str, expected: u64) {
        let method = &path[1..];
        let line = format!(
            "headwater_grpc_requests_total{{method=\"{method}\",code=\"{code}\"}} {expected}\n"
        );
        eventually(&line, || self.metrics.encode().contains(&line)).await;
    }
}

fn common(listen: SocketAddr, shutdown: Duration) -> Common {
    Common {
        listen,
        admin_listen: listen,
        log: "info".to_owned(),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
        trace_ratio: 0.0,
        shutdown,
    }
}

fn request(told: &str, timeout: Option<&'static str>) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: told.to_owned() });
    if let Some(timeout) = timeout {
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    request
}

fn at(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

async fn unary(channel: Channel, told: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    client.unary(request(told, None), at(UNARY), Codec::default()).await.map(|_| ())
}

/// tonic's codec on hyper's connection: without the timers of tonic's channel.
async fn bare_client(
    address: SocketAddr,
) -> tonic::client::Grpc<
    impl tower::Service<
        HttpRequest<Body>,
        Response = HttpResponse<hyper::body::Incoming>,
        Error = hyper::Error,
        Future: Send,
    >,
> {
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let service = tower::service_fn(move |request| sender.clone().send_request(request));
    let origin: Uri = format!("http://{address}").parse().unwrap();
    tonic::client::Grpc::with_origin(service, origin)
}

/// Serves the health service's methods under the paths of others.
fn behind_other_paths(obedient: Obedient) -> impl Handler {
    let health = HealthServer::new(obedient);
    tower::service_fn(move |mut request: HttpRequest<Body>| {
        let path = match request.uri().path() {
            UNARY => "/grpc.health.v1.Health/Check",
            STREAM => "/grpc.health.v1.Health/Watch",
            _ => "/unknown",
        };
        *request.uri_mut() = Uri::from_static(path);
        health.clone().oneshot(request).map(|reply| {
            let Ok(reply) = reply;
            Ok::<_, Infallible>(reply)
        })
    })
}

/// Does what the request tells it.
struct Obedient {
    gate: Arc<Semaphore>,
    handlers: Arc<AtomicUsize>,
}

/// Counts a handler while it runs.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(handlers: &Arc<AtomicUsize>) -> Self {
        handlers.fetch_add(1, Ordering::SeqCst);
        Self(handlers.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl Health for Obedient {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let _counted = Counted::new(&self.handlers);
        match request.into_inner().service.as_str() {
            "ok" => {}
            "missing" => return Err(Status::not_found("nothing here")),
            "panic" => panic!("told to panic"),
            "hold" => self.gate.acquire().await.unwrap().forget(),
            "forever" => std::future::pending().await,
            other => panic!("told {other:?}"),
        }
        Ok(Response::new(HealthCheckResponse::default()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let first = futures_util::stream::iter([Ok(HealthCheckResponse::default())]);
        let gate = self.gate.clone();
        let then = async move {
            match request.into_inner().service.as_str() {
                "one" => std::future::pending().await,
                "two" => gate.acquire().await.unwrap().forget(),
                "panic" => {
                    gate.acquire().await.unwrap().forget();
                    panic!("told to panic")
                }
                other => panic!("told {other:?}"),
            }
            Ok(HealthCheckResponse::default())
        };
        Ok(Response::new(Box::pin(first.chain(then.into_stream()))))
    }
}
