//! Everything has a bound, and says so when it is reached.

use std::time::Duration;

use futures_util::future::join_all;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::copy::Copy;
use crate::echo::{GET, Note, PUT, SPREAD};
use crate::raw::Raw;
use crate::rig::{Rig, details, reason, until, within};

#[tokio::test]
async fn too_many_requests_are_refused_with_a_delay() {
    let copy = Copy::start("copy").await;
    let more = [("HEADWATER_IN_FLIGHT_MAX", "2")];
    let rig = Rig::start(&[copy.address], &[copy.address], &more).await;
    let client = rig.client().await;
    let held = [client.clone(), client.clone()];
    let held = held.map(|client| tokio::spawn(async move { client.text(PUT, "hold").await }));
    until("both arrive", async || copy.seen.calls() == 2).await;
    let refused = client.text(GET, "a").await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    let delay = details(&refused).retry_info().unwrap().retry_delay.unwrap();
    assert!(delay >= Duration::from_millis(50) && delay < Duration::from_secs(1));
    assert_eq!(copy.seen.calls(), 2, "it did not reach the upstream");
    let mut health = HealthClient::new(rig.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    copy.seen.released.send_replace(true);
    for call in held {
        within(call).await.unwrap().unwrap();
    }
    until("there is room again", async || client.text(GET, "a").await.is_ok()).await;
}

/// An endpoint takes few streams on a connection. The rest must neither fail nor queue behind
/// calls that last.
#[tokio::test]
async fn more_connections_are_opened_when_streams_run_out() {
    let copy = Copy::start_with("copy", 5).await;
    let rig = Rig::simple(&copy, &copy).await;
    let client = rig.client().await;
    client.text(GET, "a").await.unwrap();
    let calls = (0..40).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            // A connection is opened at a time: who comes meanwhile is told to come again.
            loop {
                match client.text(PUT, "hold").await {
                    Err(status) if status.code() == Code::ResourceExhausted => {
                        // tidy: allow sleep: a client that was told to come again
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    done => return done,
                }
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    until("all arrive", async || copy.seen.calls() == 41).await;
    copy.seen.released.send_replace(true);
    for call in within(join_all(calls)).await {
        assert_eq!(call.unwrap().unwrap(), "copy: hold");
    }
}

#[tokio::test]
async fn too_many_connections_are_closed() {
    let copy = Copy::start("copy").await;
    let more = [("HEADWATER_CONNECTIONS_MAX", "1")];
    let rig = Rig::start(&[copy.address], &[copy.address], &more).await;
    let client = rig.client().await;
    assert_eq!(client.text(GET, "a").await.unwrap(), "copy: a");
    let second = Raw::connect(rig.router.grpc).await;
    until("it is closed", async || second.sender.is_closed()).await;
    assert_eq!(client.text(GET, "a").await.unwrap(), "copy: a");
    let line = "headwater_router_connections_refused_total 1";
    assert!(rig.admin("/metrics").await.contains(line));
    drop(client);
    until("its place is free", async || {
        rig.admin("/metrics").await.contains("headwater_router_connections 0")
    })
    .await;
    assert_eq!(rig.client().await.text(GET, "a").await.unwrap(), "copy: a");
}

#[tokio::test]
async fn headers_are_bounded() {
    let copy = Copy::start("copy").await;
    let rig = Rig::simple(&copy, &copy).await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let mut request = raw.call(GET, "a");
    request.headers_mut().insert("large", "x".repeat(20_000).parse().unwrap());
    assert_eq!(within(raw.send(request)).await.status(), 431);
    assert_eq!(copy.seen.calls(), 0);
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go() {
    let copy = Copy::start("copy").await;
    let more = [("HEADWATER_CONNECTION_AGE_MS", "1000")];
    let rig = Rig::start(&[copy.address], &[copy.address], &more).await;
    let mut raw = Raw::connect(rig.router.grpc).await;
    let request = raw.call(PUT, "hold");
    let held = tokio::spawn({
        let mut sender = raw.sender.clone();
        async move { sender.send_request(request).await.unwrap().status() }
    });
    let request = raw.call(GET, "a");
    assert_eq!(raw.send(request).await.status(), 200);
    until("it says goodbye", async || {
        let mut sender = raw.sender.clone();
        sender.send_request(raw.call(GET, "a")).await.is_err()
    })
    .await;
    copy.seen.released.send_replace(true);
    assert_eq!(within(held).await.unwrap(), 200, "what was under way is finished");
}

/// Streams that wait for something to pass on take no place of requests; but there is a bound to
/// them, too.
#[tokio::test]
async fn waiting_streams_are_no_requests_under_way() {
    const WAITING: u32 = 6;
    let copy = Copy::start("copy").await;
    let more = [("HEADWATER_IN_FLIGHT_MAX", "2"), ("HEADWATER_WAITING_MAX", "6")];
    let rig = Rig::start(&[copy.address], &[copy.address], &more).await;
    let client = rig.client().await;
    let mut waiting = Vec::new();
    for number in 1..=WAITING {
        let mut stream = client.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
        assert_eq!(within(stream.message()).await.unwrap().unwrap().text, "first");
        waiting.push(stream);
        let gauge = format!("headwater_router_waiting {number}");
        until("it waits", async || rig.admin("/metrics").await.contains(&gauge)).await;
    }
    let metrics = rig.admin("/metrics").await;
    assert!(metrics.contains("headwater_router_in_flight 0"), "{metrics}");
    for _ in 0..20 {
        client.text(GET, "a").await.unwrap();
    }
    let mut one_more = client.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
    assert_eq!(within(one_more.message()).await.unwrap().unwrap().text, "first");
    let refused = within(one_more.message()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "OVERLOADED")
    );
    drop(waiting);
    until("their places are free", async || {
        rig.admin("/metrics").await.contains("headwater_router_waiting 0")
    })
    .await;
}
