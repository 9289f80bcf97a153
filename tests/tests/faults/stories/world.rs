//! A cluster with a shop in it, and what every story does to it and asks of it.

use std::sync::Arc;
use std::time::Duration;

use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::{GetItemRequest, GetItemResponse};
use headwater_proto::headwater::v1::Consistency;
use headwater_proto::headwater::v1::{Acknowledgement, Receipt};
use headwater_tests::harness::{Cluster, Options, eventually};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::transport::Channel;

use crate::machine::{self, Share};

use super::audit::audit;
use super::ledger::{Ledger, Sale};
use super::shop::Shop;
use super::talk::within;

/// What comes back by itself does so sooner; this allows for a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
/// How long a client waits for a command, or a query.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the drivers log of anything that takes seconds: what was paused does, and so does
/// everything on a busy machine.
const SLOW: &[&str] = &[r#""message":"slow statement:"#, r#""target":"sqlx::pool::acquire""#];

pub struct World {
    pub cluster: Cluster,
    pub shop: Shop,
    pub ledger: Arc<Ledger>,
    /// None between two stories of a stage.
    machine: Option<Share>,
}

/// A place for stories: they follow each other on one cluster, and find a new one if the story
/// before them failed.
pub struct Stage {
    world: Mutex<Option<World>>,
    options: fn() -> Options,
}

impl Stage {
    pub const fn new(options: fn() -> Options) -> Stage {
        Stage { world: Mutex::const_new(None), options }
    }

    /// Plays a story, and checks what must hold after it.
    pub async fn play(&self, story: impl AsyncFnOnce(&World)) {
        let mut place = self.world.lock().await;
        let mut world = match place.take() {
            Some(world) => World { machine: Some(machine::share().await), ..world },
            None => World::start((self.options)()).await,
        };
        story(&world).await;
        audit(&world).await;
        world.cluster.assert_quiet();
        world.machine = None;
        *place = Some(world);
    }
}

impl World {
    pub async fn start(options: Options) -> World {
        let machine = Some(machine::share().await);
        let cluster = Cluster::start(options).await.expect("a cluster");
        cluster.expect_logs(SLOW);
        let shop = Shop::open(cluster.router()).await;
        let world = World { cluster, shop, ledger: Arc::default(), machine };
        // Or a query that takes whatever there is finds an item missing.
        for node in world.read_nodes() {
            eventually(SOON, || world.node_shows_the_shop(&node)).await;
        }
        world
    }

    pub fn router(&self) -> Channel {
        self.cluster.router()
    }

    pub async fn kill(&self, name: &str) {
        self.cluster.kill(name).await;
    }

    pub async fn start_again(&self, name: &str) {
        self.cluster.start_again(name).await.expect("it starts again");
    }

    /// A sale of the first item, made up and not sent.
    pub fn new_sale(&self) -> Sale {
        self.ledger.new_sale(&self.shop.items[0])
    }

    /// Sends a sale once.
    pub async fn send(&self, sale: &Sale) -> Result<Receipt, Status> {
        self.send_within(PATIENCE, sale).await
    }

    /// Sends a sale once, and does not wait for long.
    pub async fn send_within(&self, patience: Duration, sale: &Sale) -> Result<Receipt, Status> {
        let mut client = StockCommandServiceClient::new(self.router());
        let reply = client.record_sale(within(patience, sale.request(""))).await?;
        let receipt = reply.into_inner().receipt.expect("a receipt");
        self.ledger.acknowledge(sale.clone(), receipt.clone());
        Ok(receipt)
    }

    /// Sends a sale again that is acknowledged already.
    pub async fn send_again(&self, sale: &Sale) -> Result<Receipt, Status> {
        let mut client = StockCommandServiceClient::new(self.router());
        let reply = client.record_sale(within(PATIENCE, sale.request(""))).await?;
        Ok(reply.into_inner().receipt.expect("a receipt"))
    }

    /// Makes a sale that the audit need not find, because it will be lost on purpose.
    pub async fn send_unrecorded(&self) -> Result<Receipt, Status> {
        let mut client = StockCommandServiceClient::new(self.router());
        let reply = client.record_sale(within(PATIENCE, self.new_sale().request(""))).await?;
        Ok(reply.into_inner().receipt.expect("a receipt"))
    }

    /// Sends a sale that is answered when it has come so far.
    pub async fn send_and_wait(
        &self,
        sale: &Sale,
        wish: Acknowledgement,
    ) -> Result<Receipt, Status> {
        let mut client = StockCommandServiceClient::new(self.router());
        let mut request = sale.request("");
        if let Some(options) = &mut request.options {
            options.acknowledgement = Some(wish);
        }
        let reply = client.record_sale(within(PATIENCE, request)).await?;
        let receipt = reply.into_inner().receipt.expect("a receipt");
        if !receipt.replayed {
            self.ledger.acknowledge(sale.clone(), receipt.clone());
        }
        Ok(receipt)
    }

    /// Makes a sale where nothing is in its way.
    pub async fn sell(&self) -> Receipt {
        self.send(&self.new_sale()).await.expect("sold")
    }

    /// The first item.
    pub async fn read(&self, consistency: Option<Consistency>) -> Result<GetItemResponse, Status> {
        let mut client = StockQueryServiceClient::new(self.router());
        let item_id = self.shop.items[0].item_id.clone();
        let request = GetItemRequest { item_id, consistency };
        Ok(client.get_item(within(PATIENCE, request)).await?.into_inner())
    }

    /// Whether a program says that it is ready.
    pub async fn is_ready(&self, program: &str) -> anyhow::Result<()> {
        let answer = self.cluster.admin(program, "/readyz").await?;
        anyhow::ensure!(answer.status == 200, "{program}: {}", answer.body);
        Ok(())
    }

    /// Whether it answers that it is not.
    pub async fn is_unready(&self, program: &str) -> anyhow::Result<()> {
        let answer = self.cluster.admin(program, "/readyz").await?;
        anyhow::ensure!(answer.status == 503, "{program} is ready");
        Ok(())
    }

    /// The sum of a metric's samples that have these labels.
    pub async fn metric(
        &self,
        program: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> anyhow::Result<f64> {
        let page = self.cluster.admin(program, "/metrics").await?.body;
        let wanted = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            let is_it = rest.starts_with('{') || rest.starts_with(' ');
            let has =
                |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
            is_it && labels.iter().all(has)
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(page.lines().filter(wanted).filter_map(value).sum())
    }

    /// The same, once it is as the condition says.
    pub async fn until_metric(
        &self,
        program: &str,
        (name, labels): (&str, &[(&str, &str)]),
        holds: impl Fn(f64) -> bool,
    ) -> f64 {
        eventually(SOON, || async {
            let value = self.metric(program, name, labels).await?;
            anyhow::ensure!(holds(value), "{program}: {name} {labels:?} is {value}");
            anyhow::Ok(value)
        })
        .await
    }

    /// The nodes that hold views, primary first.
    pub fn read_nodes(&self) -> Vec<String> {
        let nodes = self.cluster.plan().nodes.iter();
        let nodes = nodes.filter(|node| node.role.shows_views());
        nodes.map(|node| node.name.clone()).collect()
    }

    /// What query-svc calls a node.
    pub fn address(&self, node: &str) -> String {
        self.cluster.plan().node(node).expect("a node").address().to_string()
    }

    async fn node_shows_the_shop(&self, node: &str) -> anyhow::Result<()> {
        let client = self.superuser(node).await?;
        let sql = "SELECT count(*) FROM headwater_read.item WHERE on_hand > 0";
        let count: i64 = client.query_one(sql, &[]).await?.get(0);
        let items = self.shop.items.len() as i64;
        anyhow::ensure!(count == items, "{node} shows {count} of {items} items");
        Ok(())
    }

    pub async fn superuser(&self, node: &str) -> anyhow::Result<tokio_postgres::Client> {
        headwater_cli::local::connect(&self.cluster.superuser_url(node)).await
    }
}
