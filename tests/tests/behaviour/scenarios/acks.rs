//! Acknowledgements: how far a command's effect has come when it is answered.

use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::{GetStoreRequest, OpenStoreRequest, OpenStoreResponse};
use headwater_kernel::Token;
use headwater_proto::headwater::v1::sync_query_service_client::SyncQueryServiceClient;
use headwater_proto::headwater::v1::{
    AckLevel, Acknowledgement, AwaitRequest, CommandOptions, Receipt,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::client::{Client, decoded, done, receipt};
use super::refusal::{fields, refused};

fn open(acknowledgement: Option<Acknowledgement>) -> OpenStoreRequest {
    OpenStoreRequest {
        name: "Acknowledged".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        options: Some(CommandOptions { acknowledgement, ..CommandOptions::default() }),
        ..OpenStoreRequest::default()
    }
}

fn ack(level: AckLevel, replicas: u32, wait: Duration) -> Option<Acknowledgement> {
    let wait_max = prost_types::Duration::try_from(wait).ok();
    Some(Acknowledgement { level: level.into(), replicas, wait_max })
}

const LONG: Duration = Duration::from_secs(30);

async fn opened(client: &Client, wish: Option<Acknowledgement>) -> (String, Receipt) {
    let opened = done(client.store_commands().open_store(open(wish)).await);
    (opened.store_id, receipt(opened.receipt))
}

/// Asks any node, many times: chance spreads the reads over all of them.
async fn every_node_shows(client: &Client, store: &str) {
    for _ in 0..30 {
        let request = GetStoreRequest { store_id: store.to_owned(), ..GetStoreRequest::default() };
        let shown = client.store_queries().get_store(request).await;
        assert!(shown.is_ok(), "a node does not show what every node was said to show: {shown:?}");
    }
}

pub async fn the_level_asked_for_is_reached(client: Client) {
    let (_, plain) = opened(&client, None).await;
    assert_eq!((plain.acknowledged(), plain.replicas), (AckLevel::Committed, 0));

    let (_, projected) = opened(&client, ack(AckLevel::Projected, 0, LONG)).await;
    assert_eq!(projected.acknowledged(), AckLevel::Projected);

    for _ in 0..5 {
        let (store, everywhere) = opened(&client, ack(AckLevel::Replicated, 0, LONG)).await;
        assert_eq!((everywhere.acknowledged(), everywhere.replicas), (AckLevel::Replicated, 2));
        // No token, no requirement: whichever node answers, it has it.
        every_node_shows(&client, &store).await;
    }

    let mut request = Request::new(open(None));
    request.metadata_mut().insert("headwater-ack", "replicated=1".parse().expect("ascii"));
    let by_metadata = done(client.store_commands().open_store(request).await);
    let by_metadata = receipt(by_metadata.receipt);
    assert_eq!(by_metadata.acknowledged(), AckLevel::Replicated);
    assert!(by_metadata.replicas >= 1);
}

pub async fn waiting_in_vain_is_no_error(client: Client) {
    // Long enough for the projection on a machine that is busy with other tests.
    let wait = Duration::from_secs(1);
    let begun = Instant::now();
    let (store, receipt) = opened(&client, ack(AckLevel::Replicated, 5, wait)).await;
    assert!(begun.elapsed() >= wait, "it waited");
    assert_eq!(receipt.acknowledged(), AckLevel::Projected, "five replicas there are not");
    assert_eq!(client.store(&store, &receipt.token).await.version, receipt.version);

    // The client's deadline is nearer than the wait: the answer comes before it.
    let mut request = Request::new(open(ack(AckLevel::Replicated, 5, LONG)));
    request.set_timeout(Duration::from_secs(2));
    let opened = done(client.store_commands().open_store(request).await);
    assert!(opened.receipt.is_some_and(|receipt| receipt.acknowledged() == AckLevel::Projected));
}

pub async fn what_cannot_be_waited_for_is_refused_first(client: Client) {
    let store_id = Uuid::new_v4().to_string();
    let ask = async |wish| {
        let request = OpenStoreRequest { store_id: store_id.clone(), ..open(wish) };
        client.store_commands().open_store(request).await
    };
    let named = |answer: Result<Response<OpenStoreResponse>, Status>, field: &str| {
        assert_eq!(fields(&refused(answer, "INVALID_REQUEST")), [field]);
    };
    let replicated = AckLevel::Replicated;
    let at = "options.acknowledgement";
    named(ask(ack(replicated, 65, LONG)).await, &format!("{at}.replicas"));
    named(ask(ack(replicated, 1, Duration::from_secs(61))).await, &format!("{at}.wait_max"));
    let unknown = Acknowledgement { level: 77, replicas: 0, wait_max: None };
    named(ask(Some(unknown)).await, &format!("{at}.level"));
    // Nothing of these was applied.
    assert_eq!(receipt(done(ask(None).await).receipt).version, 1);
}

pub async fn a_token_can_be_waited_for(client: Client) {
    let mut sync = SyncQueryServiceClient::new(client.channel.clone());
    let (_, receipt) = opened(&client, None).await;
    let request = |token: String, acknowledgement| AwaitRequest { token, acknowledgement };
    let asked = request(receipt.token.clone(), ack(AckLevel::Replicated, 0, LONG));
    let reached = done(sync.r#await(asked).await);
    assert_eq!(reached.reached(), AckLevel::Replicated);
    assert_eq!((reached.replicas, reached.replicas_healthy), (2, 2));

    // What the log does not have cannot be waited for, and is refused long before the time is over.
    let mut future = decoded(&receipt.token);
    let partition = headwater_kernel::Partition(0);
    future.raise(partition, headwater_kernel::Position(future.position(partition).0 + 1_000_000));
    let asked = ack(AckLevel::Projected, 0, LONG);
    let begun = std::time::Instant::now();
    refused(sync.r#await(request(future.encode(), asked)).await, "TOKEN_LOST");
    assert!(begun.elapsed() < LONG / 2, "it was waited for: {:?}", begun.elapsed());

    let foreign = Token::empty(headwater_kernel::LogId(Uuid::new_v4()), headwater_kernel::Epoch(1));
    refused(sync.r#await(request(foreign.encode(), asked)).await, "TOKEN_FOREIGN");
    let lost = Token::empty(future.log, headwater_kernel::Epoch(0));
    refused(sync.r#await(request(lost.encode(), asked)).await, "TOKEN_LOST");
    refused(sync.r#await(request("nonsense".to_owned(), asked)).await, "TOKEN_MALFORMED");
}
