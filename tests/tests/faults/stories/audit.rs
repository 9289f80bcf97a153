//! What must hold after every story: invariants 1 to 3 of ARCHITECTURE.md, from the log itself.

use std::collections::{BTreeMap, HashMap};

use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    BatchGetItemsRequest, GetStoreOverviewRequest, ItemListed, SaleRecorded, StockItem,
    StockReceived, StoreOverview,
};
use headwater_eventlog::{EventLog, Head};
use headwater_kernel::{Partition, RecordedEvent, Token};
use headwater_tests::harness::eventually;
use prost::Message as _;
use uuid::Uuid;

use super::ledger::Acknowledged;
use super::talk::{at_least, within};
use super::world::{PATIENCE, SOON, World};

/// The whole log.
struct History {
    events: Vec<RecordedEvent>,
    /// Proves all of it.
    token: String,
}

/// Sums of an item's events. Each event also says what they come to: the state that it was decided
/// on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    store_id: String,
    version: u64,
    on_hand: i64,
    units_sold: i64,
    revenue: i64,
}

/// Reads log, receipts and views, and compares each with the others.
pub async fn audit(world: &World) {
    let history = eventually(SOON, || read_log(world)).await;
    positions_are_dense(&history.events);
    versions_are_dense(&history.events);
    let acknowledged = world.ledger.acknowledged();
    sales_are_there_once(&history.events, &acknowledged);
    keys_are_stored(world, &acknowledged).await;
    views_equal_the_log(world, &history).await;
}

/// Every read verifies the chain of digests from the first event on.
async fn read_log(world: &World) -> anyhow::Result<History> {
    let log = EventLog::connect(&world.cluster.feed_url(), 1).await?;
    let info = log.info();
    let (mut events, mut positions) = (Vec::new(), Vec::new());
    for partition in (0..info.partitions).map(Partition) {
        let mut at = Head::START;
        loop {
            let chunk = log.read(partition, &at, 5_000).await?;
            at = chunk.end;
            events.extend(chunk.events);
            if chunk.caught_up {
                break;
            }
        }
        positions.push(at.position);
    }
    let token = Token::of_positions(info.id, info.epoch, &positions).encode();
    log.close().await;
    Ok(History { events, token })
}

fn positions_are_dense(events: &[RecordedEvent]) {
    let mut last = HashMap::new();
    for event in events {
        let before = last.insert(event.partition, event.position.0).unwrap_or_default();
        assert_eq!(event.position.0, before + 1, "a gap in partition {}", event.partition);
    }
}

fn versions_are_dense(events: &[RecordedEvent]) {
    let mut last = HashMap::new();
    for event in events {
        let before = last.insert(event.stream, event.version.0).unwrap_or_default();
        assert_eq!(event.version.0, before + 1, "a gap in stream {}", event.stream);
    }
}

/// The sales of the log are those that were acknowledged, each where its receipt says. (Clients
/// give up on none, so that there are no others.)
fn sales_are_there_once(events: &[RecordedEvent], acknowledged: &[Acknowledged]) {
    let mut recorded = BTreeMap::new();
    for event in events.iter().filter(|event| event.type_name == "stores.v1.SaleRecorded") {
        let sale = SaleRecorded::decode(event.payload.as_slice()).expect("a sale");
        let place = (event.stream.0.to_string(), event.version.0, sale.quantity);
        let before = recorded.insert(sale.amount_minor_units, place);
        assert_eq!(before, None, "sale {} was recorded twice", sale.amount_minor_units);
    }
    let told = acknowledged.iter().map(|Acknowledged { sale, receipt }| {
        (sale.amount, (sale.item.item_id.clone(), receipt.version, sale.quantity))
    });
    let told: BTreeMap<_, _> = told.collect();
    assert_eq!(told.len(), acknowledged.len(), "a sale was acknowledged twice");
    for (amount, place) in &told {
        assert_eq!(recorded.get(amount), Some(place), "an acknowledged sale is not in the log");
    }
    assert_eq!(recorded.len(), told.len(), "the log has sales that nobody was told of");
}

/// The log knows a key of its own for every receipt that was given.
async fn keys_are_stored(world: &World, acknowledged: &[Acknowledged]) {
    let url = world.cluster.write_owner_url();
    let client = headwater_cli::local::connect(&url).await.expect("a connection");
    let stream = |a: &Acknowledged| Uuid::parse_str(&a.sale.item.item_id).expect("an id");
    let streams: Vec<Uuid> = acknowledged.iter().map(stream).collect();
    let versions: Vec<i64> = acknowledged.iter().map(|a| a.receipt.version as i64).collect();
    let sql = "SELECT count(DISTINCT e.key) FROM unnest($1::uuid[], $2::bigint[]) t(s, v)
                 JOIN headwater_log.event e ON e.stream = t.s AND e.version = t.v";
    let row = client.query_one(sql, &[&streams, &versions]).await.expect("a count");
    assert_eq!(row.get::<_, i64>(0), acknowledged.len() as i64, "keys that are not stored");
}

/// Rows as queries give them, once they show the whole log, against sums of its events.
async fn views_equal_the_log(world: &World, history: &History) {
    let sums = sums(&history.events);
    let items = eventually(SOON, || items(world, &history.token)).await;
    assert_eq!(items.len(), sums.len());
    for item in &items {
        let shown = Sums {
            store_id: item.store_id.clone(),
            version: item.version,
            on_hand: item.on_hand,
            units_sold: item.units_sold,
            revenue: item.revenue.as_ref().expect("money").minor_units,
        };
        assert_eq!(Some(&shown), sums.get(&item.item_id), "the view of item {}", item.item_id);
    }
    for store_id in &world.shop.stores {
        let shown = eventually(SOON, || overview(world, store_id, &history.token)).await;
        let of_store = sums.values().filter(|sums| sums.store_id == *store_id);
        let total = |field: fn(&Sums) -> i64| of_store.clone().map(field).sum::<i64>();
        let revenue = shown.revenue.expect("money").minor_units;
        let expected = (total(|s| s.on_hand), total(|s| s.units_sold), total(|s| s.revenue));
        assert_eq!((shown.units_in_stock, shown.units_sold, revenue), expected, "{store_id}");
        assert_eq!(shown.items, of_store.count() as i64);
    }
}

fn sums(events: &[RecordedEvent]) -> BTreeMap<String, Sums> {
    let mut all: BTreeMap<String, Sums> = BTreeMap::new();
    for event in events {
        let payload = event.payload.as_slice();
        let id = event.stream.0.to_string();
        match event.type_name.as_str() {
            "stores.v1.ItemListed" => {
                let listed = ItemListed::decode(payload).expect("an event");
                all.entry(id).or_default().store_id = listed.store_id;
            }
            "stores.v1.StockReceived" => {
                let received = StockReceived::decode(payload).expect("an event");
                let sums = all.entry(id).or_default();
                sums.on_hand += received.quantity;
                assert_eq!(received.on_hand, sums.on_hand, "decided on another state: {event:?}");
            }
            "stores.v1.SaleRecorded" => {
                let sale = SaleRecorded::decode(payload).expect("an event");
                let sums = all.entry(id).or_default();
                sums.on_hand -= sale.quantity;
                sums.units_sold += sale.quantity;
                sums.revenue += sale.amount_minor_units;
                assert_eq!(sale.on_hand, sums.on_hand, "decided on another state: {event:?}");
            }
            _ => continue,
        }
        all.entry(event.stream.0.to_string()).or_default().version = event.version.0;
    }
    all
}

async fn items(world: &World, token: &str) -> Result<Vec<StockItem>, tonic::Status> {
    let mut client = StockQueryServiceClient::new(world.router());
    let item_ids = world.shop.items.iter().map(|item| item.item_id.clone()).collect();
    let request = BatchGetItemsRequest { item_ids, consistency: at_least(token) };
    Ok(client.batch_get_items(within(PATIENCE, request)).await?.into_inner().items)
}

async fn overview(
    world: &World,
    store_id: &str,
    token: &str,
) -> Result<StoreOverview, tonic::Status> {
    let mut client = StoreQueryServiceClient::new(world.router());
    let store_id = store_id.to_owned();
    let request = GetStoreOverviewRequest { store_id, consistency: at_least(token) };
    let reply = client.get_store_overview(within(PATIENCE, request)).await?.into_inner();
    Ok(reply.overview.expect("an overview"))
}
