//! Events as the first version of the program wrote them, in the log of today's.

use headwater_domain_proto::stores::v1::{RecordSaleRequest, StoreStatus};
use headwater_eventlog::{Command, EventLog, Fact, FactKind, Outcome};
use headwater_kernel::{NewEvent, PartitionKey, StreamId, StreamVersion};
use serde_json::Value;
use uuid::Uuid;

use super::client::{Client, done, eur, receipt, record_sale};

const FIXTURE: &str = include_str!("../../../../domain/model/fixtures/events_v1.json");
/// The store that the frozen events of items name.
const STORE: &str = "01923456-789a-7bcd-8ef0-123456789abc";

/// The frozen row of a type.
fn frozen(type_name: &'static str) -> NewEvent {
    let rows: Vec<Value> = serde_json::from_str(FIXTURE).expect("a fixture");
    let is_it = |row: &&Value| row["type"] == type_name && row["schema_version"] == 1;
    let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("no version 1 of {type_name}"));
    let hex = row["payload"].as_str().expect("hexadecimal");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let payload = (0..hex.len()).step_by(2).map(byte).collect();
    NewEvent { type_name, schema_version: 1, payload, tags: Vec::new(), subject: None }
}

/// Appends a new stream to the store's partition, as the program of that day would have.
async fn append(log: &EventLog, stream: Uuid, key: Uuid, events: &[&'static str], marks: &[&str]) {
    let partition = PartitionKey(key).partition(log.info().partitions);
    let mark = |name: &&str| Fact { kind: FactKind::SetMark, name: (*name).to_owned() };
    let command = Command {
        stream: StreamId(stream),
        expected: StreamVersion(0),
        command_id: Uuid::now_v7(),
        caller: None,
        traceparent: None,
        key: None,
        events: events.iter().copied().map(frozen).collect(),
        facts: marks.iter().map(mark).collect(),
        boundary: None,
    };
    let outcomes = log.appender(partition).append(&[command]).await.expect("appended");
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
}

pub async fn rows_of_the_first_version_are_read(client: Client) {
    let log = EventLog::connect(&client.cluster.write_owner_url(), 1).await.expect("the owner");
    let store: Uuid = STORE.parse().expect("an id");
    let (item, user) = (Uuid::now_v7(), Uuid::now_v7());
    let history = [
        "stores.v1.StoreOpened",
        "stores.v1.StoreRenamed",
        "stores.v1.StoreRelocated",
        "stores.v1.ManagerAssigned",
        "stores.v1.ManagerRemoved",
    ];
    // It trades in EUR, as all stores did before currencies; its item was sold for USD all the
    // same, since the fixture's events are each a story of their own.
    let marks = [&*format!("store/{STORE}/open/EUR")];
    append(&log, store, store, &history, &marks).await;
    let history = [
        "stores.v1.ItemListed",
        "stores.v1.StockReceived",
        "stores.v1.SaleRecorded",
        "stores.v1.StockAdjusted",
        "stores.v1.ItemRepriced",
    ];
    append(&log, item, store, &history, &[&*format!("store/{STORE}/stock")]).await;
    let history = ["users.v1.UserRegistered", "users.v1.UserRenamed", "users.v1.UserEmailChanged"];
    append(&log, user, user, &history, &[]).await;

    // Commands decide on what they fold from those rows, and come after them.
    let renamed = client.rename_store(STORE, "Markt").await;
    assert_eq!(renamed.version, 6);
    let shown = client.store(STORE, &renamed.token).await;
    assert_eq!((&*shown.currency, &*shown.name, &*shown.city), ("EUR", "Markt", "Dallas"));
    assert_eq!((shown.status(), shown.version), (StoreStatus::Open, 6));

    // Listed in the currency that the upcast gave the store.
    let (_, listed) = client.list(STORE, "NEW-1", 100).await;
    let overview = client.overview(STORE, &listed.token).await;
    assert_eq!((overview.items, overview.units_sold), (2, 3));
    assert_eq!((&overview.name, overview.revenue), (&shown.name, eur(380)));

    let mut sale = record_sale(STORE, &item.to_string(), 35, 3_000);
    sale.amount = sale.amount.map(|money| headwater_domain_proto::stores::v1::Money {
        currency: "USD".to_owned(),
        ..money
    });
    let sale = RecordSaleRequest { ..sale };
    let sold = receipt(done(client.stock_commands().record_sale(sale).await).receipt);
    let shown = client.item(&item.to_string(), &sold.token).await;
    assert_eq!((shown.on_hand, shown.units_sold, shown.version), (0, 38, 6));

    let renamed = client.rename_user(&user.to_string(), "Ada").await;
    let shown = client.user(&user.to_string(), &renamed.token).await;
    assert_eq!((&*shown.email, &*shown.name, shown.version), ("al@example.org", "Ada", 4));
    // Nothing in stock any more, and the mark says so: the store may close.
    assert_eq!(client.close(STORE).await.version, 7);
}
