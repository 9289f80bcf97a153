//! A log with many events, as a year of sales leaves it, appended by the function that every
//! command goes through, so that whatever reads it finds nothing amiss.

use std::time::Instant;

use anyhow::bail;
use headwater_domain_proto::stores::v1::{ItemListed, SaleRecorded, StockReceived, StoreOpened};
use headwater_eventlog::{Command, EVENTS_PER_BATCH_MAX, EventLog, Key, Outcome};
use headwater_kernel::{NewEvent, Partition, StreamId, StreamVersion};
use prost::Message;
use uuid::Uuid;

/// As many as the sales file has.
const STORES: usize = 457;
/// An item is listed and stocked, and sold twice: in the sales file 2.3 times.
const EVENTS_PER_ITEM: usize = 4;
const PRICE: i64 = 199;
const CURRENCY: &str = "EUR";

/// Appends about so many events to partition 0, and tells of the speed.
///
/// # Errors
/// The database cannot be reached, or refuses a command.
pub async fn fill(log: &EventLog, events: usize) -> anyhow::Result<()> {
    let mut appender = log.appender(Partition(0));
    let stores: Vec<Uuid> = (0..STORES).map(|_| Uuid::now_v7()).collect();
    let opened = stores.iter().map(|id| command(*id, 0, vec![opened(*id)])).collect::<Vec<_>>();
    all_committed(&appender.append(&opened).await?)?;
    let started = Instant::now();
    let items_per_batch = EVENTS_PER_BATCH_MAX / EVENTS_PER_ITEM;
    let mut done = 0;
    while done < events {
        let items = (0..items_per_batch).map(|number| {
            let id = Uuid::now_v7();
            command(id, 0, item(stores[(done / 4 + number) % STORES], id))
        });
        let items: Vec<Command> = items.collect();
        all_committed(&appender.append(&items).await?)?;
        done += items_per_batch * EVENTS_PER_ITEM;
        if done % (1 << 20) < EVENTS_PER_BATCH_MAX {
            let rate = done as f64 / started.elapsed().as_secs_f64();
            println!("  {done} events appended, {rate:.0}/s");
        }
    }
    Ok(())
}

fn all_committed(outcomes: &[Outcome]) -> anyhow::Result<()> {
    match outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Committed(_))) {
        Some(other) => bail!("a command of the bench was not committed: {other:?}"),
        None => Ok(()),
    }
}

/// A command with a key of its own, decided on this version of the stream.
pub fn command(stream: Uuid, expected: u64, events: Vec<NewEvent>) -> Command {
    let key = Uuid::now_v7();
    Command {
        stream: StreamId(stream),
        expected: StreamVersion(expected),
        command_id: Uuid::now_v7(),
        caller: None,
        traceparent: None,
        key: Some(Key { key, old_key: key, payload: key, store: true }),
        events,
        boundary: None,
        facts: Vec::new(),
    }
}

fn event(type_name: &'static str, message: &impl Message) -> NewEvent {
    NewEvent {
        type_name,
        schema_version: 1,
        payload: message.encode_to_vec(),
        tags: Vec::new(),
        subject: None,
    }
}

fn opened(id: Uuid) -> NewEvent {
    let name = format!("Store {id}");
    let (city, currency) = ("Bergen".to_owned(), CURRENCY.to_owned());
    event("stores.v1.StoreOpened", &StoreOpened { name, city, currency })
}

/// The life of one item.
fn item(store: Uuid, id: Uuid) -> Vec<NewEvent> {
    let store_id = store.to_string();
    let listed = ItemListed {
        store_id: store_id.clone(),
        sku: id.simple().to_string(),
        name: format!("Item {id}"),
        currency: CURRENCY.to_owned(),
        price_minor_units: PRICE,
    };
    let received = StockReceived {
        store_id: store_id.clone(),
        quantity: 10,
        on_hand: 10,
        price_minor_units: PRICE,
    };
    vec![
        event("stores.v1.ItemListed", &listed),
        event("stores.v1.StockReceived", &received),
        sale(&store_id, 9),
        sale(&store_id, 8),
    ]
}

/// A sale of one unit that leaves so many.
pub fn sale(store_id: &str, on_hand: i64) -> NewEvent {
    let sold = SaleRecorded {
        store_id: store_id.to_owned(),
        quantity: 1,
        amount_minor_units: PRICE,
        on_hand,
        price_minor_units: PRICE,
        sold_time: None,
    };
    event("stores.v1.SaleRecorded", &sold)
}
