//! Calls that end early: deadlines, cancelled calls, broken clients, drains.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::copy::Copy;
use crate::echo::{CHAT, COLLECT, GET, Note, PUT, SPREAD};
use crate::raw::{Raw, rest};
use crate::rig::{Rig, fact, reason, until, within};

async fn rig(more: &[(&str, &str)]) -> (Rig, Copy) {
    let copy = Copy::start("copy").await;
    (Rig::start(&[copy.address], &[copy.address], more).await, copy)
}

fn status(headers: &HeaderMap) -> Status {
    Status::from_header_map(headers).unwrap()
}

#[tokio::test]
async fn the_router_enforces_the_clients_deadline() {
    let (rig, copy) = rig(&[]).await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let mut request = raw.call(PUT, "hang");
    request.headers_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let response = within(raw.send(request)).await;
    let status = status(response.headers());
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
    assert_eq!(fact(&status, "upstream"), "command");
    assert_eq!(copy.seen.header("grpc-timeout").unwrap(), "100m", "it is passed on");
    until("the handler is cancelled", async || copy.seen.dropped() == 1).await;
}

#[tokio::test]
async fn a_deadline_also_ends_a_stream() {
    let (rig, copy) = rig(&[]).await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let mut request = raw.call(SPREAD, "hang");
    request.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let response = within(raw.send(request)).await;
    assert!(!response.headers().contains_key("grpc-status"), "the answer has begun");
    let (bytes, trailers) = within(rest(response)).await;
    assert!(!bytes.is_empty(), "the first message came");
    assert_eq!(status(&trailers.unwrap()).code(), Code::DeadlineExceeded);
    until("the handler is cancelled", async || copy.seen.dropped() == 1).await;
}

#[tokio::test]
async fn a_unary_call_without_a_deadline_is_given_one() {
    let (rig, copy) = rig(&[("HEADWATER_DEADLINE_MS", "100")]).await;
    let client = rig.client().await;
    let mut notes = client.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
    assert_eq!(notes.message().await.unwrap().unwrap().text, "first");
    assert_eq!(copy.seen.header("grpc-timeout"), None, "a stream may last");
    let failed = within(client.text(GET, "hang")).await.unwrap_err();
    assert_eq!(reason(&failed), "DEADLINE_EXCEEDED");
    assert_eq!(copy.seen.header("grpc-timeout").unwrap(), "100000u");
    let more = tokio::time::timeout(Duration::from_millis(200), notes.message()).await;
    assert!(more.is_err(), "the stream is still there");
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_upstream() {
    let (rig, copy) = rig(&[]).await;
    let client = rig.client().await;
    let mut wanted = 0;
    let mut cancelled = async |call: tokio::task::JoinHandle<()>| {
        wanted += 1;
        until("the call arrives", async || copy.seen.calls() == wanted).await;
        call.abort();
        let cancelled = format!("handler {wanted} is cancelled");
        until(&cancelled, async || copy.seen.dropped() == wanted).await;
    };

    let unary = client.clone();
    cancelled(tokio::spawn(async move {
        let _ = unary.text(PUT, "hang").await;
    }))
    .await;

    let server = client.clone();
    cancelled(tokio::spawn(async move {
        let mut notes = server.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
        while let Ok(Some(_)) = notes.message().await {}
    }))
    .await;

    cancelled(tokio::spawn(async move {
        let notes = stream::iter([Note::new("hang")]).chain(stream::pending());
        let _ = client.client_streaming(COLLECT, notes).await;
    }))
    .await;

    let line = "upstream=\"command\",code=\"CANCELLED\"} 1";
    until("they are counted", async || rig.admin("/metrics").await.contains(line)).await;
    until("nothing is left", async || {
        rig.admin("/metrics").await.contains("headwater_router_in_flight 0")
    })
    .await;
}

/// A client machine dies with calls under way. Nothing of them may stay behind.
#[tokio::test]
async fn a_broken_client_connection_cancels_its_calls() {
    let (rig, copy) = rig(&[]).await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let stream = raw.call(SPREAD, "hang");
    let stream = within(raw.send(stream)).await;
    let mut sender = raw.sender.clone();
    let unary = raw.call(PUT, "hang");
    let unary = tokio::spawn(async move { sender.send_request(unary).await.is_err() });
    until("both arrive", async || copy.seen.calls() == 2).await;
    raw.cut();
    until("both are cancelled", async || copy.seen.dropped() == 2).await;
    assert!(within(unary).await.unwrap());
    drop(stream);
}

#[tokio::test]
async fn an_early_answer_ends_the_clients_stream() {
    let (rig, _copy) = rig(&[]).await;
    // The answer comes after the first note; the client would go on for ever.
    let notes = stream::iter([Note::new("fail")]).chain(stream::pending());
    let mut replies = rig.client().await.streaming(CHAT, notes).await.unwrap();
    let failed = within(replies.message()).await.unwrap_err();
    assert_eq!(failed.code(), Code::Aborted);
    until("nothing is left", async || {
        rig.admin("/metrics").await.contains("headwater_router_in_flight 0")
    })
    .await;
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_takes_no_new_ones() {
    let (rig, copy) = rig(&[]).await;
    let client = rig.client().await;
    let call = tokio::spawn(async move { client.text(PUT, "hold").await });
    until("the call arrives", async || copy.seen.calls() == 1).await;
    let grpc = rig.router.grpc;
    rig.shutdown.trigger();
    until("nobody is let in", async || tokio::net::TcpStream::connect(grpc).await.is_err()).await;
    assert!(!rig.ready().await);
    copy.seen.released.send_replace(true);
    assert_eq!(within(call).await.unwrap().unwrap(), "copy: hold");
    rig.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_streams_at_half_time() {
    let (rig, _copy) = rig(&[("HEADWATER_SHUTDOWN_MS", "1000")]).await;
    let client = rig.client().await;
    let mut notes = client.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
    assert_eq!(notes.message().await.unwrap().unwrap().text, "first");
    let stopped = tokio::spawn(rig.stop());
    let ended = within(notes.message()).await.unwrap_err();
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    within(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_is_not_held_up_by_who_watches_health_or_reads_reflection() {
    let (rig, _copy) = rig(&[("HEADWATER_SHUTDOWN_MS", "2000")]).await;
    until("the router is ready", async || rig.ready().await).await;
    let mut health = HealthClient::new(rig.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let serving = watch.message().await.unwrap().unwrap().status;
    assert_eq!(serving, ServingStatus::Serving as i32);
    let mut reflection = ServerReflectionClient::new(rig.channel().await);
    let requests = stream::pending();
    let mut replies = reflection.server_reflection_info(requests).await.unwrap().into_inner();

    let stopped = tokio::spawn(rig.stop());
    let told = within(watch.message()).await.unwrap().unwrap().status;
    assert_eq!(told, ServingStatus::NotServing as i32);
    assert_eq!(within(watch.message()).await.unwrap(), None);
    assert!(!stopped.is_finished());
    assert_eq!(reason(&within(replies.message()).await.unwrap_err()), "SHUTTING_DOWN");
    within(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let (rig, copy) = rig(&[("HEADWATER_SHUTDOWN_MS", "400")]).await;
    let client = rig.client().await;
    let call =
        tokio::spawn(async move { client.unary(PUT, Request::new(Note::new("hang"))).await });
    until("the call arrives", async || copy.seen.calls() == 1).await;
    let error = rig.stop().await.unwrap_err();
    assert!(error.to_string().contains("1 calls were still under way"), "{error}");
    assert!(within(call).await.unwrap().is_err());
}
