//! Traces from a caller's header to the collector. A process has one subscriber, so this test has a
//! process of its own.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headwater_chassis::server::Handler;
use headwater_chassis::{
    Common, LogFormat, Metrics, Readiness, Server, Shutdown, Telemetry, bind, serve, trace,
};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;
use tracing::Instrument as _;

const METHOD: &str = "users.v1.UserQueryService/GetUser";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn common(otlp_endpoint: Option<String>) -> Common {
    Common {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        log: "info".to_owned(),
        log_format: LogFormat::Json,
        otlp_endpoint,
        trace_ratio: 1.0,
        shutdown: Duration::from_secs(5),
    }
}

async fn start(
    common: &Common,
    shutdown: &Shutdown,
    handler: impl Handler,
) -> (SocketAddr, JoinHandle<anyhow::Result<()>>) {
    let listener = bind(common.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, readiness) = (Metrics::new(), Readiness::new(&[]));
    let server = Server {
        descriptors: vec![headwater_domain_proto::FILE_DESCRIPTOR_SET],
        ..Server::new(common.clone(), metrics, readiness, shutdown.clone(), listener)
    };
    (address, tokio::spawn(serve(server, handler)))
}

/// Keeps what is exported to it, and thanks with an empty message.
fn collector(received: Arc<Mutex<Vec<u8>>>) -> impl Handler {
    tower::service_fn(move |request: Request<Body>| {
        let received = received.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            received.lock().unwrap().extend_from_slice(&body);
            let mut trailers = HeaderMap::new();
            Status::ok("").add_header(&mut trailers).unwrap();
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let frames = futures_util::stream::iter(frames.map(Ok::<_, Status>));
            let mut reply = Response::new(Body::new(StreamBody::new(frames)));
            reply.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok::<_, Infallible>(reply)
        }
    })
}

/// Answers with what an event of this call would be stored with, and what a call made by it would
/// carry.
fn teller() -> impl Handler {
    tower::service_fn(|_: Request<Body>| {
        let answer = async {
            let mut reply = Status::ok("").into_http::<Body>();
            if let Some(stored) = trace::current_traceparent() {
                reply.headers_mut().insert("x-stored", stored.parse().unwrap());
            }
            let mut outgoing = HeaderMap::new();
            trace::inject(&mut outgoing);
            if let Some(sent) = outgoing.remove("traceparent") {
                reply.headers_mut().insert("x-sent", sent);
            }
            Ok::<_, Infallible>(reply)
        };
        answer.instrument(tracing::info_span!(target: "headwater_test", "inner step"))
    })
}

async fn call(address: SocketAddr, traceparent: Option<String>) -> HeaderMap {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}/{METHOD}"));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap().headers().clone()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_from_the_caller_through_us_to_the_collector() {
    let (received, shutdown) = (Arc::default(), Shutdown::new());
    let (endpoint, collecting) =
        start(&common(None), &shutdown, collector(Arc::clone(&received))).await;
    let traced = common(Some(format!("http://{endpoint}")));
    let telemetry = Telemetry::init("test-program", &traced).unwrap();
    let (address, serving) = start(&traced, &shutdown, teller()).await;

    let recorded = call(address, Some(format!("00-{TRACE}-{PARENT}-01"))).await;
    let stored = text(&recorded, "x-stored").expect("a recorded call's events carry its trace");
    assert!(stored.starts_with(&format!("00-{TRACE}-")) && stored.ends_with("-01"), "{stored}");
    assert!(!stored.contains(PARENT), "our own span is the parent of what follows");
    assert_eq!(text(&recorded, "x-sent"), Some(stored));

    let unrecorded = call(address, Some(format!("00-{TRACE}-{PARENT}-00"))).await;
    assert_eq!(text(&unrecorded, "x-stored"), None, "the caller has decided not to record");
    assert!(text(&unrecorded, "x-sent").unwrap().ends_with("-00"), "and this is passed on");

    let ours = call(address, None).await;
    assert!(text(&ours, "x-stored").is_some_and(|stored| !stored.contains(TRACE)));

    // What a projector does with the trace of a stored event.
    let span = tracing::info_span!(target: "headwater_test", "apply");
    trace::set_parent(&span, stored);
    assert_eq!(trace::trace_id(&span).as_deref(), Some(TRACE));
    drop(span);

    telemetry.shutdown().await;
    let bytes = received.lock().unwrap().clone();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for name in ["test-program", METHOD, "inner step", "apply"] {
        assert!(holds(name.as_bytes()), "{name} was not exported");
    }
    assert!(holds(&u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes()));
    assert!(holds(&u64::from_str_radix(PARENT, 16).unwrap().to_be_bytes()));

    shutdown.trigger();
    for server in [collecting, serving] {
        tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    }
}
