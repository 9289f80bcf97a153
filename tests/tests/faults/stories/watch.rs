//! Streams of changes, while the nodes and programs that carry them fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    WatchItemRequest, WatchItemResponse, WatchItemsRequest, WatchItemsResponse, item_change,
};
use headwater_kernel::{Partition, PartitionKey, Token};
use headwater_proto::headwater::v1::WatchOptions;
use headwater_tests::harness::{Options, eventually};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::load::Load;
use super::talk::{at_least, covers, passes, raised, reason};
use super::world::{PATIENCE, SOON, Stage, World};

static STAGE: Stage = Stage::new(|| Options { partitions: 4, ..Options::default() });

/// What is logged while nodes and copies come and go.
const LOST: &[&str] = &[
    r#""message":"node ejected from load balancing""#,
    r#""target":"deadpool.postgres""#,
    r#""message":"watches are given up""#,
    r#""message":"the projection starts anew""#,
    r#""message":"endpoint","upstream":"query""#,
];
const WATCHERS: usize = 12;
/// A client's pause before it resumes.
const PAUSE: Duration = Duration::from_millis(50);

/// Watches the items of one store, and resumes whenever the stream ends.
struct Watcher {
    channel: Channel,
    store: String,
    over: Arc<AtomicBool>,
    token: String,
    resume_token: String,
    /// The version known of each item.
    versions: BTreeMap<String, u64>,
    /// What was known with each token.
    steps: Vec<(Token, BTreeMap<String, u64>)>,
    ends: BTreeMap<String, u64>,
}

impl Watcher {
    fn start(world: &World, number: usize, over: &Arc<AtomicBool>) -> JoinHandle<Watcher> {
        let stores = &world.shop.stores;
        let watcher = Watcher {
            channel: world.router(),
            store: stores[number % stores.len()].clone(),
            over: Arc::clone(over),
            token: String::new(),
            resume_token: String::new(),
            versions: BTreeMap::new(),
            steps: Vec::new(),
            ends: BTreeMap::new(),
        };
        tokio::spawn(watcher.watch())
    }

    async fn watch(mut self) -> Watcher {
        while !self.over.load(Ordering::Relaxed) {
            let status = match self.open().await {
                Ok(stream) => self.follow(stream).await,
                Err(status) => Some(status),
            };
            if let Some(status) = status {
                assert!(passes(&status), "a watch ended for good: {status:?}");
                *self.ends.entry(reason(&status)).or_default() += 1;
                // tidy: allow sleep: what a client does before it tries again
                tokio::time::sleep(PAUSE).await;
            }
        }
        self
    }

    async fn open(&self) -> Result<Streaming<WatchItemsResponse>, Status> {
        let resume_after = self.resume_token.clone();
        let request = WatchItemsRequest {
            store_id: self.store.clone(),
            options: Some(WatchOptions { resume_after }),
            consistency: None,
        };
        let mut client = StockQueryServiceClient::new(self.channel.clone());
        // No deadline: it is meant to go on. That the stream opens is bounded by query-svc.
        Ok(client.watch_items(request).await?.into_inner())
    }

    /// Until it ends, or is not wanted any more.
    async fn follow(&mut self, mut stream: Streaming<WatchItemsResponse>) -> Option<Status> {
        loop {
            // A message comes every 5 s at the latest.
            let message = match timeout(PATIENCE, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => panic!("a watch ended without a word"),
                Ok(Err(status)) => return Some(status),
                Err(_) => panic!("a watch has fallen silent, at {}", self.token),
            };
            self.learn(message);
            if self.over.load(Ordering::Relaxed) {
                return None;
            }
        }
    }

    fn learn(&mut self, message: WatchItemsResponse) {
        for change in message.changes {
            let Some(item_change::Change::Item(item)) = change.change else {
                panic!("no item is ever delisted: {change:?}");
            };
            assert_eq!(item.store_id, self.store);
            let before = self.versions.insert(item.item_id.clone(), item.version).unwrap_or(0);
            assert!(item.version > before, "told of {} after {before}", item.version);
        }
        self.resume_token = message.resume_token;
        let freshness = message.freshness.expect("freshness");
        if freshness.token.is_empty() {
            // More of the same state follows.
            return;
        }
        self.token = raised(&self.token, &freshness);
        let token = Token::decode(&self.token).expect("a token");
        self.steps.push((token, self.versions.clone()));
    }
}

/// The acknowledged sales of one item.
struct Sold {
    item: String,
    partition: Partition,
    /// Position and version of each, in their order.
    sales: Vec<(u64, u64)>,
}

fn sold_in(world: &World, store: &str) -> Vec<Sold> {
    let key = PartitionKey(store.parse().expect("an id"));
    let partition = key.partition(world.cluster.plan().partitions);
    let mut sold: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let all = world.ledger.acknowledged();
    for one in all.iter().filter(|one| one.sale.item.store_id == store) {
        let token = Token::decode(&one.receipt.token).expect("a token");
        let sales = sold.entry(one.sale.item.item_id.clone()).or_default();
        sales.push((token.position(partition).0, one.receipt.version));
    }
    sold.values_mut().for_each(|sales| sales.sort_unstable());
    sold.into_iter().map(|(item, sales)| Sold { item, partition, sales }).collect()
}

impl Watcher {
    /// Fails if a token proved more than had been told with it.
    fn assert_nothing_lost(&self, world: &World) {
        let (begun, _) = &self.steps[0];
        for Sold { item, partition, sales } in sold_in(world, &self.store) {
            let mut told = 0;
            for (token, known) in &self.steps {
                let covered = token.position(partition);
                let count = sales.partition_point(|(position, _)| *position <= covered.0);
                let Some((position, version)) = sales[..count].last() else { continue };
                // Until it changes, a watched list does not tell of an item.
                if *position > begun.position(partition).0 {
                    let known = known.get(&item).copied().unwrap_or(0);
                    assert!(known >= *version, "lost: {item} at {version}, knew {known}");
                    told += 1;
                }
            }
            assert!(told > 0, "nothing was told of {item}");
        }
    }
}

/// Everything on the way of a stream is killed or hangs, one after the other: a replica, the other
/// replica, the projector, the query server, the router. Watchers resume with the last token that
/// they were given. Each token proved what had been told with it, and nothing was told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_survive_what_carries_them() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(LOST);
            let over = Arc::new(AtomicBool::new(false));
            let watchers: Vec<_> = (0..WATCHERS).map(|n| Watcher::start(world, n, &over)).collect();
            let load = Load::start(world, 8);
            load.more(50).await;
            for victim in ["replica-1", "projector", "query-svc", "router"] {
                world.kill(victim).await;
                // Without a router nobody sells.
                if victim != "router" {
                    load.more(50).await;
                }
                world.start_again(victim).await;
                load.more(50).await;
            }
            world.cluster.pause("replica-2").await;
            load.more(50).await;
            world.cluster.resume("replica-2").await;
            load.more(50).await;
            load.stop().await;
            let last = world.sell().await.token;
            eventually(SOON, || world.read(at_least(&last))).await;
            over.store(true, Ordering::Relaxed);

            let mut ends = BTreeMap::new();
            for watcher in watchers {
                let watcher = watcher.await.expect("a watcher failed");
                watcher.assert_nothing_lost(world);
                for (reason, count) in watcher.ends {
                    *ends.entry(reason).or_insert(0) += count;
                }
            }
            assert!(!ends.is_empty(), "no stream was ever cut");
        })
        .await;
}

const CROWD: usize = 2_000;
/// Of one connection.
const STREAMS: usize = 500;

/// Two thousand clients watch the same items. Each change reaches them all, and costs the read
/// database no more than a few statements: one reader reads for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_watch_for_the_price_of_one() {
    STAGE
        .play(async |world| {
            let first = world.sell().await;
            let mut crowd: Vec<Streaming<WatchItemResponse>> = Vec::with_capacity(CROWD);
            let mut channel = world.router();
            let item = &world.shop.items[0].item_id;
            for number in 0..CROWD {
                if number % STREAMS == 0 {
                    channel = world.router();
                }
                let request = WatchItemRequest {
                    item_id: item.clone(),
                    options: None,
                    consistency: at_least(&first.token),
                };
                let mut client = StockQueryServiceClient::new(channel.clone());
                let mut stream = client.watch_item(request).await.expect("it opens").into_inner();
                next_change(&mut stream, first.version).await;
                crowd.push(stream);
            }
            let reads = async || world.metric("query-svc", "headwater_reads_total", &[]).await;
            let watching = world.metric("query-svc", "headwater_watchers", &[("view", "item")]);
            assert!(watching.await.expect("metrics") >= CROWD as f64);
            let (before, begun) = (reads().await.expect("metrics"), Instant::now());
            let second = world.sell().await;
            for stream in &mut crowd {
                let token = next_change(stream, second.version).await;
                assert!(covers(&token, &second.token));
            }
            let (after, took) = (reads().await.expect("metrics"), begun.elapsed());
            // A look every 5 ms at most, and the sales' own reads.
            let looks = 20.0 + took.as_secs_f64() * 200.0;
            assert!(after - before <= looks, "{} reads in {took:?}", after - before);
            drop(crowd);
            let gone = |watchers: f64| watchers == 0.0;
            let watchers = ("headwater_watchers", &[("view", "item")][..]);
            world.until_metric("query-svc", watchers, gone).await;
        })
        .await;
}

/// The next state that is told, which must be this one; its token.
async fn next_change(stream: &mut Streaming<WatchItemResponse>, version: u64) -> String {
    loop {
        let message = timeout(PATIENCE, stream.message()).await.expect("in time");
        let message = message.expect("no error").expect("no end");
        // Now and then only time has passed.
        let Some(change) = message.changes.into_iter().next() else { continue };
        let Some(item_change::Change::Item(item)) = change.change else { panic!("{change:?}") };
        assert_eq!(item.version, version);
        return message.freshness.expect("freshness").token;
    }
}
