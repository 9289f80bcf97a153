//! The retail domain under load: its setup, and the requests that are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::{
    BatchRecordSalesRequest, GetItemRequest, ListItemRequest, Money, OpenStoreRequest,
    ReceiveStockRequest, RecordSaleRequest, TransferStockRequest, record_sale_result,
};
use headwater_proto::headwater::v1::{CommandOptions, Consistency, NodeRole, consistency};
use tokio::sync::Mutex;
use tonic::transport::Channel;
use uuid::Uuid;

use super::load::{Answers, Turns, repeat, repeat_from};

/// Items that each client sells.
const ITEMS_PER_CLIENT: usize = 50;
const STORES: usize = 10;
const CURRENCY: &str = "EUR";

/// An item that one client alone sells, at the version that client has left it.
#[derive(Clone, Debug)]
pub struct Item {
    store_id: String,
    item_id: String,
    version: u64,
}

/// Result of the reads.
#[derive(Debug, Default)]
pub struct Answered {
    /// Answers by replicas.
    pub by_replica: AtomicU64,
    /// Answers in all.
    pub all: AtomicU64,
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency: CURRENCY.to_owned(), minor_units })
}

/// Opens the stores, lists and stocks the items: one list of items a client, and the token of the
/// last command.
pub async fn set_up(channel: Channel, clients: usize) -> (Vec<Vec<Item>>, String) {
    let mut stores = Vec::new();
    let mut token = String::new();
    for n in 0..STORES {
        let request = OpenStoreRequest {
            name: format!("Store {n}"),
            city: "Bergen".to_owned(),
            currency: CURRENCY.to_owned(),
            ..OpenStoreRequest::default()
        };
        let mut client = StoreCommandServiceClient::new(channel.clone());
        stores.push(client.open_store(request).await.expect("opened").into_inner().store_id);
    }
    let listing = (0..clients).map(|client| {
        let (channel, store_id) = (channel.clone(), stores[client % STORES].clone());
        tokio::spawn(list_items(channel, store_id, client))
    });
    let mut items = Vec::new();
    for listed in listing.collect::<Vec<_>>() {
        let (listed, last) = listed.await.expect("no panic");
        items.push(listed);
        token = last;
    }
    (items, token)
}

async fn list_items(channel: Channel, store_id: String, client: usize) -> (Vec<Item>, String) {
    let mut stock = StockCommandServiceClient::new(channel);
    let mut items = Vec::new();
    let mut token = String::new();
    for n in 0..ITEMS_PER_CLIENT {
        let request = ListItemRequest {
            store_id: store_id.clone(),
            sku: format!("{client}-{n}"),
            name: format!("Item {n} of client {client}"),
            price: money(100),
            ..ListItemRequest::default()
        };
        let item_id = stock.list_item(request).await.expect("listed").into_inner().item_id;
        let options = CommandOptions { token: token.clone(), ..CommandOptions::default() };
        let request = ReceiveStockRequest {
            store_id: store_id.clone(),
            item_id: item_id.clone(),
            quantity: 1_000_000_000,
            options: Some(options),
        };
        let received = stock.receive_stock(request).await.expect("received").into_inner();
        let receipt = received.receipt.expect("a receipt");
        token = receipt.token;
        items.push(Item { store_id: store_id.clone(), item_id, version: receipt.version });
    }
    (items, token)
}

/// Items of one client, kept from round to round.
pub type Items = Arc<Mutex<Vec<Item>>>;

/// The items, so that a client can take its own.
pub fn shared(items: Vec<Vec<Item>>) -> Vec<Items> {
    items.into_iter().map(|items| Arc::new(Mutex::new(items))).collect()
}

/// Sells one unit after the other, each with the expected version and an idempotency key.
pub async fn sell(channel: Channel, items: Items, turns: Turns) -> Answers {
    let client = StockCommandServiceClient::new(channel);
    let mut next = 0;
    repeat(turns, || {
        let mut client = client.clone();
        let items = Arc::clone(&items);
        next += 1;
        let index = next % ITEMS_PER_CLIENT;
        async move {
            let mut items = items.lock().await;
            let request = sale(&items[index], Some(items[index].version));
            let sold = client.record_sale(request).await.expect("sold").into_inner();
            items[index].version = sold.receipt.expect("a receipt").version;
            1
        }
    })
    .await
}

/// Sells a unit of each of its items in one call, each with the expected version and a key.
pub async fn sell_batches(channel: Channel, items: Items, turns: Turns) -> Answers {
    let client = StockCommandServiceClient::new(channel);
    repeat(turns, || {
        let mut client = client.clone();
        let items = Arc::clone(&items);
        async move {
            let mut items = items.lock().await;
            let requests = items.iter().map(|item| sale(item, Some(item.version))).collect();
            let sold = client.batch_record_sales(BatchRecordSalesRequest { requests }).await;
            let results = sold.expect("answered").into_inner().results;
            for (item, result) in items.iter_mut().zip(&results) {
                let Some(record_sale_result::Result::Response(sold)) = &result.result else {
                    panic!("a sale of a batch was refused: {result:?}");
                };
                item.version = sold.receipt.as_ref().expect("a receipt").version;
            }
            results.len() as u64
        }
    })
    .await
}

/// Moves a unit from one of its items to another, with a key.
pub async fn transfer(channel: Channel, items: Items, turns: Turns) -> Answers {
    let client = StockCommandServiceClient::new(channel);
    let mut next = 0;
    repeat(turns, || {
        let mut client = client.clone();
        let items = Arc::clone(&items);
        next += 1;
        let (from, to) = (next % ITEMS_PER_CLIENT, (next + 1) % ITEMS_PER_CLIENT);
        async move {
            let mut items = items.lock().await;
            let request = TransferStockRequest {
                store_id: items[from].store_id.clone(),
                from_item_id: items[from].item_id.clone(),
                to_item_id: items[to].item_id.clone(),
                quantity: 1,
                options: keyed(None),
            };
            client.transfer_stock(request).await.expect("moved");
            // Each got an event; what sells next expects it.
            items[from].version += 1;
            items[to].version += 1;
            1
        }
    })
    .await
}

/// Sells one and the same item, as all others do: with a key, on whatever version there is.
pub async fn sell_one(channel: Channel, item: Item, turns: Turns) -> Answers {
    let client = StockCommandServiceClient::new(channel);
    repeat(turns, || {
        let mut client = client.clone();
        let request = sale(&item, None);
        async move { u64::from(client.record_sale(request).await.is_ok()) }
    })
    .await
}

/// Sells a unit, and reads the item at the sale's token. The latency is that from the receipt to
/// the reply that shows the sale.
pub async fn see(commands: Channel, queries: Channel, items: Items, turns: Turns) -> Answers {
    let client = StockCommandServiceClient::new(commands);
    let reader = StockQueryServiceClient::new(queries);
    let mut next = 0;
    repeat_from(turns, || {
        let (mut client, mut reader) = (client.clone(), reader.clone());
        let items = Arc::clone(&items);
        next += 1;
        let index = next % ITEMS_PER_CLIENT;
        async move {
            let mut items = items.lock().await;
            let request = sale(&items[index], Some(items[index].version));
            let sold = client.record_sale(request).await.expect("sold").into_inner();
            let receipt = sold.receipt.expect("a receipt");
            items[index].version = receipt.version;
            let committed = Instant::now();
            let consistency = Consistency {
                requirement: Some(consistency::Requirement::AtLeast(receipt.token)),
                ..Default::default()
            };
            let item_id = items[index].item_id.clone();
            let request = GetItemRequest { item_id, consistency: Some(consistency) };
            let seen = reader.get_item(request).await;
            (u64::from(seen.is_ok()), committed)
        }
    })
    .await
}

fn sale(item: &Item, expected_version: Option<u64>) -> RecordSaleRequest {
    RecordSaleRequest {
        store_id: item.store_id.clone(),
        item_id: item.item_id.clone(),
        quantity: 1,
        amount: money(100),
        sold_time: None,
        options: keyed(expected_version),
    }
}

/// Options with an idempotency key of their own.
fn keyed(expected_version: Option<u64>) -> Option<CommandOptions> {
    let idempotency_key = Uuid::now_v7().to_string();
    Some(CommandOptions { idempotency_key, expected_version, ..CommandOptions::default() })
}

/// Reads items by id, each with the token.
pub async fn read(
    channel: Channel,
    ids: Arc<Vec<String>>,
    token: String,
    answered: Arc<Answered>,
    turns: Turns,
) -> Answers {
    let client = StockQueryServiceClient::new(channel);
    let mut next = rand::random_range(0..ids.len());
    repeat(turns, || {
        let mut client = client.clone();
        next = (next + 7_919) % ids.len();
        let consistency = Consistency {
            requirement: Some(consistency::Requirement::AtLeast(token.clone())),
            ..Default::default()
        };
        let request = GetItemRequest { item_id: ids[next].clone(), consistency: Some(consistency) };
        let answered = Arc::clone(&answered);
        async move {
            let reply = client.get_item(request).await.expect("read").into_inner();
            let role = reply.freshness.expect("freshness").node_role;
            answered.all.fetch_add(1, Ordering::Relaxed);
            if role == NodeRole::Replica as i32 {
                answered.by_replica.fetch_add(1, Ordering::Relaxed);
            }
            1
        }
    })
    .await
}

/// The ids of all items.
pub fn ids(items: &[Vec<Item>]) -> Vec<String> {
    items.iter().flatten().map(|item| item.item_id.clone()).collect()
}
