//! The first two measures, over gRPC by 64 clients, in paired rounds. `make bench`; see
//! BENCHMARKS.md.
//!
//! (a) Commands straight to command-svc, with expected version, idempotency key and receipt,
//! projector and two replicas on, against pgbench's single-row inserts into the same kind of table
//! on the same Postgres. (b) Point reads with `at_least(token)` through the router and straight to
//! query-svc, against an echo (the health check) on the same stack.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_cli::local::Size;
use headwater_tests::bench::cpu::{Watched, spent};
use headwater_tests::bench::load::{Round, repeat, run};
use headwater_tests::bench::pgbench;
use headwater_tests::bench::report::{Sample, ratios, table};
use headwater_tests::bench::retail::{self, Answered, Item};
use headwater_tests::harness::{Cluster, Options, eventually};
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const CLIENTS: usize = 64;
const CONNECTIONS: usize = 4;

struct Bench {
    cluster: Cluster,
    watched: Watched,
    rounds: usize,
    time: Duration,
    samples: Vec<Sample>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    let (rounds, time) = if has("--quick") { (1, 2) } else { (5, 5) };
    let size = Size { is_disposable: true, ..Size::LAPTOP };
    let options = Options { on_disk: true, size, ..Options::default() };
    let cluster = Cluster::start(options).await?;
    let watched = watched(&cluster).await;
    let time = Duration::from_secs(time);
    let mut bench = Bench { cluster, watched, rounds, time, samples: Vec::new() };
    if !has("--reads") {
        bench.commands().await?;
    }
    if !has("--commands") {
        bench.reads().await?;
    }
    print!("{}", table(&bench.samples));
    print!("{}", ratios(&bench.samples, "commands", "pgbench"));
    print!("{}", ratios(&bench.samples, "reads direct", "echo"));
    print!("{}", ratios(&bench.samples, "reads via router", "echo"));
    Ok(())
}

async fn watched(cluster: &Cluster) -> Watched {
    let names = [
        "command-svc",
        "projector",
        "query-svc",
        "router",
        "write",
        "read",
        "replica-1",
        "replica-2",
    ];
    let mut all = vec![("clients".to_owned(), std::process::id())];
    for name in names {
        all.push((name.to_owned(), cluster.pid(name).await));
    }
    Watched(all)
}

impl Bench {
    async fn commands(&mut self) -> anyhow::Result<()> {
        let channels = self.channels("command-svc").await?;
        let (items, _) = retail::set_up(channels[0].clone(), CLIENTS).await;
        let items: Vec<Mutex<Vec<Item>>> = items.into_iter().map(Mutex::new).collect();
        let items = Arc::new(items);
        let url = self.cluster.owner_url(self.cluster.log_node());
        let owner = self.cluster.superuser_url(self.cluster.log_node());
        execute(&owner, pgbench::TABLE).await?;
        execute(&owner, "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC").await?;
        for _ in 0..self.rounds {
            let before = self.watched.read();
            let bin = self.cluster.plan().host.installation.bin.clone();
            let rate = pgbench::run(&bin, &url, CLIENTS, self.time).await?;
            self.add("pgbench", rate, None, rate * self.time.as_secs_f64(), &before);
            let before = self.watched.read();
            let round = run(CLIENTS, self.time, |client, over| {
                let channel = channels[client % CONNECTIONS].clone();
                let items = Arc::clone(&items);
                async move {
                    let mut mine = items[client].lock().await;
                    let taken = std::mem::take(&mut *mine);
                    let (latencies, back) = retail::sell(channel, taken, over).await;
                    *mine = back;
                    latencies
                }
            })
            .await;
            self.add_round("commands", round, &before);
            let lag = self.lag().await;
            println!("lag of the views when the clients stopped: {lag} events");
            self.settle().await;
        }
        Ok(())
    }

    async fn reads(&mut self) -> anyhow::Result<()> {
        let direct = self.channels("query-svc").await?;
        let routed = self.channels("router").await?;
        let setting_up = self.channels("command-svc").await?;
        let (items, token) = retail::set_up(setting_up[0].clone(), CLIENTS).await;
        let ids = Arc::new(retail::ids(&items));
        self.settle().await;
        let answered = Arc::new(Answered::default());
        for _ in 0..self.rounds {
            for (name, channels) in [("reads direct", &direct), ("reads via router", &routed)] {
                let before = self.watched.read();
                let round = run(CLIENTS, self.time, |client, over| {
                    let channel = channels[client % CONNECTIONS].clone();
                    retail::read(channel, ids.clone(), token.clone(), answered.clone(), over)
                })
                .await;
                self.add_round(name, round, &before);
            }
            let before = self.watched.read();
            let round = run(CLIENTS, self.time, |client, over| {
                let health = HealthClient::new(direct[client % CONNECTIONS].clone());
                repeat(over, move || {
                    let mut health = health.clone();
                    async move {
                        let check = health.check(HealthCheckRequest::default());
                        check.await.expect("an answer");
                    }
                })
            })
            .await;
            self.add_round("echo", round, &before);
        }
        let replica = answered.by_replica.load(Ordering::Relaxed);
        println!(
            "reads answered by replicas: {replica} of {}",
            answered.all.load(Ordering::Relaxed)
        );
        Ok(())
    }

    async fn channels(&self, program: &str) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let uri = format!("http://{}", self.cluster.grpc(program));
            channels.push(Endpoint::from_shared(uri)?.tcp_nodelay(true).connect().await?);
        }
        Ok(channels)
    }

    fn add_round(
        &mut self,
        name: &'static str,
        round: Round,
        before: &headwater_tests::bench::cpu::Times,
    ) {
        let (rate, done) = (round.rate(), round.done as f64);
        self.add(name, rate, Some(round), done, before);
    }

    fn add(
        &mut self,
        name: &'static str,
        rate: f64,
        round: Option<Round>,
        operations: f64,
        before: &headwater_tests::bench::cpu::Times,
    ) {
        let cpu = spent(before, &self.watched.read());
        println!("{name}: {rate:.0}/s");
        self.samples.push(Sample { name, rate, round, operations, cpu });
    }

    /// Events that the views have not applied yet.
    async fn lag(&self) -> i64 {
        let (log, views) = (self.cluster.write_owner_url(), self.cluster.read_owner_url());
        let head = number(&log, "SELECT sum(position)::bigint FROM headwater_log.head").await;
        let applied = "SELECT sum(p)::bigint FROM headwater_read.checkpoint, unnest(positions) p";
        head - number(&views, applied).await
    }

    /// Waits until the views have caught up, so that rounds do not pay for each other.
    async fn settle(&self) {
        eventually(Duration::from_secs(120), || async {
            match self.lag().await {
                0 => Ok(()),
                lag => Err(format!("{lag} events behind")),
            }
        })
        .await;
    }
}

async fn execute(url: &str, sql: &str) -> anyhow::Result<()> {
    let client = headwater_cli::local::connect(url).await?;
    Ok(client.batch_execute(sql).await?)
}

async fn number(url: &str, sql: &str) -> i64 {
    let client = headwater_cli::local::connect(url).await.expect("connected");
    client.query_one(sql, &[]).await.expect("a row").get(0)
}
