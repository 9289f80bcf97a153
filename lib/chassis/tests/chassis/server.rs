//! The server stack, through real sockets.

mod fixture;

use std::time::Duration;

use futures_util::StreamExt as _;
use headwater_chassis::Limits;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, ServiceUnknown, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse::ListServicesResponse;
use tonic_types::StatusExt as _;

use fixture::{Running, STREAM, UNARY, eventually, within};

fn check_refusal(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, reason);
}

#[tokio::test]
async fn calls_are_answered_and_counted() {
    let server = Running::start(Limits::default()).await;
    server.call("ok").await.unwrap();
    assert_eq!(server.call("missing").await.unwrap_err().code(), Code::NotFound);
    let unknown = server.call_at("/no.such.Service/Method", "ok", None).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    server.counted(UNARY, "OK", 1).await;
    server.counted(UNARY, "NOT_FOUND", 1).await;
    server.counted("/unknown", "UNIMPLEMENTED", 1).await;
    server.in_flight(0).await;
    assert!(!server.metrics.encode().contains("no.such"), "callers must not grow metrics");
    server.stop().await.unwrap();
}

/// A defect in one call must not end the connection, which other calls share.
#[tokio::test]
async fn a_panic_is_internal_and_nothing_more() {
    let server = Running::start(Limits::default()).await;
    let held = server.spawn_call("hold").await;
    let status = server.call("panic").await.unwrap_err();
    check_refusal(&status, Code::Internal, "INTERNAL");
    assert_eq!(status.message(), "internal error", "no word of the panic");
    server.counted(UNARY, "INTERNAL", 1).await;

    let mut stream = server.stream("panic").await;
    assert!(stream.next().await.unwrap().is_ok());
    server.gate.add_permits(2);
    let status = within(stream.next()).await.unwrap().unwrap_err();
    check_refusal(&status, Code::Internal, "INTERNAL");
    server.counted(STREAM, "INTERNAL", 1).await;

    within(held).await.unwrap().expect("the neighbour on the connection lives");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_deadline_drops_the_handler() {
    let server = Running::start(Limits::default()).await;
    let status = server.call_at(UNARY, "forever", Some("50m")).await.unwrap_err();
    check_refusal(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    eventually("the handler is dropped", || server.handlers() == 0).await;
    server.counted(UNARY, "DEADLINE_EXCEEDED", 1).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let limits = Limits { message_bytes_max: 1_000, ..Limits::default() };
    let server = Running::start(limits).await;
    let status = server.call(&"x".repeat(1_000)).await.unwrap_err();
    check_refusal(&status, Code::InvalidArgument, "INVALID_REQUEST");
    server.call("ok").await.unwrap();
    server.stop().await.unwrap();
}

/// What tonic's codec says of them is neither a reason nor the client's business.
#[tokio::test]
async fn a_message_that_cannot_be_read_is_refused() {
    let server = Running::start(Limits::default()).await;
    let table: [(&[u8], &str); 3] = [
        (&[0x0a, 0x02, 0xff, 0xfe], "UTF-8"),
        (&[0xff, 0xff, 0xff], "cannot be decoded"),
        (&[0x0a, 0x7f, 0x00], "cannot be decoded"),
    ];
    for (message, said) in table {
        let status = server.call_raw(message, None).await;
        check_refusal(&status, Code::InvalidArgument, "INVALID_REQUEST");
        assert!(status.message().contains(said), "{status:?}");
        assert!(!status.message().contains("Protobuf"), "{status:?}");
    }
    server.counted(UNARY, "INVALID_ARGUMENT", 3).await;
    let status = server.call_raw(&[], Some("gzip")).await;
    check_refusal(&status, Code::Unimplemented, "ENCODING_UNSUPPORTED");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_the_default_one() {
    let deadline_default = Duration::from_millis(50);
    let server = Running::start(Limits { deadline_default, ..Limits::default() }).await;
    let status = server.call("forever").await.unwrap_err();
    check_refusal(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    // A stream that has begun goes on.
    let mut stream = server.stream("two").await;
    assert!(stream.next().await.unwrap().is_ok());
    server.call("forever").await.unwrap_err();
    server.gate.add_permits(1);
    assert!(within(stream.next()).await.unwrap().is_ok());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_streams_own_deadline_ends_it() {
    let server = Running::start(Limits::default()).await;
    let mut stream = server.stream_until("one", Some("100m")).await;
    assert!(stream.next().await.unwrap().is_ok());
    let status = within(stream.next()).await.unwrap().unwrap_err();
    check_refusal(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn too_many_calls_are_refused_with_a_delay_and_health_is_not() {
    let server = Running::start(Limits { calls_max: 1, ..Limits::default() }).await;
    let held = server.spawn_call("hold").await;
    let status = server.call("ok").await.unwrap_err();
    check_refusal(&status, Code::ResourceExhausted, "OVERLOADED");
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((50..250).contains(&delay.as_millis()), "{delay:?}");
    assert_eq!(server.health("").await, Ok(Serving));
    server.in_flight(1).await;
    server.gate.add_permits(1);
    within(held).await.unwrap().unwrap();
    server.in_flight(0).await;
    server.call("ok").await.expect("the place is free again");
    server.stop().await.unwrap();
}

/// Watchers wait most of the time: they must not take the places of calls that could be answered.
#[tokio::test]
async fn waiting_streams_have_a_limit_of_their_own() {
    let limits = Limits { calls_max: 1, streams_max: 2, ..Limits::default() };
    let server = Running::start(limits).await;
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let mut stream = server.stream("one").await;
        assert!(stream.next().await.unwrap().is_ok());
        watchers.push(stream);
        eventually("the watcher waits", || server.gauge("headwater_grpc_in_flight") == 0).await;
    }
    server.call("ok").await.unwrap();
    let mut third = server.stream("one").await;
    assert!(third.next().await.unwrap().is_ok());
    let status = within(third.next()).await.unwrap().unwrap_err();
    check_refusal(&status, Code::ResourceExhausted, "OVERLOADED");
    drop(watchers);
    eventually("the places are free", || server.gauge("headwater_grpc_streams") == 0).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_that_the_client_gives_up_is_dropped_and_counted() {
    let server = Running::start(Limits::default()).await;
    let held = server.spawn_call("forever").await;
    held.abort();
    eventually("the handler is dropped", || server.handlers() == 0).await;
    server.counted(UNARY, "CANCELLED", 1).await;
    server.in_flight(0).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_tells_health_first_and_finishes_what_is_under_way() {
    let server = Running::start(Limits::default()).await;
    let mut health = HealthClient::new(server.channel.clone());
    let watch = HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(watch).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), Serving);
    let held = server.spawn_call("hold").await;

    server.shutdown.trigger();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), NotServing);
    assert_eq!(within(watch.message()).await.unwrap(), None, "the watch does not hold it up");
    eventually("the listener is closed", || std::net::TcpStream::connect(server.address).is_err())
        .await;
    server.gate.add_permits(1);
    within(held).await.unwrap().unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_streams_at_half_of_the_deadline() {
    let server = Running::start_with(Limits::default(), Duration::from_millis(400)).await;
    let mut stream = server.stream("one").await;
    assert!(stream.next().await.unwrap().is_ok());
    server.shutdown.trigger();
    let status = within(stream.next()).await.unwrap().unwrap_err();
    check_refusal(&status, Code::Unavailable, "SHUTTING_DOWN");
    server.counted(STREAM, "UNAVAILABLE", 1).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_whatever_happens() {
    let server = Running::start_with(Limits::default(), Duration::from_millis(200)).await;
    let held = server.spawn_call("forever").await;
    let error = server.stop().await.unwrap_err().to_string();
    assert!(error.starts_with("1 calls were still under way"), "{error}");
    assert!(within(held).await.unwrap().is_err());
}

#[tokio::test]
async fn health_follows_readiness() {
    let server = Running::start(Limits::default()).await;
    let check = async |service: &str, expected| {
        let found = server.health(service).await.unwrap_or(ServiceUnknown);
        assert_eq!(found, expected, "{service}");
    };
    let lagging = || Err("9 s behind".to_owned());
    server.readiness.report("sync", lagging());
    check("", Serving).await;
    check("headwater.sync", NotServing).await;
    server.readiness.set("database", Err("away".to_owned()));
    check("", NotServing).await;
    check("users.v1.UserQueryService", NotServing).await;
    check("headwater.database", NotServing).await;
    check("headwater.live", Serving).await;
    check("headwater.other", ServiceUnknown).await;
    check("other", ServiceUnknown).await;
    server.readiness.set("database", Ok(()));
    check("users.v1.UserQueryService", Serving).await;
    check("headwater.database", Serving).await;
    // A service that nobody knows may come to be known: whoever watches it is told, and waits.
    let watch = HealthCheckRequest { service: "other".to_owned() };
    let mut client = HealthClient::new(server.channel.clone());
    let mut told = within(client.watch(watch)).await.unwrap().into_inner();
    assert_eq!(within(told.message()).await.unwrap().unwrap().status(), ServiceUnknown);
    let more = tokio::time::timeout(Duration::from_millis(50), told.message()).await;
    assert!(more.is_err(), "{more:?}");
    drop((told, client));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_names_every_service() {
    let server = Running::start(Limits::default()).await;
    let mut client = ServerReflectionClient::new(server.channel.clone());
    let request =
        ServerReflectionRequest { message_request: Some(ListServices("".into())), host: "".into() };
    // Ended by the client's side, as command-line tools do.
    let requests = futures_util::stream::iter([request]);
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    let Some(ListServicesResponse(list)) = reply.message_response else { panic!("{reply:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["stores.v1.StoreCommandService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    server.stop().await.unwrap();
}

/// Pings start after the handshake: without a bound a silent peer would hold its place for ever.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let greeting_max = Duration::from_millis(50);
    let server = Running::start(Limits { greeting_max, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let read = within(silent.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    server.stop().await.unwrap();
}
