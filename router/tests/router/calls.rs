//! All kinds of call, and everything they carry.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use headwater_chassis::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::copy::Copy;
use crate::echo::{CHAT, COLLECT, GET, Note, PUT, SPREAD};
use crate::raw::{Raw, rest};
use crate::rig::{Rig, fact, reason, until, within};

async fn rig() -> (Rig, Copy, Copy) {
    let (command, query) = (Copy::start("command").await, Copy::start("query").await);
    let rig = Rig::simple(&command, &query).await;
    (rig, command, query)
}

#[tokio::test]
async fn each_method_goes_to_its_upstream() {
    let (rig, command, query) = rig().await;
    let client = rig.client().await;
    assert_eq!(client.text(GET, "a").await.unwrap(), "query: a");
    assert_eq!(client.text(PUT, "b").await.unwrap(), "command: b");
    assert_eq!((command.seen.calls(), query.seen.calls()), (1, 1));
}

#[tokio::test]
async fn metadata_and_trailers_pass_both_ways() {
    let (rig, _command, query) = rig().await;
    let mut request = Request::new(Note::new("a"));
    let bytes = [0, 1, 0xfe, 0xff];
    request.metadata_mut().insert("plain", MetadataValue::from_static("some text"));
    request.metadata_mut().insert_bin("binary-bin", MetadataValue::from_bytes(&bytes));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", MetadataValue::from_static(traceparent));
    let reply = rig.client().await.unary(GET, request).await.unwrap();
    assert_eq!(reply.metadata().get("plain").unwrap(), "some text");
    let binary = reply.metadata().get_bin("binary-bin").unwrap().to_bytes().unwrap();
    assert_eq!(binary.as_ref(), bytes);
    assert_eq!(reply.metadata().get("trailing").unwrap(), "at the end");
    assert_eq!(query.seen.header("te").unwrap(), "trailers");
    assert_eq!(query.seen.header("traceparent").unwrap(), traceparent);
    assert_eq!(query.seen.header("content-type").unwrap(), "application/grpc");
}

#[tokio::test]
async fn headers_of_one_hop_are_not_passed_on() {
    let (rig, _command, query) = rig().await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let mut request = raw.call(GET, "a");
    request.headers_mut().insert("proxy-authorization", "Basic x".parse().unwrap());
    request.headers_mut().insert("custom", "kept".parse().unwrap());
    request.headers_mut().remove("te");
    assert_eq!(raw.send(request).await.status(), 200);
    assert_eq!(query.seen.header("proxy-authorization"), None);
    assert_eq!(query.seen.header("custom").unwrap(), "kept");
    assert_eq!(query.seen.header("te").unwrap(), "trailers", "gRPC asks for it on every hop");
}

#[tokio::test]
async fn a_failure_passes_with_its_details() {
    let (rig, _command, _query) = rig().await;
    let status = rig.client().await.text(PUT, "fail").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no: ü"));
    assert_eq!(status.details(), b"\x00\xff details");
    assert_eq!(status.metadata().get("why").unwrap(), "because");
}

#[tokio::test]
async fn a_client_streams() {
    let (rig, _command, _query) = rig().await;
    let client = rig.client().await;
    let notes = ["a", "b", "c"].map(Note::new);
    let reply = client.client_streaming(COLLECT, stream::iter(notes)).await.unwrap();
    assert_eq!(reply.into_inner().text, "command: a b c (0)");
    let nothing = client.client_streaming(COLLECT, stream::empty()).await.unwrap();
    assert_eq!(nothing.into_inner().text, "command:  (0)");
}

#[tokio::test]
async fn a_server_streams() {
    let (rig, _command, _query) = rig().await;
    let mut notes = rig.client().await.server_streaming(SPREAD, Note::new("100")).await.unwrap();
    for number in 0..100 {
        assert_eq!(notes.message().await.unwrap().unwrap().text, number.to_string());
    }
    assert_eq!(notes.message().await.unwrap(), None);
    let trailers = notes.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("trailing").unwrap(), "at the end");
}

#[tokio::test]
async fn both_stream_and_neither_waits_for_the_other() {
    let (rig, _command, _query) = rig().await;
    let (send, notes) = mpsc::channel(1);
    let notes = ReceiverStream::new(notes);
    let mut replies = rig.client().await.streaming(CHAT, notes).await.unwrap();
    for text in ["a", "b", "c"] {
        send.send(Note::new(text)).await.unwrap();
        let reply = within(replies.message()).await.unwrap().unwrap();
        assert_eq!(reply.text, format!("query: {text}"));
    }
    send.send(Note::new("fail")).await.unwrap();
    let status = within(replies.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "enough"));
}

#[tokio::test]
async fn large_messages_pass_whole() {
    let (rig, _command, _query) = rig().await;
    let client = rig.client().await;
    let load: Vec<u8> = (0..5_000_000_u32).map(|n| n as u8).collect();
    let note = Note { text: "a".to_owned(), load: load.clone() };
    let reply = within(client.unary(PUT, Request::new(note.clone()))).await.unwrap();
    assert!(reply.into_inner().load == load);
    let notes = stream::iter(vec![note; 4]);
    let reply = within(client.client_streaming(COLLECT, notes)).await.unwrap();
    assert_eq!(reply.into_inner().text, "command: a a a a (20000000)");
}

/// The value of something that grows, once it has stopped growing.
async fn settled(read: impl Fn() -> usize) -> usize {
    let mut last = read();
    within(async {
        loop {
            // tidy: allow sleep: what has stopped growing can only be told by time
            tokio::time::sleep(Duration::from_millis(200)).await;
            match std::mem::replace(&mut last, read()) == last {
                true => return last,
                false => continue,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_slows_the_upstream_and_nobody_else() {
    let (rig, _command, query) = rig().await;
    let client = rig.client().await;
    let note = Note { text: "endless".to_owned(), load: vec![7; 64 * 1024] };
    let mut notes = client.server_streaming(SPREAD, note).await.unwrap();
    notes.message().await.unwrap().unwrap();
    // It stops where the windows and buffers on the way are full: far below this many megabytes.
    let sent = settled(|| query.seen.sent()).await;
    assert!(sent < 200, "{} MiB are on their way", sent / 16);
    // Meanwhile others pass, on the same connection of the same client.
    for _ in 0..100 {
        assert_eq!(within(client.text(GET, "a")).await.unwrap(), "query: a");
    }
    for _ in 0..sent + 100 {
        within(notes.message()).await.unwrap().unwrap();
    }
    drop(notes);
    until("the upstream's handler ends", async || query.seen.dropped() == 1).await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let (rig, command, query) = rig().await;
    let client = rig.client().await;
    for path in ["/test.v1.Echo/Nothing", "/test.v2.Echo/Get", "/nowhere"] {
        let status = client.text(path, "a").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert_eq!(reason(&status), "METHOD_UNKNOWN");
        assert_eq!(fact(&status, "method"), path[1..]);
    }
    let mut raw = Raw::connect(rig.router.grpc).await;
    let response = raw.send(raw.call("/nowhere", "a")).await;
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(rest(response).await, (bytes::Bytes::new(), None), "headers alone");
    assert_eq!((command.seen.calls(), query.seen.calls()), (0, 0));
}

#[tokio::test]
async fn what_is_not_grpc_gets_an_http_status() {
    let (rig, _command, _query) = rig().await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let mut get = raw.call(GET, "a");
    *get.method_mut() = http::Method::GET;
    assert_eq!(raw.send(get).await.status(), 405);
    let mut json = raw.call(GET, "a");
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(raw.send(json).await.status(), 415);
}

#[tokio::test]
async fn health_is_the_routers_own_and_each_services() {
    let (rig, _command, query) = rig().await;
    let mut client = HealthClient::new(rig.channel().await);
    let mut status = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        client.check(request).await.map(|reply| reply.into_inner().status)
    };
    until("the router is ready", async || rig.ready().await).await;
    let serving = ServingStatus::Serving as i32;
    assert_eq!(status("").await.unwrap(), serving);
    assert_eq!(status("test.v1.Echo").await.unwrap(), serving);
    assert_eq!(status("headwater.live").await.unwrap(), serving);
    assert_eq!(status("nothing").await.unwrap_err().code(), Code::NotFound);

    let mut watcher = HealthClient::new(rig.channel().await);
    let request = HealthCheckRequest { service: "test.v1.Echo".to_owned() };
    let mut watch = watcher.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, serving);
    query.set_serving(false).await;
    let told = within(watch.message()).await.unwrap().unwrap().status;
    assert_eq!(told, ServingStatus::NotServing as i32);
    assert_eq!(status("").await.unwrap(), serving, "commands still pass");
    assert!(rig.ready().await);
    assert!(rig.admin("/readyz").await.contains("upstream-query: warning:"));
}

#[tokio::test]
async fn reflection_names_what_the_router_routes() {
    let (rig, _command, _query) = rig().await;
    let mut client = ServerReflectionClient::new(rig.channel().await);
    let list = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    // Bidirectional, and left open.
    let requests = stream::iter([request]).chain(stream::pending());
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let reply = within(replies.message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"test.v1.Echo") && names.contains(&"grpc.health.v1.Health"));
}

#[tokio::test]
async fn requests_are_counted() {
    let (rig, _command, _query) = rig().await;
    let client = rig.client().await;
    client.text(GET, "a").await.unwrap();
    client.text(PUT, "fail").await.unwrap_err();
    client.text("/nowhere", "a").await.unwrap_err();
    let wanted = [
        "headwater_router_requests_total{method=\"test.v1.Echo/Get\",upstream=\"query\",\
         code=\"OK\"} 1",
        "headwater_router_requests_total{method=\"test.v1.Echo/Put\",upstream=\"command\",\
         code=\"FAILED_PRECONDITION\"} 1",
        "headwater_router_requests_total{method=\"unknown\",upstream=\"none\",\
         code=\"UNIMPLEMENTED\"} 1",
        "headwater_router_endpoints{upstream=\"query\",health=\"serving\"} 1",
        "headwater_router_in_flight 0",
        "headwater_router_connections 1",
    ];
    for line in wanted {
        until(line, async || rig.admin("/metrics").await.contains(line)).await;
    }
}

#[tokio::test]
async fn a_router_that_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let check = async |vars: &[(&str, &str)], want: &str| {
        let vars = vars.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let settings = headwater_chassis::Invocation::from_parts("router", vars, Vec::new());
        let config = headwater_router::Config::read(settings).unwrap();
        let error = headwater_router::start(
            config,
            headwater_domain_proto::FILE_DESCRIPTOR_SET,
            Shutdown::new(),
        )
        .await
        .err()
        .unwrap();
        assert!(format!("{error:#}").contains(want), "{error:#}");
    };
    check(&[("HEADWATER_LISTEN", &listen)], &listen).await;
    check(&[("HEADWATER_DESCRIPTORS", "/nowhere/at/all")], "/nowhere/at/all").await;
}
