//! A cluster with a shop in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_cli::local::connect;
use headwater_tests::harness::{Cluster, Options, eventually};
use headwater_tests::history::log::{Change, Event, Log};
use headwater_tests::history::record::{
    Answer, Ask, LogName, Moment, Operation, Outcome, Requirement, What,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::client::{Client, Shared};
use super::clock::Clock;
use super::queries::{Cursor, Enforcement};
use super::session::{PARTITIONS, Session};
use super::shop::Shop;
use super::watcher::Watcher;

/// What comes back by itself does so sooner; this allows for a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Numbers of the clients that open the shop, and that look at it last.
const OPENER: usize = 30;
const LAST: usize = 31;
/// Rows on the pages of the last look, and how many pages it takes at most.
const LAST_PAGE_SIZE: i32 = 100;
const LAST_PAGES_MAX: usize = 100;

/// Whatever is killed or hangs is missed by those who need it, and every one of them warns. What
/// would be an alarm all the same is not listed: a panic, a stop of the projection, an event that
/// is parked, damage.
const EXPECTED: &[&str] =
    &[r#""level":"WARN""#, "the outcome of an append could not be found out in time"];

pub struct World {
    pub cluster: Cluster,
    pub shop: Shop,
    pub shared: Arc<Shared>,
    /// The commands that opened the shop.
    pub opening: Vec<Operation>,
    pub clock: Clock,
    pub seed: u64,
    /// Held by whoever breaks something, or restarts a program: one after the other.
    pub turn: Mutex<()>,
}

/// The release that made the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The last one.
    Last,
    /// This one.
    This,
}

impl World {
    pub async fn start(seed: u64, log: Release) -> Self {
        let options = Options {
            partitions: PARTITIONS,
            replicas: 2,
            query_svcs: 2,
            command_svcs: 2,
            last_release: log == Release::Last,
            ..Options::default()
        };
        let cluster = Cluster::start(options).await.expect("a cluster");
        cluster.expect_logs(EXPECTED);
        let mut rng = StdRng::seed_from_u64(seed);
        let (shop, orders) = Shop::plan(&mut rng);
        let clock = Clock::default();
        let shared = Arc::default();
        let opening = Vec::new();
        let turn = Mutex::default();
        let mut world = Self { cluster, shop, shared, opening, clock, seed, turn };
        if log == Release::This {
            world.allow_transfers();
        }
        let mut opener = world.client(OPENER);
        for order in orders {
            opener.command(order, rng.random(), false).await;
        }
        let opened = |operation: &Operation| match &operation.what {
            What::Command(command) => matches!(command.outcome, Outcome::Acknowledged(_)),
            What::Query(_) => false,
        };
        assert!(opener.record.iter().all(opened), "{:?}", opener.record);
        world.opening = opener.record;
        world.calm_down().await;
        world
    }

    /// From now on clients transfer stock.
    pub fn allow_transfers(&self) {
        self.shared.transfers.store(true, Ordering::Relaxed);
    }

    /// Stops a program between two faults, and starts it again when it has gone.
    pub async fn restart(&self, program: &str) {
        let _turn = self.turn.lock().await;
        assert!(self.cluster.stop(program).await, "{program} had to be killed");
        self.cluster.start_again(program).await.expect("it starts again");
    }

    /// The nodes that hold views, but for their primary.
    pub fn replicas(&self) -> Vec<&str> {
        let nodes = self.cluster.plan().nodes.iter().filter(|node| node.role.shows_views());
        let names = nodes.map(|node| node.name.as_str());
        names.filter(|name| *name != self.cluster.view_node()).collect()
    }

    /// A client that knows nothing yet.
    pub fn client(&self, number: usize) -> Client {
        Client {
            number,
            seed: self.seed,
            channel: self.cluster.router(),
            clock: self.clock.clone(),
            shop: self.shop.clone(),
            shared: Arc::clone(&self.shared),
            enforcement: Enforcement::On,
            session: Session::default(),
            versions: HashMap::new(),
            listed: Vec::new(),
            steps: 0,
            record: Vec::new(),
        }
    }

    /// A client that watches the items of a store.
    pub fn watcher(&self, number: usize, store: Uuid) -> Watcher {
        Watcher {
            number,
            channel: self.cluster.router(),
            clock: self.clock.clone(),
            shared: Arc::clone(&self.shared),
            store,
            session: Session::default(),
            known: BTreeMap::new(),
            versions: BTreeMap::new(),
            resume_token: String::new(),
            record: Vec::new(),
        }
    }

    /// Waits until everything is as it should be: programs are ready, and every node shows what was
    /// in the log when the wait began.
    pub async fn calm_down(&self) {
        for program in &self.cluster.plan().programs {
            eventually(SOON, || self.is_ready(&program.name)).await;
        }
        let heads = eventually(SOON, || self.heads()).await;
        let nodes = self.cluster.plan().nodes.iter();
        for node in nodes.filter(|node| node.role.shows_views()) {
            eventually(SOON, || self.shows(&node.name, &heads)).await;
        }
    }

    async fn is_ready(&self, program: &str) -> anyhow::Result<()> {
        if !self.cluster.is_running(program).await {
            self.cluster.launch(program).await?;
        }
        let answer = self.cluster.admin(program, "/readyz").await?;
        anyhow::ensure!(answer.status == 200, "{program}: {}", answer.body);
        Ok(())
    }

    async fn heads(&self) -> anyhow::Result<Vec<i64>> {
        let client = connect(&self.cluster.write_owner_url()).await?;
        let sql = "SELECT array_agg(position ORDER BY partition) FROM headwater_log.head";
        Ok(client.query_one(sql, &[]).await?.get(0))
    }

    async fn shows(&self, node: &str, heads: &[i64]) -> anyhow::Result<()> {
        let client = connect(&self.cluster.superuser_url(node)).await?;
        let sql = "SELECT positions FROM headwater_read.checkpoint";
        let shown: Vec<i64> = client.query_one(sql, &[]).await?.get(0);
        let all = shown.iter().zip(heads).all(|(shown, head)| shown >= head);
        anyhow::ensure!(all, "{node} shows {shown:?} of {heads:?}");
        Ok(())
    }

    /// Runs a statement on a node as its superuser.
    pub async fn on_node(&self, node: &str, sql: &str) {
        eventually(SOON, || async {
            let client = connect(&self.cluster.superuser_url(node)).await?;
            client.batch_execute(sql).await?;
            anyhow::Ok(())
        })
        .await;
    }

    /// Reads everything once more, no older than anything that anybody was told. Now that all is
    /// well every query must be answered.
    pub async fn last_look(&self) -> Vec<Operation> {
        let mut client = self.client(LAST);
        client.session = self.shared.board.lock().expect("no panic").clone();
        let proof = client.session.proof().expect("something was acknowledged");
        let mut asks = vec![Ask::ListOverviews, Ask::ListStores { city: String::new() }];
        for store in &self.shop.stores {
            asks.extend([Ask::Store(*store), Ask::Overview(*store)]);
            asks.extend([true, false].map(|by_price| Ask::ListItems { store: *store, by_price }));
        }
        asks.push(Ask::Items(self.shop.items.iter().map(|item| item.id).collect()));
        for ask in asks {
            let cursor = Cursor { size: LAST_PAGE_SIZE, token: String::new() };
            let requirement = Requirement::AtLeast(proof.clone());
            client.read(ask, requirement, cursor, LAST_PAGES_MAX).await;
        }
        for operation in &client.record {
            let What::Query(query) = &operation.what else { continue };
            assert!(matches!(query.answer, Answer::Shown(_)), "not answered: {operation:?}");
        }
        client.record
    }

    /// The whole log, from its table.
    pub async fn log(&self) -> Log {
        let client = connect(&self.cluster.write_owner_url()).await.expect("a connection");
        let row = client.query_one("SELECT id, epoch FROM headwater_log.log", &[]).await;
        let row = row.expect("a log");
        let name = LogName { id: row.get(0), epoch: row.get::<_, i32>(1) as u32 };
        let sql = "SELECT partition, position, stream, version, type, payload,
                          (extract(epoch FROM recorded_at) * 1000000)::bigint
                     FROM headwater_log.event ORDER BY partition, position";
        let rows = client.query(sql, &[]).await.expect("events");
        Log { name, events: rows.iter().map(event).collect() }
    }

    /// The product's own word on the log: its chain of digests, and the claims and marks that
    /// follow from its events.
    pub async fn verify_log(&self) {
        let url = self.cluster.write_owner_url();
        for [what, option] in [["log", "--write-url"], ["claims", "--write-owner-url"]] {
            let output = self.cluster.headwater(&["verify", what, option, &url]).await;
            let output = output.expect("headwater runs");
            assert!(output.status.success(), "{output:?}");
        }
    }
}

fn event(row: &tokio_postgres::Row) -> Event {
    let (change, on_hand) = Change::decode(row.get(4), row.get(5)).expect("an event");
    Event {
        partition: row.get::<_, i32>(0) as u16,
        position: row.get::<_, i64>(1) as u64,
        stream: row.get(2),
        version: row.get::<_, i64>(3) as u64,
        recorded: Moment(row.get::<_, i64>(6) as u64),
        change,
        on_hand,
    }
}
