//! Clients: sellers, who send each sale with one idempotency key until it is answered and then read
//! what they wrote, and readers. All of them carry their token, and none of them ever sees anything
//! older than what it saw or wrote before; one who does panics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    GetItemRequest, GetItemResponse, GetStoreOverviewRequest, GetStoreOverviewResponse,
};
use headwater_proto::headwater::v1::{Consistency, Receipt};
use headwater_tests::harness::eventually;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::ledger::{Ledger, Sale};
use super::shop::Item;
use super::talk::{any, at_least, passes, raised, reason, retry_after, within};
use super::world::{PATIENCE, SOON, World};

/// A sale that is not answered by then never will be.
const SALE_MAX: Duration = Duration::from_secs(60);
/// What a client waits for before it tries again, if it was not told.
const PAUSE: Duration = Duration::from_millis(50);
/// Readers do not take the machine for themselves.
const READ_EVERY: Duration = Duration::from_millis(5);

/// How often each reason was given.
pub type Tally = BTreeMap<String, u64>;

/// How the queries of one kind ended.
#[derive(Debug, Default)]
pub struct Reads {
    pub answered: u64,
    pub failed: Tally,
    pub slowest: Duration,
}

/// What clients went through.
#[derive(Debug, Default)]
pub struct Findings {
    pub sales: u64,
    /// Why sales had to be sent again.
    pub retries: Tally,
    /// How many were answered with the receipt of an earlier attempt.
    pub replayed: u64,
    /// By sellers, of their own writes.
    pub own: Reads,
    /// With consistency `any`.
    pub any: Reads,
    /// With the token of the reply before.
    pub fresh: Reads,
}

/// A load that goes on until it is stopped.
pub struct Load {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Findings>>,
    ledger: Arc<Ledger>,
}

struct Client {
    number: usize,
    channel: Channel,
    ledger: Arc<Ledger>,
    items: Vec<Item>,
    over: Arc<AtomicBool>,
    token: String,
    /// The newest version seen of each item.
    versions: HashMap<String, u64>,
    /// The most units seen as sold of each store.
    units: HashMap<String, i64>,
    findings: Findings,
}

impl Load {
    /// Many sellers and two readers of each kind, over a few connections to the router.
    pub fn start(world: &World, sellers: usize) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let channels: Vec<Channel> = (0..4).map(|_| world.router()).collect();
        let client = |number: usize| Client {
            number,
            channel: channels[number % channels.len()].clone(),
            ledger: Arc::clone(&world.ledger),
            items: world.shop.items.clone(),
            over: Arc::clone(&over),
            token: String::new(),
            versions: HashMap::new(),
            units: HashMap::new(),
            findings: Findings::default(),
        };
        let mut clients: Vec<_> =
            (0..sellers).map(|number| tokio::spawn(client(number).sell())).collect();
        for number in 0..2 {
            clients.push(tokio::spawn(client(number).read_anything()));
            clients.push(tokio::spawn(client(number).read_onward()));
        }
        Load { over, clients, ledger: Arc::clone(&world.ledger) }
    }

    /// Waits until this many more sales have been acknowledged.
    pub async fn more(&self, sales: usize) {
        let enough = self.ledger.count() + sales;
        eventually(SOON, || async {
            let failed = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client gave up");
            let count = self.ledger.count();
            if count >= enough { Ok(()) } else { Err(format!("{count} sales, not {enough}")) }
        })
        .await;
    }

    /// Lets every client finish what it is at.
    pub async fn stop(self) -> Findings {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Findings::default();
        for client in self.clients {
            all.add(client.await.expect("a client failed"));
        }
        all
    }
}

impl Client {
    async fn sell(mut self) -> Findings {
        let mut next = self.number;
        while !self.is_over() {
            let item = self.items[next % self.items.len()].clone();
            next += 1;
            let sale = self.ledger.new_sale(&item);
            let receipt = self.until_answered(&sale).await;
            self.findings.sales += 1;
            self.findings.replayed += u64::from(receipt.replayed);
            self.token = receipt.token.clone();
            let seen = self.versions.entry(item.item_id.clone()).or_default();
            // A repeated sale is answered with the version it had then.
            *seen = receipt.version.max(*seen);
            self.ledger.acknowledge(sale, receipt);
            self.read_own(&item).await;
        }
        self.findings
    }

    /// Sends it until it is answered, as a client should.
    async fn until_answered(&mut self, sale: &Sale) -> Receipt {
        let begun = Instant::now();
        let mut client = StockCommandServiceClient::new(self.channel.clone());
        loop {
            let request = within(PATIENCE, sale.request(&self.token));
            match client.record_sale(request).await {
                Ok(reply) => return reply.into_inner().receipt.expect("a receipt"),
                Err(status) => {
                    assert!(passes(&status), "a sale was refused: {status:?}");
                    assert!(begun.elapsed() < SALE_MAX, "a sale is never answered: {status:?}");
                    *self.findings.retries.entry(reason(&status)).or_default() += 1;
                    let pause = retry_after(&status).unwrap_or(PAUSE);
                    // tidy: allow sleep: the delay that the answer asks for
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn read_own(&mut self, item: &Item) {
        let begun = Instant::now();
        let found = self.item(item, at_least(&self.token)).await;
        self.findings.own.note(begun, &found);
        let Ok(found) = found else { return };
        self.token = raised(&self.token, &found.freshness.expect("freshness"));
        let version = found.item.expect("an item").version;
        let seen = self.versions.entry(item.item_id.clone()).or_default();
        assert!(version >= *seen, "version {version} of an item, after {seen}");
        *seen = version;
    }

    async fn read_anything(mut self) -> Findings {
        let mut pace = tokio::time::interval(READ_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let item = self.items[rand::random_range(0..self.items.len())].clone();
            let begun = Instant::now();
            let found = self.item(&item, any()).await;
            self.findings.any.note(begun, &found);
        }
        self.findings
    }

    async fn read_onward(mut self) -> Findings {
        let mut pace = tokio::time::interval(READ_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let store_id = self.items[rand::random_range(0..self.items.len())].store_id.clone();
            let begun = Instant::now();
            let consistency = if self.token.is_empty() { any() } else { at_least(&self.token) };
            let found = self.overview(&store_id, consistency).await;
            self.findings.fresh.note(begun, &found);
            let Ok(found) = found else { continue };
            self.token = raised(&self.token, &found.freshness.expect("freshness"));
            let units = found.overview.expect("an overview").units_sold;
            let seen = self.units.entry(store_id).or_default();
            assert!(units >= *seen, "{units} units sold, after {seen}");
            *seen = units;
        }
        self.findings
    }

    async fn item(
        &self,
        item: &Item,
        consistency: Option<Consistency>,
    ) -> Result<GetItemResponse, Status> {
        let mut client = StockQueryServiceClient::new(self.channel.clone());
        let request = GetItemRequest { item_id: item.item_id.clone(), consistency };
        Ok(client.get_item(within(PATIENCE, request)).await?.into_inner())
    }

    async fn overview(
        &self,
        store_id: &str,
        consistency: Option<Consistency>,
    ) -> Result<GetStoreOverviewResponse, Status> {
        let mut client = StoreQueryServiceClient::new(self.channel.clone());
        let request = GetStoreOverviewRequest { store_id: store_id.to_owned(), consistency };
        Ok(client.get_store_overview(within(PATIENCE, request)).await?.into_inner())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Reads {
    fn note<T>(&mut self, begun: Instant, outcome: &Result<T, Status>) {
        self.slowest = self.slowest.max(begun.elapsed());
        match outcome {
            Ok(_) => self.answered += 1,
            Err(status) => {
                let honest = passes(status) && status.code() != Code::Aborted;
                assert!(honest, "a query was refused: {status:?}");
                *self.failed.entry(reason(status)).or_default() += 1;
            }
        }
    }

    /// Fails if queries failed for other reasons than these.
    pub fn assert_failed_only_for(&self, reasons: &[&str]) {
        let others = self.failed.keys().any(|reason| !reasons.contains(&reason.as_str()));
        assert!(!others, "queries failed for other reasons than {reasons:?}: {self:?}");
    }

    fn assert_answered(&self, kind: &str) {
        assert!(self.failed.is_empty(), "queries ({kind}) failed: {self:?}");
        assert!(self.answered > 0, "no queries ({kind}) were made");
    }

    fn add(&mut self, other: Reads) {
        self.answered += other.answered;
        self.slowest = self.slowest.max(other.slowest);
        add(&mut self.failed, other.failed);
    }
}

impl Findings {
    fn add(&mut self, other: Findings) {
        self.sales += other.sales;
        self.replayed += other.replayed;
        add(&mut self.retries, other.retries);
        self.own.add(other.own);
        self.any.add(other.any);
        self.fresh.add(other.fresh);
    }

    /// Fails unless sales were repeated only for these reasons.
    pub fn assert_retried_for(&self, reasons: &[&str]) {
        let others: Vec<_> =
            self.retries.iter().filter(|(reason, _)| !reasons.contains(&reason.as_str())).collect();
        assert!(
            others.is_empty(),
            "sales were refused for other reasons than {reasons:?}: {others:?}"
        );
    }

    /// Fails if any query failed.
    pub fn assert_every_query_answered(&self) {
        self.own.assert_answered("own");
        self.assert_readers_answered();
    }

    /// Fails if a query failed that was not one of a seller's for its own write.
    pub fn assert_readers_answered(&self) {
        self.any.assert_answered("any");
        self.fresh.assert_answered("fresh");
    }
}

fn add(all: &mut Tally, more: Tally) {
    for (reason, count) in more {
        *all.entry(reason).or_default() += count;
    }
}
