//! The counter domain runs on the real executor, projector and query server: nothing of theirs
//! knows the retail one.

mod scratch;

use std::net::SocketAddr;
use std::sync::Arc;

use headwater_chassis::{Common, Invocation, Metrics, Readiness, Server, Shutdown, bind, serve};
use headwater_command_svc::{Acks, Executor};
use headwater_eventlog::EventLog;
use headwater_projector::migrate::migrate;
use headwater_proto::headwater::v1::CommandOptions;
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_query_svc::{CONNECTED_MAX, PoolConfig, READY_CHECK, ReadPool, Reads};
use headwater_tests::counter::v1::counter_command_service_client::CounterCommandServiceClient;
use headwater_tests::counter::v1::counter_query_service_client::CounterQueryServiceClient;
use headwater_tests::counter::v1::{GetCounterRequest, IncrementRequest, IncrementResponse};
use headwater_tests::counter::{command_routes, projections, query_routes};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use scratch::Postgres;

const PARTITIONS: u16 = 2;

/// The three services in this process, on a Postgres of their own.
struct Counters {
    commands: CounterCommandServiceClient<Channel>,
    queries: CounterQueryServiceClient<Channel>,
    shutdown: Shutdown,
    _postgres: Postgres,
}

impl Counters {
    async fn start() -> Self {
        let postgres = Postgres::start().await;
        let url = postgres.url();
        EventLog::migrate(&url, PARTITIONS).await.expect("the log's schema");
        migrate(&url, &projections()).await.expect("the views' schema");
        let shutdown = Shutdown::new();

        let config = headwater_projector::config::Config::read(invocation("projector", &url));
        let config = config.expect("a config");
        tokio::spawn(headwater_projector::run(config, projections(), shutdown.clone()));

        let config = headwater_command_svc::Config::read(invocation("command-svc", &url));
        let config = config.expect("a config");
        let log = EventLog::connect(&url, 2).await.expect("the log");
        let executor =
            Arc::new(Executor::start(&log, &config.limits, Acks::new(None), &Metrics::new()));
        let commands = serving(config.common, command_routes(executor), &shutdown).await;

        let config = headwater_query_svc::Config::read(invocation("query-svc", &url), &[]);
        let config = config.expect("a config");
        let pool = PoolConfig {
            nodes: config.nodes,
            connections: config.connections,
            probe_every: config.probe_every,
            projections: vec!["counting".to_owned()],
            connected_max: CONNECTED_MAX,
            primary_share: config.primary_share,
        };
        let pool = Arc::new(ReadPool::new(&pool, &Metrics::new()).expect("a pool"));
        pool.watch(&Readiness::new(&[READY_CHECK]), &shutdown);
        let reads = Reads::new(pool, config.wait_max);
        let queries = serving(config.common, query_routes(&reads), &shutdown).await;

        let commands = CounterCommandServiceClient::connect(commands).await.expect("commands");
        let queries = CounterQueryServiceClient::connect(queries).await.expect("queries");
        Self { commands, queries, shutdown, _postgres: postgres }
    }

    async fn increment(
        &mut self,
        counter: Uuid,
        by: i64,
        key: &str,
    ) -> Result<IncrementResponse, Status> {
        let options = CommandOptions { idempotency_key: key.to_owned(), ..Default::default() };
        let counter_id = counter.to_string();
        let request = IncrementRequest { counter_id, by, options: Some(options) };
        Ok(self.commands.increment(request).await?.into_inner())
    }

    /// The total, at least as fresh as the token.
    async fn total(&mut self, counter: Uuid, token: &str) -> Result<i64, Status> {
        let requirement = Some(Requirement::AtLeast(token.to_owned()));
        let consistency =
            Some(headwater_proto::headwater::v1::Consistency { requirement, ..Default::default() });
        let request = GetCounterRequest { counter_id: counter.to_string(), consistency };
        Ok(self.queries.get_counter(request).await?.into_inner().total)
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Every program in this process, on any free port, with one database for both sides.
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
    let (metrics, readiness) = (Metrics::new(), Readiness::new(&[]));
    let server = Server::new(common, metrics, readiness, shutdown.clone(), listener);
    tokio::spawn(serve(server, routes));
    format!("http://{address}")
}

#[tokio::test]
async fn a_command_becomes_an_event_becomes_a_row() {
    let mut counters = Counters::start().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());

    let first = counters.increment(one, 3, "first").await.expect("counted").receipt;
    let first = first.expect("a receipt");
    assert_eq!((first.version, first.replayed), (1, false));
    assert_eq!(counters.total(one, &first.token).await.expect("read"), 3);

    let again = counters.increment(one, 3, "first").await.expect("answered").receipt;
    let again = again.expect("a receipt");
    assert_eq!((again.version, again.replayed), (1, true), "applied once");

    let second = counters.increment(one, 4, "").await.expect("counted").receipt;
    let token = second.expect("a receipt").token;
    assert_eq!(counters.total(one, &token).await.expect("read"), 7);

    let missing = counters.total(other, &token).await.expect_err("never counted");
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn the_domain_and_the_edge_say_no() {
    let mut counters = Counters::start().await;
    let counter = Uuid::now_v7();

    let wrong = counters.increment(counter, 0, "").await.expect_err("refused");
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let fields = wrong.get_details_bad_request().expect("the fields").field_violations;
    assert_eq!(fields.iter().map(|field| &*field.field).collect::<Vec<_>>(), ["by"]);

    counters.increment(counter, 1_000_000, "").await.expect("counted");
    let full = counters.increment(counter, 1, "").await.expect_err("refused");
    assert_eq!(full.code(), Code::FailedPrecondition);
    let info = full.get_details_error_info().expect("a reason");
    assert_eq!((&*info.domain, &*info.reason), ("counter", "COUNTER_FULL"));
}
