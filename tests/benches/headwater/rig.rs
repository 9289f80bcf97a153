//! A stack under measurement: what `make up` runs, on the disk, and the samples taken of it.

use std::time::Duration;

use headwater_cli::local::{Size, connect};
use headwater_tests::bench::load::{Answers, Load, Round, Turns, run};
use headwater_tests::bench::machine::{Meter, Watched};
use headwater_tests::bench::peers::{self, Client, Server};
use headwater_tests::bench::report::Sample;
use headwater_tests::bench::retail::{self, Items};
use headwater_tests::harness::{Cluster, Options, eventually};
use tonic::transport::{Channel, Endpoint};

/// Clients of most measures.
pub const CLIENTS: usize = 64;
/// HTTP/2 connections that they share.
const CONNECTIONS: usize = 4;

/// Length and number of the rounds.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Rounds of each measure, in turn.
    pub rounds: usize,
    /// Duration of one.
    pub time: Duration,
    /// True for a run that only shows that all works.
    pub is_quick: bool,
}

/// A running stack and what was measured of it.
pub struct Rig {
    pub cluster: Cluster,
    pub samples: Vec<Sample>,
    postgres: tokio_postgres::Client,
    watched: Watched,
}

/// The options of `make up`, on the disk.
pub fn as_up() -> Options {
    Options {
        on_disk: true,
        size: Size { is_disposable: true, ..Size::LAPTOP },
        ..Options::default()
    }
}

/// The same without anything that reads the log: only the write side works.
pub fn write_side() -> Options {
    Options { replicas: 0, projectors: 0, query_svcs: 0, routers: 0, ..as_up() }
}

impl Rig {
    /// Starts a stack.
    pub async fn start(options: Options) -> anyhow::Result<Rig> {
        let cluster = Cluster::start(options).await?;
        // A machine that is loaded on purpose is slow at times, and programs warn of that.
        cluster.expect_logs(&["\"WARN\""]);
        let mut watched = vec![("clients".to_owned(), std::process::id())];
        let nodes = cluster.plan().nodes.iter().map(|node| node.name.clone());
        let programs = cluster.plan().programs.iter().map(|program| program.name.clone());
        for name in nodes.chain(programs) {
            watched.push((name.clone(), cluster.pid(&name).await));
        }
        let postgres = connect(&cluster.superuser_url(cluster.log_node())).await?;
        // Tells the bytes of full-page images. Where it is not installed, that column is empty.
        let _ = postgres.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect").await;
        postgres.batch_execute(peers::TABLE).await?;
        let grants = "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; \
                      GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC; \
                      GRANT ALL ON SCHEMA public TO PUBLIC";
        postgres.batch_execute(grants).await?;
        Ok(Rig { cluster, samples: Vec::new(), postgres, watched: Watched(watched) })
    }

    /// Counts the CPU of another process, too.
    pub fn watch(&mut self, name: &str, pid: u32) {
        self.watched.0.push((name.to_owned(), pid));
    }

    /// Connections to a program, shared by the clients in turn.
    pub async fn channels(&self, program: &str) -> anyhow::Result<Vec<Channel>> {
        channels(&format!("http://{}", self.cluster.grpc(program))).await
    }

    /// Stores and items to sell, so many clients' own.
    pub async fn items(&self, clients: usize) -> anyhow::Result<Vec<Items>> {
        let channels = self.channels("command-svc").await?;
        let (items, _) = retail::set_up(channels[0].clone(), clients).await;
        Ok(retail::shared(items))
    }

    /// A round of load of our own clients.
    pub async fn round<F, C>(&mut self, name: &str, load: Load, client: C) -> Round
    where
        C: Fn(usize, Turns) -> F,
        F: Future<Output = Answers> + Send + 'static,
    {
        let meter = Meter::start(self.watched.clone(), Some(&self.postgres)).await;
        let round = run(load, client).await;
        self.add(name, round.clone(), meter).await;
        round
    }

    /// Sales by clients with items of their own, over these connections.
    pub async fn sell(&mut self, name: &str, load: Load, over: (&[Channel], &[Items])) -> Round {
        let (channels, items) = over;
        self.round(name, load, |client, turns| {
            retail::sell(of(channels, client), items[client].clone(), turns)
        })
        .await
    }

    /// A round of a peer; none if there is no such peer here.
    pub async fn peer(
        &mut self,
        name: &str,
        load: Load,
        peer: &mut Option<Client>,
    ) -> anyhow::Result<()> {
        let Some(client) = peer else { return Ok(()) };
        let meter = Meter::start(self.watched.clone(), Some(&self.postgres)).await;
        let round = client.round(load).await?;
        self.add(name, round, meter).await;
        Ok(())
    }

    async fn add(&mut self, name: &str, round: Round, meter: Meter) {
        let cost = meter.stop(Some(&self.postgres)).await;
        println!("  {name}: {:.0}/s, p50 {:.2} ms", round.rate(), round.latency(0.5));
        let (rate, operations) = (round.rate(), round.done as f64);
        self.samples.push(Sample {
            name: name.to_owned(),
            rate,
            round: Some(round),
            operations,
            cost,
        });
    }

    /// A round of pgbench on the write database.
    pub async fn pgbench(&mut self, time: Duration) -> anyhow::Result<()> {
        let url = self.cluster.owner_url(self.cluster.log_node());
        let bin = self.cluster.plan().host.installation.bin.clone();
        let meter = Meter::start(self.watched.clone(), Some(&self.postgres)).await;
        let rate = peers::pgbench(&bin, &url, CLIENTS, time).await?;
        let cost = meter.stop(Some(&self.postgres)).await;
        println!("  pgbench: {rate:.0}/s");
        let operations = rate * time.as_secs_f64();
        self.samples.push(Sample {
            name: "pgbench".to_owned(),
            rate,
            round: None,
            operations,
            cost,
        });
        Ok(())
    }

    /// UmaDB, if it has been built; says so otherwise.
    pub async fn umadb(&mut self, events: usize) -> (Option<Server>, Option<Client>) {
        match peers::umadb(events).await {
            Ok((server, client)) => {
                self.watch("umadb", server.pid());
                self.watch("umadb's client", client.pid());
                (Some(server), Some(client))
            }
            Err(error) => {
                println!("  without UmaDB: {error:#}");
                (None, None)
            }
        }
    }

    /// cqrs-es on the write database, if it has been built; says so otherwise.
    pub async fn cqrs_es(&mut self) -> Option<Client> {
        match peers::cqrs_es(&self.cluster.write_owner_url()).await {
            Ok(client) => {
                self.watch("cqrs-es", client.pid());
                Some(client)
            }
            Err(error) => {
                println!("  without cqrs-es: {error:#}");
                None
            }
        }
    }

    /// Waits until the views have caught up, so that rounds do not pay for each other.
    pub async fn settle(&self) {
        eventually(Duration::from_secs(120), || async {
            match self.lag().await {
                0 => Ok(()),
                lag => Err(format!("{lag} events behind")),
            }
        })
        .await;
    }

    /// Events that the views have not applied yet.
    pub async fn lag(&self) -> i64 {
        let views = self.cluster.read_owner_url();
        let applied = "SELECT sum(p)::bigint FROM headwater_read.checkpoint, unnest(positions) p";
        self.head().await - number(&views, applied).await
    }

    /// Events in the log.
    pub async fn head(&self) -> i64 {
        let log = self.cluster.write_owner_url();
        number(&log, "SELECT coalesce(max(position), 0)::bigint FROM headwater_log.event").await
    }
}

/// The connection of a client.
pub fn of(channels: &[Channel], client: usize) -> Channel {
    channels[client % channels.len()].clone()
}

/// Connections to an address.
pub async fn channels(uri: &str) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let endpoint = Endpoint::from_shared(uri.to_owned())?.tcp_nodelay(true);
        channels.push(endpoint.connect().await?);
    }
    Ok(channels)
}

async fn number(url: &str, sql: &str) -> i64 {
    let client = connect(url).await.expect("connected");
    client.query_one(sql, &[]).await.expect("a row").get(0)
}
