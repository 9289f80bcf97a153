//! Many commands in one call: each has its own options, result and error.

use futures_util::{StreamExt as _, stream};
use headwater_domain_proto::stores::v1::{
    BatchListItemsRequest, BatchRecordSalesRequest, BatchRecordSalesResponse, ListItemRequest,
    RecordSaleRequest, RecordSaleResult, StreamRecordSalesRequest, list_item_result,
    record_sale_result,
};
use headwater_edge::RpcStatus;
use headwater_proto::headwater::v1::{AckLevel, Receipt};
use prost::Message as _;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::client::{Client, Shop, done, expecting, key, list_item, record_sale};
use super::refusal::{fact, fields, must_be, refused};

fn sale(shop: &Shop, quantity: i64) -> RecordSaleRequest {
    record_sale(&shop.store, &shop.item, quantity, quantity * 250)
}

fn with_key(shop: &Shop, quantity: i64, text: &str) -> RecordSaleRequest {
    RecordSaleRequest { options: key(text), ..sale(shop, quantity) }
}

/// The error of one command as the status that a single call would end with.
fn status(error: RpcStatus) -> Status {
    let details = error.encode_to_vec().into();
    Status::with_details(Code::from_i32(error.code), error.message, details)
}

fn answer(result: RecordSaleResult) -> Result<Receipt, Status> {
    match result.result.expect("a result") {
        record_sale_result::Result::Response(reply) => Ok(reply.receipt.expect("a receipt")),
        record_sale_result::Result::Error(error) => Err(status(error)),
    }
}

fn answers(reply: BatchRecordSalesResponse) -> Vec<Result<Receipt, Status>> {
    reply.results.into_iter().map(answer).collect()
}

pub async fn each_command_of_many_is_answered_by_itself(client: Client) {
    let (one, two) = (client.shop(5).await, client.shop(5).await);
    let text = Uuid::new_v4().to_string();
    let first = done(client.stock_commands().record_sale(with_key(&one, 2, &text)).await);
    let first = first.receipt.expect("a receipt");
    let requests = vec![
        sale(&two, 1),
        sale(&two, 6),
        sale(&two, 0),
        RecordSaleRequest { options: expecting(9), ..sale(&one, 1) },
        // The same key stands for the same command, alone and among others.
        with_key(&one, 2, &text),
        with_key(&one, 1, &text),
        sale(&one, 3),
        sale(&one, 1),
    ];
    let mut request = Request::new(BatchRecordSalesRequest { requests });
    request.metadata_mut().insert("headwater-ack", "projected".parse().expect("ascii"));
    let reply = client.stock_commands().batch_record_sales(request).await.expect("answered");
    let told = reply.metadata().get("headwater-token").cloned();
    let reply = reply.into_inner();
    let token = reply.token.clone();
    assert_eq!(told.and_then(|told| Some(told.to_str().ok()?.to_owned())), Some(token.clone()));

    let mut answers = answers(reply);
    let refusal = |answer: &Result<Receipt, Status>| answer.as_ref().expect_err("refused").clone();
    must_be(&refusal(&answers[1]), "INSUFFICIENT_STOCK");
    assert_eq!(fields(&refusal(&answers[2])), ["quantity"]);
    must_be(&refusal(&answers[3]), "VERSION_CONFLICT");
    assert_eq!(fact(&refusal(&answers[3]), "current_version").as_deref(), Some("3"));
    must_be(&refusal(&answers[5]), "IDEMPOTENCY_KEY_REUSED");
    must_be(&refusal(&answers[7]), "INSUFFICIENT_STOCK");
    let projected = i32::from(AckLevel::Projected);
    let mut receipt = |index: usize| {
        let receipt = answers[index].as_mut().expect("applied");
        assert!(receipt.token.is_empty() && receipt.recorded_time.is_some(), "{receipt:?}");
        assert_eq!(receipt.acknowledged, projected);
        (receipt.version, receipt.replayed)
    };
    assert_eq!(
        [receipt(0), receipt(4), receipt(6)],
        [(3, false), (first.version, true), (4, false)]
    );

    let items = [client.item(&one.item, &token).await, client.item(&two.item, &token).await];
    assert_eq!(items.map(|item| (item.on_hand, item.units_sold)), [(0, 5), (4, 1)]);
}

pub async fn a_batch_is_of_one_to_five_hundred(client: Client) {
    let shop = client.shop(1_000).await;
    let mut commands = client.stock_commands();
    for count in [0, 501] {
        let requests = vec![sale(&shop, 1); count];
        let sent = commands.batch_record_sales(BatchRecordSalesRequest { requests }).await;
        assert_eq!(fields(&refused(sent, "INVALID_REQUEST")), ["requests"]);
    }
    for (name, value) in [("idempotency-key", "k"), ("if-match", "\"2\""), ("if-none-match", "*")] {
        let mut request = Request::new(BatchRecordSalesRequest { requests: vec![sale(&shop, 1)] });
        request.metadata_mut().insert(name, value.parse().expect("ascii"));
        let sent = commands.batch_record_sales(request).await;
        assert_eq!(fields(&refused(sent, "INVALID_REQUEST")), [name]);
    }
    let requests = vec![sale(&shop, 1); 500];
    let reply = done(commands.batch_record_sales(BatchRecordSalesRequest { requests }).await);
    let token = reply.token.clone();
    let versions: Vec<u64> = answers(reply).into_iter().flatten().map(|one| one.version).collect();
    assert_eq!(versions, (3..=502).collect::<Vec<_>>(), "in the order of the requests");
    let item = client.item(&shop.item, &token).await;
    assert_eq!((item.on_hand, item.units_sold), (500, 500), "nothing else was applied");
}

pub async fn a_batch_may_be_larger_than_a_command(client: Client) {
    let (store, _) = client.open("Large", "Bern").await;
    let name = "ü".repeat(200);
    let listed = |number: usize| ListItemRequest {
        name: name.clone(),
        ..list_item(&store, &format!("LARGE-{number}"), 250)
    };
    let mut requests: Vec<ListItemRequest> = (0..499).map(listed).collect();
    // No single command may have so many bytes, wherever it stands.
    requests.push(ListItemRequest { name: "x".repeat(300_000), ..listed(499) });
    let request = BatchListItemsRequest { requests };
    let bytes = request.encoded_len();
    assert!((400_000..1_000_000).contains(&bytes), "{bytes}");
    let reply = done(client.stock_commands().batch_list_items(request).await);
    let mut results = reply.results.into_iter().map(|result| match result.result {
        Some(list_item_result::Result::Response(reply)) => Ok(reply.item_id),
        Some(list_item_result::Result::Error(error)) => Err(status(error)),
        None => panic!("no result"),
    });
    let last = results.next_back().expect("500").expect_err("too large");
    must_be(&last, "INVALID_REQUEST");
    assert!(last.message().contains("no more than 262144 are taken"), "{last:?}");
    let ids: Vec<String> = results.collect::<Result<_, _>>().expect("listed");
    assert_eq!(client.item(&ids[498], &reply.token).await.name, name);
    let requests = vec![ListItemRequest { name: "x".repeat(2_200), ..listed(0) }; 500];
    let sent = client.stock_commands().batch_list_items(BatchListItemsRequest { requests }).await;
    refused(sent, "INVALID_REQUEST");
}

/// Messages of a stream: so many sales of one unit each, with keys by their number.
fn messages(shop: &Shop, prefix: &str, messages: usize) -> Vec<StreamRecordSalesRequest> {
    let message = |number: usize| {
        let of = |at: usize| with_key(shop, 1, &format!("{prefix} {number} {at}"));
        StreamRecordSalesRequest { requests: (0..PER_MESSAGE).map(of).collect() }
    };
    (0..messages).map(message).collect()
}

const PER_MESSAGE: usize = 7;

pub async fn a_stream_is_answered_in_order(client: Client) {
    let shop = client.shop(10_000).await;
    let prefix = Uuid::new_v4().to_string();
    let mut commands = client.stock_commands();
    let sent = stream::iter(messages(&shop, &prefix, 150));
    let mut replies = done(commands.stream_record_sales(sent).await);
    let mut last = 2;
    let mut token = String::new();
    let mut messages = 0;
    while let Some(reply) = replies.next().await {
        let reply = reply.expect("answered");
        for result in reply.results {
            let receipt = answer(result).expect("applied");
            assert_eq!(receipt.version, last + 1, "one client, one aggregate, in order");
            last = receipt.version;
        }
        token = reply.token;
        messages += 1;
    }
    assert_eq!((messages, last), (150, 2 + 150 * PER_MESSAGE as u64));
    let sold = client.item(&shop.item, &token).await.units_sold;
    assert_eq!(sold, 150 * PER_MESSAGE as i64);

    // What a call would be refused for ends it, after what came before.
    let empty = StreamRecordSalesRequest { requests: Vec::new() };
    let sent = vec![StreamRecordSalesRequest { requests: vec![sale(&shop, 1)] }, empty];
    let mut replies = done(commands.stream_record_sales(stream::iter(sent)).await);
    assert!(replies.next().await.is_some_and(|reply| reply.is_ok()));
    let ended = replies.next().await.expect("an end").expect_err("an error");
    assert_eq!(fields(&ended), ["requests"]);
}

/// The story: a loader is killed in the middle of its stream, and sends everything again.
pub async fn a_stream_whose_client_goes_away_is_sent_again(client: Client) {
    let shop = client.shop(10_000).await;
    let prefix = Uuid::new_v4().to_string();
    let mut commands = client.stock_commands();
    // Never ends by itself.
    let sent = stream::iter(messages(&shop, &prefix, 100)).chain(stream::pending());
    let mut replies = done(commands.stream_record_sales(sent).await);
    assert!(replies.next().await.is_some_and(|reply| reply.is_ok()));
    drop(replies);
    let sent = stream::iter(messages(&shop, &prefix, 100));
    let replies = done(commands.stream_record_sales(sent).await);
    let replies: Vec<_> = replies.collect().await;
    let replies: Vec<_> = replies.into_iter().collect::<Result<_, _>>().expect("answered");
    let token = replies.last().expect("replies").token.clone();
    let results = replies.into_iter().flat_map(|reply| reply.results);
    let receipts: Vec<Receipt> = results.map(answer).collect::<Result<_, _>>().expect("applied");
    assert_eq!(receipts.len(), 100 * PER_MESSAGE);
    assert!(receipts[..PER_MESSAGE].iter().all(|receipt| receipt.replayed), "{:?}", receipts[0]);
    let sold = client.item(&shop.item, &token).await.units_sold;
    assert_eq!(sold, 100 * PER_MESSAGE as i64, "each once");
}
