//! For a domain's own tests: the real command service, projector and query server in the test's
//! process, on a Postgres that is there for the test alone.
//!
//! A helper for tests: what goes wrong here is a panic that says what.

mod postgres;

use std::net::SocketAddr;
use std::sync::Arc;

use headwater_chassis::{Common, Invocation, Metrics, Readiness, Server, Shutdown, bind, serve};
use headwater_command_svc::{Acks, Executor};
use headwater_eventlog::EventLog;
use headwater_projector::migrate::migrate;
use headwater_projector::projection::Projection;
use headwater_query_svc::{CONNECTED_MAX, PoolConfig, READY_CHECK, ReadPool, Reads};
use tonic::service::Routes;

pub use postgres::Postgres;

/// Partitions of the log: more than one, so that nothing relies on an order between them.
const PARTITIONS: u16 = 2;

/// What the services need to know of a domain.
#[derive(Clone, Copy)]
pub struct Domain {
    /// The projections.
    pub projections: fn() -> Vec<Projection>,
    /// The services of its commands.
    pub commands: fn(&Arc<Executor>) -> Routes,
    /// The services of its queries.
    pub queries: fn(&Reads) -> Routes,
}

/// A domain that runs; everything ends when this is dropped.
pub struct Running {
    /// Place where its commands are served, as a URL.
    pub commands: String,
    /// Place where its queries are served, as a URL.
    pub queries: String,
    shutdown: Shutdown,
    _postgres: Postgres,
}

impl Running {
    /// Starts everything, with one database for both sides.
    ///
    /// # Panics
    /// If Postgres or a service does not start.
    pub async fn start(domain: Domain) -> Self {
        let postgres = Postgres::start().await;
        let url = postgres.url();
        EventLog::migrate(&url, PARTITIONS).await.expect("the log's schema");
        migrate(&url, &(domain.projections)()).await.expect("the views' schema");
        let shutdown = Shutdown::new();

        let config = headwater_projector::config::Config::read(invocation("projector", &url));
        let config = config.expect("a config");
        tokio::spawn(headwater_projector::run(config, (domain.projections)(), shutdown.clone()));

        let config = headwater_command_svc::Config::read(invocation("command-svc", &url));
        let config = config.expect("a config");
        let log = EventLog::connect(&url, 2).await.expect("the log");
        let executor =
            Arc::new(Executor::start(&log, &config.limits, Acks::new(None), &Metrics::new()));
        let commands = serving(config.common, (domain.commands)(&executor), &shutdown).await;

        let config = headwater_query_svc::Config::read(invocation("query-svc", &url), &[]);
        let config = config.expect("a config");
        let pool = PoolConfig {
            nodes: config.nodes,
            connections: config.connections,
            probe_every: config.probe_every,
            projections: (domain.projections)().iter().map(|p| p.name().to_owned()).collect(),
            connected_max: CONNECTED_MAX,
            primary_share: config.primary_share,
        };
        let pool = Arc::new(ReadPool::new(&pool, &Metrics::new()).expect("a pool"));
        pool.watch(&Readiness::new(&[READY_CHECK]), &shutdown);
        let reads = Reads::new(pool, config.wait_max);
        let queries = serving(config.common, (domain.queries)(&reads), &shutdown).await;
        Self { commands, queries, shutdown, _postgres: postgres }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Every program in this process, on any free port.
fn invocation(program: &'static str, url: &str) -> Invocation {
    let mut vars =
        vec![("HEADWATER_LISTEN", "127.0.0.1:0"), ("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0")];
    vars.extend(match program {
        "projector" => vec![("HEADWATER_WRITE_URL", url), ("HEADWATER_READ_URL", url)],
        "command-svc" => vec![("HEADWATER_WRITE_URL", url)],
        _ => vec![("HEADWATER_READ_URLS", url)],
    });
    let vars = vars.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Invocation::from_parts(program, vars, [])
}

/// Serves on a free port until shutdown, and says where.
async fn serving(common: Common, routes: Routes, shutdown: &Shutdown) -> String {
    let listener = bind(common.listen).await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let readiness = Readiness::new(&[]);
    let server = Server::new(common, Metrics::new(), readiness, shutdown.clone(), listener);
    tokio::spawn(serve(server, routes));
    format!("http://{address}")
}
