//! Conditional appends to UmaDB: each of one event about one item, on the condition that nothing
//! about the item was added since the position of its last one. `umadb-load URL [EVENTS]`: so many
//! events an append, each about another item, all under one condition.

use std::sync::Arc;

use peers::load::{Load, Round, Turns, repeat, run};
use peers::{ITEMS_PER_CLIENT, PAYLOAD_BYTES};
use tokio::sync::Mutex;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};
use uuid::Uuid;

const CONNECTIONS: usize = 4;
const TYPE: &str = "stores.v1.SaleRecorded";

struct Item {
    tag: String,
    after: Option<u64>,
}

type Items = Arc<Mutex<Vec<Item>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = peers::url()?;
    let events = std::env::args().nth(2).map_or(Ok(1), |text| text.parse())?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Arc::new(UmaDbClient::new(url.clone()).connect_async().await?));
    }
    let mut all: Vec<Items> = Vec::new();
    peers::answer(|load| {
        while all.len() < load.clients {
            all.push(Arc::new(Mutex::new(items(ITEMS_PER_CLIENT.max(events)))));
        }
        let (all, connections) = (all.clone(), connections.clone());
        async move { Ok(round(load, &all, &connections, events).await) }
    })
    .await
}

fn items(count: usize) -> Vec<Item> {
    (0..count).map(|_| Item { tag: format!("item:{}", Uuid::new_v4()), after: None }).collect()
}

async fn round(
    load: Load,
    all: &[Items],
    connections: &[Arc<AsyncUmaDbClient>],
    events: usize,
) -> Round {
    run(load, |number, turns| {
        let client = Arc::clone(&connections[number % CONNECTIONS]);
        append(turns, client, Arc::clone(&all[number]), events)
    })
    .await
}

async fn append(
    turns: Turns,
    client: Arc<AsyncUmaDbClient>,
    items: Items,
    events: usize,
) -> peers::load::Answers {
    let mut next = 0;
    repeat(turns, || {
        let (client, items) = (Arc::clone(&client), Arc::clone(&items));
        let first = next;
        next = (next + events) % ITEMS_PER_CLIENT.max(events);
        async move {
            let mut items = items.lock().await;
            let count = items.len();
            let chosen: Vec<usize> = (first..first + events).map(|at| at % count).collect();
            let tags = chosen.iter().map(|at| items[*at].tag.clone());
            let query = tags.fold(DcbQuery::new(), |query, tag| {
                query.item(DcbQueryItem::new().types([TYPE]).tags([tag]))
            });
            let after = chosen.iter().filter_map(|at| items[*at].after).min();
            let condition = DcbAppendCondition::new(query).after(after);
            let new = chosen.iter().map(|at| event(&items[*at].tag)).collect();
            match client.append(new, Some(condition), None).await {
                Ok(position) => {
                    for at in chosen {
                        items[at].after = Some(position);
                    }
                    events as u64
                }
                Err(error) => panic!("an append that nobody contends for was refused: {error}"),
            }
        }
    })
    .await
}

fn event(tag: &str) -> DcbEvent {
    let event = DcbEvent::default().event_type(TYPE).tags([tag.to_owned()]);
    event.data(vec![0xab; PAYLOAD_BYTES]).uuid(Uuid::new_v4())
}
