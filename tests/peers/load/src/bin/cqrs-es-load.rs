//! Commands by cqrs-es on postgres-es, with the pool of its own convenience function: each loads
//! one item's events, decides, and inserts one event under the item's next sequence number.
//! `cqrs-es-load URL`.

use std::sync::Arc;

use async_trait::async_trait;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, Query};
use peers::load::{Answers, Load, Round, Turns, repeat, run};
use peers::{ITEMS_PER_CLIENT, PAYLOAD_BYTES};
use postgres_es::{PostgresCqrs, default_postgress_pool, postgres_cqrs};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The table of events, as `db/init.sql` of postgres-es makes it.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS events (
    aggregate_type text NOT NULL, aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL,
    event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence))";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Item {
    sold: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sold {
    units: u64,
    what: String,
}

struct Sell(u64);

impl DomainEvent for Sold {
    fn event_type(&self) -> String {
        "Sold".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Item {
    const TYPE: &'static str = "item";
    type Command = Sell;
    type Event = Sold;
    type Error = std::io::Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Sell,
        _: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        let what = "x".repeat(PAYLOAD_BYTES / 2);
        sink.write(Sold { units: command.0, what }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Sold) {
        self.sold += event.units;
    }
}

/// Does nothing: what is compared is the writing.
struct NoView;

#[async_trait]
impl Query<Item> for NoView {
    async fn dispatch(&self, _: &str, _: &[EventEnvelope<Item>]) {}
}

type Ids = Arc<Mutex<Vec<String>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = default_postgress_pool(&peers::url()?).await;
    sqlx::query(SCHEMA).execute(&pool).await?;
    let cqrs = Arc::new(postgres_cqrs(pool, vec![Box::new(NoView) as Box<dyn Query<Item>>], ()));
    let mut all: Vec<Ids> = Vec::new();
    peers::answer(|load| {
        while all.len() < load.clients {
            let ids = (0..ITEMS_PER_CLIENT).map(|_| Uuid::new_v4().to_string()).collect();
            all.push(Arc::new(Mutex::new(ids)));
        }
        let (all, cqrs) = (all.clone(), Arc::clone(&cqrs));
        async move { Ok(round(load, &all, &cqrs).await) }
    })
    .await
}

async fn round(load: Load, all: &[Ids], cqrs: &Arc<PostgresCqrs<Item>>) -> Round {
    run(load, |number, turns| sell(turns, Arc::clone(cqrs), Arc::clone(&all[number]))).await
}

async fn sell(turns: Turns, cqrs: Arc<PostgresCqrs<Item>>, ids: Ids) -> Answers {
    let mut next = 0;
    repeat(turns, || {
        let (cqrs, ids) = (Arc::clone(&cqrs), Arc::clone(&ids));
        next += 1;
        let at = next % ITEMS_PER_CLIENT;
        async move {
            let id = ids.lock().await[at].clone();
            let sold = cqrs.execute(&id, Sell(1)).await;
            sold.expect("a command that nobody contends for");
            1
        }
    })
    .await
}
