//! The load of every scenario: clients that write, that read what they wrote, that take what there
//! is, and one that watches. Each says how much it did, what it saw that was too old, and for how
//! long it had no answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    GetItemRequest, StockItem, WatchItemsRequest, WatchItemsResponse, item_change,
};
use headwater_proto::headwater::v1::{Consistency, Freshness, WatchOptions};
use headwater_tests::harness::eventually;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::super::stories::ledger::Ledger;
use super::super::stories::shop::Item;
use super::super::stories::talk::{any, at_least, covers, passes, reason, retry_after, within};
use super::super::stories::world::{SOON, World};

/// Clients that write, each with another that reads what it wrote.
const WRITERS: usize = 4;
/// Clients leave most of the machine to the programs.
const WRITE_EVERY: Duration = Duration::from_millis(20);
const READ_EVERY: Duration = Duration::from_millis(20);
/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A command that is not acknowledged by then never will be.
const COMMAND_MAX: Duration = Duration::from_secs(180);
/// What a client waits for before it tries again, if it was not told.
const PAUSE: Duration = Duration::from_millis(50);
/// A watch is told something every 5 s; one that is silent for this long is opened anew.
const SILENT_MAX: Duration = Duration::from_secs(8);

/// For how long clients of one kind were without an answer: from the first attempt that failed to
/// the end of the next one that did not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    pub longest: Duration,
}

impl Outage {
    fn failed(&mut self, begun: Instant) {
        self.since.get_or_insert(begun);
    }

    fn answered(&mut self, begun: Instant) {
        let since = self.since.take().unwrap_or(begun);
        self.longest = self.longest.max(since.elapsed());
    }
}

/// What clients did and saw.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Commands, queries, and messages of the watch.
    pub operations: u64,
    pub acknowledged: u64,
    /// Answers that were older than asked for, and steps back of the watch.
    pub stale: Vec<String>,
    pub writes: Outage,
    /// Reads of what was written before.
    pub own: Outage,
    /// Reads of whatever there is.
    pub any: Outage,
    /// Why attempts failed.
    pub reasons: BTreeMap<String, u64>,
}

/// What one writer wrote last: an item, its version then, and the token.
type Written = Arc<Mutex<Option<(Item, u64, String)>>>;
/// The version of each item that was watched.
type Watched = Arc<Mutex<BTreeMap<String, u64>>>;

/// A load that goes on until it is stopped.
pub struct Load {
    over: Arc<AtomicBool>,
    /// For the watch, which may be told nothing for 5 s.
    ended: Arc<Notify>,
    clients: Vec<JoinHandle<Counts>>,
    watched: Watched,
}

struct Client {
    number: usize,
    channel: Channel,
    ledger: Arc<Ledger>,
    items: Vec<Item>,
    over: Arc<AtomicBool>,
    ended: Arc<Notify>,
    counts: Counts,
}

impl Load {
    pub fn start(world: &World) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::new(Notify::new());
        let channels = [world.router(), world.router()];
        let client = |number: usize| Client {
            number,
            channel: channels[number % channels.len()].clone(),
            ledger: Arc::clone(&world.ledger),
            items: world.shop.items.clone(),
            over: Arc::clone(&over),
            ended: Arc::clone(&ended),
            counts: Counts::default(),
        };
        let watched = Watched::default();
        let mut clients = Vec::new();
        for number in 0..WRITERS {
            let written = Written::default();
            clients.push(tokio::spawn(client(number).write(Arc::clone(&written))));
            clients.push(tokio::spawn(client(number).read_own(written)));
        }
        clients.push(tokio::spawn(client(WRITERS).read_any()));
        let store = world.shop.items[0].store_id.clone();
        clients.push(tokio::spawn(client(WRITERS + 1).watch(store, Arc::clone(&watched))));
        Load { over, ended, clients, watched }
    }

    /// Waits until the watch tells of a sale that is made now, and nobody has given up.
    pub async fn until_told(&self, world: &World) {
        let sale = world.new_sale();
        let receipt = eventually(SOON, || world.send(&sale)).await;
        let item = &world.shop.items[0].item_id;
        eventually(SOON, || async {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client gave up");
            let told = locked(&self.watched).get(item).copied().unwrap_or_default();
            if told >= receipt.version { Ok(()) } else { Err(format!("told of version {told}")) }
        })
        .await;
    }

    /// Lets every client finish what it is at.
    pub async fn stop(self) -> Counts {
        self.over.store(true, Ordering::Relaxed);
        self.ended.notify_one();
        let mut all = Counts::default();
        for client in self.clients {
            all.add(client.await.expect("a client failed"));
        }
        all
    }
}

impl Client {
    /// Sells, each sale with one key until it is acknowledged.
    async fn write(mut self, written: Written) -> Counts {
        let mut token = String::new();
        let mut next = self.number;
        let mut pace = paced(WRITE_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let item = self.items[next % self.items.len()].clone();
            next += 1;
            let sale = self.ledger.new_sale(&item);
            let first = Instant::now();
            let receipt = loop {
                let mut client = StockCommandServiceClient::new(self.channel.clone());
                let begun = Instant::now();
                self.counts.operations += 1;
                match client.record_sale(within(PATIENCE, sale.request(&token))).await {
                    Ok(reply) => {
                        self.counts.writes.answered(begun);
                        break reply.into_inner().receipt.expect("a receipt");
                    }
                    Err(status) => {
                        self.counts.writes.failed(begun);
                        assert!(first.elapsed() < COMMAND_MAX, "never answered: {status:?}");
                        self.failed("command", &status).await;
                    }
                }
            };
            self.counts.acknowledged += 1;
            token.clone_from(&receipt.token);
            *locked(&written) = Some((item, receipt.version, token.clone()));
            self.ledger.acknowledge(sale, receipt);
        }
        self.counts
    }

    /// Reads what a writer wrote last, which it must find.
    async fn read_own(mut self, written: Written) -> Counts {
        let mut pace = paced(READ_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let Some((item, version, token)) = locked(&written).clone() else { continue };
            let begun = Instant::now();
            match self.item(&item, at_least(&token)).await {
                Ok((found, shown)) => {
                    self.counts.own.answered(begun);
                    if found.version < version || !covers(&shown.token, &token) {
                        let saw = found.version;
                        self.counts.stale.push(format!("version {saw}, after {version} was told"));
                    }
                }
                Err(status) => {
                    self.counts.own.failed(begun);
                    self.failed("read", &status).await;
                }
            }
        }
        self.counts
    }

    /// Takes whatever there is.
    async fn read_any(mut self) -> Counts {
        let mut pace = paced(READ_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let item = self.items[rand::random_range(0..self.items.len())].clone();
            let begun = Instant::now();
            match self.item(&item, any()).await {
                Ok(_) => self.counts.any.answered(begun),
                Err(status) => {
                    self.counts.any.failed(begun);
                    self.failed("any", &status).await;
                }
            }
        }
        self.counts
    }

    async fn item(
        &mut self,
        item: &Item,
        consistency: Option<Consistency>,
    ) -> Result<(StockItem, Freshness), Status> {
        self.counts.operations += 1;
        let mut client = StockQueryServiceClient::new(self.channel.clone());
        let request = GetItemRequest { item_id: item.item_id.clone(), consistency };
        let reply = client.get_item(within(PATIENCE, request)).await?.into_inner();
        Ok((reply.item.expect("an item"), reply.freshness.expect("freshness")))
    }

    /// Watches the items of a store, and resumes whenever the stream ends.
    async fn watch(mut self, store_id: String, watched: Watched) -> Counts {
        let mut known = Known { watched, token: String::new(), resume_after: String::new() };
        while !self.is_over() {
            let request = WatchItemsRequest {
                store_id: store_id.clone(),
                options: Some(WatchOptions { resume_after: known.resume_after.clone() }),
                consistency: None,
            };
            let mut client = StockQueryServiceClient::new(self.channel.clone());
            let opened = timeout(PATIENCE, client.watch_items(request)).await;
            let status = match opened {
                Ok(Ok(stream)) => self.follow(stream.into_inner(), &mut known).await,
                Ok(Err(status)) => Some(status),
                Err(_) => Some(Status::unavailable("it does not open")),
            };
            if let Some(status) = status {
                self.failed("watch", &status).await;
            }
        }
        self.counts
    }

    /// Until the stream ends, or is not wanted any more.
    async fn follow(
        &mut self,
        mut stream: Streaming<WatchItemsResponse>,
        known: &mut Known,
    ) -> Option<Status> {
        while !self.is_over() {
            let message = tokio::select! {
                message = timeout(SILENT_MAX, stream.message()) => message,
                () = self.ended.notified() => return None,
            };
            let message = match message {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => panic!("a watch ended without a word"),
                Ok(Err(status)) => return Some(status),
                Err(_) => return Some(Status::unavailable("it has fallen silent")),
            };
            self.counts.operations += 1;
            self.counts.stale.extend(known.learn(message));
        }
        None
    }

    /// Counts a failure, which a fault must explain, and waits as long as it asks for.
    async fn failed(&mut self, what: &str, status: &Status) {
        assert!(passes(status), "{what}: refused for good: {status:?}");
        *self.counts.reasons.entry(format!("{what}: {}", reason(status))).or_default() += 1;
        // tidy: allow sleep: the delay that the answer asks for
        tokio::time::sleep(retry_after(status).unwrap_or(PAUSE)).await;
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What the client that watches was told.
struct Known {
    watched: Watched,
    token: String,
    resume_after: String,
}

impl Known {
    /// Takes a message in; gives what in it is a step back.
    fn learn(&mut self, message: WatchItemsResponse) -> Vec<String> {
        let mut stale = Vec::new();
        for change in message.changes {
            let Some(item_change::Change::Item(item)) = change.change else {
                panic!("no item is ever delisted: {change:?}");
            };
            let before = locked(&self.watched).insert(item.item_id, item.version).unwrap_or(0);
            if item.version <= before {
                stale.push(format!("watch: told of version {} after {before}", item.version));
            }
        }
        self.resume_after = message.resume_token;
        let token = message.freshness.expect("freshness").token;
        if !token.is_empty() {
            if !covers(&token, &self.token) {
                stale.push("watch: a state that is older than the one before".to_owned());
            }
            self.token = token;
        }
        stale
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.stale.extend(other.stale);
        for (all, one) in [
            (&mut self.writes, other.writes),
            (&mut self.own, other.own),
            (&mut self.any, other.any),
        ] {
            // One that never ended lasts until now.
            let open = one.since.map(|since| since.elapsed()).unwrap_or_default();
            all.longest = all.longest.max(one.longest).max(open);
        }
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

fn paced(every: Duration) -> tokio::time::Interval {
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}
