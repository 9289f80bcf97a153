//! Decisions across aggregates: by tags and, for comparison, on one stream, both by an executor in
//! the bench's own process, without a gRPC call; and transfers between two items by command-svc.

use std::sync::Arc;

use headwater_chassis::{Invocation, Metrics};
use headwater_command_svc::{Acks, Config, Executor};
use headwater_edge::{Call, CallOptions, KeyHashes};
use headwater_eventlog::EventLog;
use headwater_kernel::{
    Aggregate, Context, Decided, DecidedAcross, Decision, DecisionModel, DecodeError, EventSet,
    NewEvent, PartitionKey, Query, QueryItem, StreamId,
};
use headwater_tests::bench::load::{Answers, Load, Turns, repeat};
use headwater_tests::bench::report::Report;
use headwater_tests::bench::retail;
use headwater_tests::harness::Options;
use uuid::Uuid;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up, of, write_side};

/// Things that each client counts.
const THINGS: usize = 50;
/// As large as the events of the peers.
const PAYLOAD_BYTES: usize = 120;
const COUNTED: &str = "bench.v1.Counted";

/// One more of a thing.
#[derive(Clone)]
struct Counted(Uuid);

impl EventSet for Counted {
    fn encode(&self) -> NewEvent {
        let tags = vec![format!("thing:{}", self.0)];
        let mut payload = self.0.as_bytes().to_vec();
        payload.resize(PAYLOAD_BYTES, 0xab);
        NewEvent { type_name: COUNTED, schema_version: 1, payload, tags, subject: None }
    }

    fn decode(_: &str, _: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        let id = payload.get(..16).and_then(|id| Uuid::from_slice(id).ok()).unwrap_or_default();
        Ok(Counted(id))
    }
}

/// The same without a tag.
#[derive(Clone)]
struct Plain(Counted);

impl EventSet for Plain {
    fn encode(&self) -> NewEvent {
        NewEvent { tags: Vec::new(), ..self.0.encode() }
    }

    fn decode(type_name: &str, version: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        Counted::decode(type_name, version, payload).map(Plain)
    }
}

/// The number of a thing, decided on a query by its tag.
#[derive(Clone, Default)]
struct ByTag(u64);

impl DecisionModel for ByTag {
    const NAME: &'static str = "by-tag";
    type Command = Uuid;
    type Event = Counted;

    fn boundary(thing: &Uuid, _: &Context) -> Query {
        Query::new([QueryItem::tag(format!("thing:{thing}")).of_types([COUNTED])])
    }

    fn decide(&self, thing: &Uuid, context: &Context) -> DecidedAcross<Counted> {
        Ok(vec![(context.stream, Decision::event(Counted(*thing)))])
    }

    fn evolve(&mut self, _: StreamId, _: &Counted) {
        self.0 += 1;
    }
}

/// The same, an aggregate of its own.
#[derive(Clone, Default)]
struct ByStream(u64);

impl Aggregate for ByStream {
    const NAME: &'static str = "by-stream";
    type Command = Uuid;
    type Event = Plain;

    fn decide(&self, thing: &Uuid, _: &Context) -> Decided<Plain> {
        Ok(Decision::event(Plain(Counted(*thing))))
    }

    fn evolve(&mut self, _: &Plain) {
        self.0 += 1;
    }
}

/// Counts one thing after the other, each with an idempotency key.
async fn count(executor: Arc<Executor>, by_tag: bool, turns: Turns) -> Answers {
    let things: Vec<Uuid> = (0..THINGS).map(|_| Uuid::new_v4()).collect();
    let mut next = 0;
    repeat(turns, || {
        next += 1;
        let thing = things[next % THINGS];
        let key = Uuid::now_v7();
        let hashes = KeyHashes { key, old_key: key, payload: Uuid::nil() };
        let call = Call {
            stream: StreamId(thing),
            partition_key: PartitionKey(Uuid::nil()),
            domain: "bench",
            options: CallOptions { key: Some(hashes), ..CallOptions::default() },
        };
        let executor = Arc::clone(&executor);
        async move {
            let done = match by_tag {
                true => executor.execute_across::<ByTag>(call, thing).await,
                false => executor.execute::<ByStream>(call, thing).await,
            };
            u64::from(done.is_ok())
        }
    })
    .await
}

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    // A stack of its own for the executor: the events of this bench are of no view.
    let mut bare = Rig::start(Options { command_svcs: 0, ..write_side() }).await?;
    let url = bare.cluster.command_url();
    let log = EventLog::connect(&url, 4).await?;
    let limits = config(&url)?.limits;
    let executor = Arc::new(Executor::start(&log, &limits, Acks::new(None), &Metrics::new()));
    let (_server, mut umadb) = bare.umadb(1).await;

    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        for (name, by_tag) in [("by tag, in process", true), ("by stream, in process", false)] {
            bare.round(name, load, |_, turns| count(Arc::clone(&executor), by_tag, turns)).await;
        }
        bare.peer("UmaDB", load, &mut umadb).await?;
        rig.round("transfers", load, |client, turns| {
            retail::transfer(of(&channels, client), items[client].clone(), turns)
        })
        .await;
        rig.settle().await;
        rig.sell("sales", load, (&channels, &items)).await;
        rig.settle().await;
    }
    let ratios = [
        ("by tag, in process", "UmaDB", "≥ 1.0"),
        ("by tag, in process", "by stream, in process", ""),
        ("transfers", "sales", ""),
    ];
    let samples = [bare.samples, rig.samples].concat();
    Ok(report(&samples, &ratios))
}

fn config(url: &str) -> anyhow::Result<Config> {
    let vars = [
        ("HEADWATER_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_WRITE_URL", url),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Config::read(Invocation::from_parts("command-svc", vars, []))?)
}
