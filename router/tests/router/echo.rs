//! A service with all four kinds of call, and the messages it speaks. Written by hand: the router
//! must carry what it knows nothing of.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions,
    ServiceDescriptorProto,
};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Every method takes and gives this.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(bytes = "vec", tag = "2")]
    pub load: Vec<u8>,
}

impl Note {
    pub fn new(text: impl Into<String>) -> Note {
        Note { text: text.into(), load: Vec::new() }
    }
}

pub const GET: &str = "/test.v1.Echo/Get";
pub const PUT: &str = "/test.v1.Echo/Put";
pub const COLLECT: &str = "/test.v1.Echo/Collect";
pub const SPREAD: &str = "/test.v1.Echo/Spread";
pub const CHAT: &str = "/test.v1.Echo/Chat";

/// What the router is given to route by. `Get`, `Spread` and `Chat` are queries.
pub fn descriptors() -> FileDescriptorSet {
    let method = |name: &str, query: bool, client: bool, server: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".test.v1.Note".to_owned()),
        output_type: Some(".test.v1.Note".to_owned()),
        client_streaming: Some(client),
        server_streaming: Some(server),
        options: query.then(|| MethodOptions {
            idempotency_level: Some(IdempotencyLevel::NoSideEffects.into()),
            ..Default::default()
        }),
    };
    let file = FileDescriptorProto {
        name: Some("test/v1/echo.proto".to_owned()),
        package: Some("test.v1".to_owned()),
        message_type: vec![prost_types::DescriptorProto {
            name: Some("Note".to_owned()),
            ..Default::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Echo".to_owned()),
            method: vec![
                method("Get", true, false, false),
                method("Put", false, false, false),
                method("Collect", false, true, false),
                method("Spread", true, false, true),
                method("Chat", true, true, true),
            ],
            ..Default::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }
}

/// What a copy of the service has seen, and what holds it up.
pub struct Seen {
    /// Calls that reached a handler.
    pub calls: AtomicUsize,
    /// Handlers that were dropped before they were done.
    pub dropped: AtomicUsize,
    /// Messages that `Spread` has sent.
    pub sent: AtomicUsize,
    /// Headers of the last call.
    pub headers: Mutex<HeaderMap>,
    /// Calls with the text `hold` wait for this.
    pub released: watch::Sender<bool>,
    /// Calls with the text `die` break all connections by this.
    pub deaths: watch::Sender<usize>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            calls: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            headers: Mutex::default(),
            released: watch::Sender::new(false),
            deaths: watch::Sender::new(0),
        }
    }
}

impl Seen {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        self.headers.lock().unwrap().get(name).cloned()
    }
}

/// Counts a handler that has begun, and again if it is dropped early.
struct Unfinished(Arc<Seen>, bool);

impl Unfinished {
    fn begin(seen: &Arc<Seen>) -> Unfinished {
        seen.calls.fetch_add(1, Ordering::SeqCst);
        Unfinished(seen.clone(), false)
    }

    fn finished(mut self) {
        self.1 = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// One copy of the service.
#[derive(Clone)]
pub struct Echo {
    pub name: &'static str,
    pub seen: Arc<Seen>,
}

type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;

impl Echo {
    async fn one(self, request: Request<Note>) -> Result<Response<Note>, Status> {
        let unfinished = Unfinished::begin(&self.seen);
        match request.get_ref().text.as_str() {
            "hang" => std::future::pending().await,
            "die" => {
                self.seen.deaths.send_modify(|deaths| *deaths += 1);
                std::future::pending().await
            }
            "hold" => {
                let _ = self.seen.released.subscribe().wait_for(|released| *released).await;
            }
            "fail" => {
                unfinished.finished();
                let mut metadata = MetadataMap::new();
                metadata.insert("why", MetadataValue::from_static("because"));
                let details = bytes::Bytes::from_static(b"\x00\xff details");
                let code = Code::FailedPrecondition;
                return Err(Status::with_details_and_metadata(code, "no: ü", details, metadata));
            }
            _ => {}
        }
        unfinished.finished();
        let mut reply = Response::new(Note {
            text: format!("{}: {}", self.name, request.get_ref().text),
            load: request.get_ref().load.clone(),
        });
        for name in ["plain", "binary-bin"] {
            if let Some(value) = request.metadata().clone().into_headers().get(name) {
                reply = with_header(reply, name, value.clone());
            }
        }
        Ok(reply)
    }

    async fn collect(self, request: Request<Streaming<Note>>) -> Result<Response<Note>, Status> {
        let unfinished = Unfinished::begin(&self.seen);
        let mut notes = request.into_inner();
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while let Some(note) = notes.message().await? {
            // To tonic a cancelled request body is one that ended; so it does not read on.
            if note.text == "hang" {
                std::future::pending::<()>().await;
            }
            bytes += note.load.len();
            texts.push(note.text);
        }
        unfinished.finished();
        Ok(Response::new(Note::new(format!("{}: {} ({bytes})", self.name, texts.join(" ")))))
    }

    /// As many notes as the text says, each as large as the load; without end if it is no number.
    async fn spread(self, request: Request<Note>) -> Result<Response<Notes>, Status> {
        let Note { text, load } = request.into_inner();
        if text == "hang" {
            let unfinished = Unfinished::begin(&self.seen);
            let waits = stream::once(async move {
                let _unfinished = unfinished;
                std::future::pending().await
            });
            let first = stream::iter([Ok(Note::new("first"))]);
            return Ok(Response::new(Box::pin(first.chain(waits))));
        }
        let count = text.parse().unwrap_or(usize::MAX);
        let unfinished = Unfinished::begin(&self.seen);
        let seen = self.seen;
        let state = (0, Some(unfinished));
        let notes = stream::unfold(state, move |(number, mut unfinished)| {
            let (seen, load) = (seen.clone(), load.clone());
            async move {
                if number == count {
                    unfinished.take()?.finished();
                    return None;
                }
                seen.sent.fetch_add(1, Ordering::SeqCst);
                let note = Note { text: number.to_string(), load };
                Some((Ok(note), (number + 1, unfinished)))
            }
        });
        Ok(Response::new(Box::pin(notes)))
    }

    async fn chat(self, request: Request<Streaming<Note>>) -> Result<Response<Notes>, Status> {
        let name = self.name;
        Unfinished::begin(&self.seen).finished();
        let notes = request.into_inner().map(move |note| {
            let note = note?;
            match note.text.as_str() {
                "fail" => Err(Status::aborted("enough")),
                text => Ok(Note { text: format!("{name}: {text}"), load: note.load }),
            }
        });
        Ok(Response::new(Box::pin(notes)))
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        *self.seen.headers.lock().unwrap() = request.headers().clone();
        let mut grpc = Grpc::new(ProstCodec::<Note, Note>::default())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let echo = self;
        match request.uri().path().to_owned().as_str() {
            GET | PUT => grpc.unary(service_fn(move |r| echo.clone().one(r)), request).await,
            COLLECT => {
                grpc.client_streaming(service_fn(move |r| echo.clone().collect(r)), request).await
            }
            SPREAD => {
                grpc.server_streaming(service_fn(move |r| echo.clone().spread(r)), request).await
            }
            CHAT => grpc.streaming(service_fn(move |r| echo.clone().chat(r)), request).await,
            path => Status::unimplemented(path.to_owned()).into_http(),
        }
    }
}

fn with_header<T>(reply: Response<T>, name: &'static str, value: HeaderValue) -> Response<T> {
    let (metadata, message, extensions) = reply.into_parts();
    let mut headers = metadata.into_headers();
    headers.insert(name, value);
    Response::from_parts(MetadataMap::from_headers(headers), message, extensions)
}

/// Adds a trailer of its own to every answer that has trailers.
fn with_trailer(response: http::Response<Body>) -> http::Response<Body> {
    response.map(|body| {
        Body::new(body.map_frame(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                trailers.insert("trailing", HeaderValue::from_static("at the end"));
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }))
    })
}

impl NamedService for Echo {
    const NAME: &'static str = "test.v1.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(with_trailer(echo.answer(request).await)) })
    }
}
