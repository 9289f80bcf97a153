//! The process of the query server: watch the nodes, serve, drain.

use std::sync::Arc;

use anyhow::Context as _;
use headwater_chassis::{
    Metrics, Readiness, Server, Shutdown, Telemetry, admin, announce, bind, serve,
};
use tonic::service::Routes;

use crate::config::Config;
use crate::grpc::sync_service;
use crate::nodes::{CONNECTED_MAX, PoolConfig, READY_CHECK, ReadPool};
use crate::read::Reads;
use crate::write_side::LogEnds;

/// The program: reads its configuration, runs until it is told to stop, and drains. The arguments
/// are those of [`run`].
///
/// # Errors
/// Every mistake in the configuration, or as [`run`].
#[tokio::main]
pub async fn run_program(
    projections: &[&str],
    descriptors: &'static [u8],
    routes: impl FnOnce(&Reads) -> Routes,
) -> anyhow::Result<()> {
    let config = Config::from_process(descriptors)?;
    let telemetry = Telemetry::init("query-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, projections, descriptors, shutdown, routes).await;
    telemetry.shutdown().await;
    ended
}

/// Runs a query server until shutdown. Nodes need not be there when it starts: it is not ready
/// until every given projection can be read from one. A reply is dated by the checkpoint of the
/// projection whose views it shows; `routes` makes the domain's services on the reads, and
/// `descriptors` is its encoded descriptor set.
///
/// # Errors
/// A socket cannot be bound, or calls were cut at the deadline.
pub async fn run(
    config: Config,
    projections: &[&str],
    descriptors: &'static [u8],
    shutdown: Shutdown,
    routes: impl FnOnce(&Reads) -> Routes,
) -> anyhow::Result<()> {
    let metrics = Metrics::new();
    let readiness = Readiness::new(&[READY_CHECK]);
    let listener = bind(config.common.listen).await?;
    let admin_listener = bind(config.common.admin_listen).await?;
    let (grpc, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin = tokio::spawn(admin::serve(admin_listener, metrics.clone(), readiness.clone()));

    let pool = PoolConfig {
        nodes: config.nodes,
        connections: config.connections,
        probe_every: config.probe_every,
        projections: projections.iter().map(|name| (*name).to_owned()).collect(),
        connected_max: CONNECTED_MAX,
        primary_share: config.primary_share,
    };
    let pool = Arc::new(ReadPool::new(&pool, &metrics)?);
    // Watched to the very end: calls that are drained still need their nodes.
    let watch = Shutdown::new();
    pool.watch(&readiness, &watch);
    announce("query-svc", Some(grpc), admin_address);

    let log = match config.write {
        Some(servers) => {
            let (clock, tables) = (Arc::clone(pool.clock()), Arc::clone(pool.tables()));
            LogEnds::watch(servers, clock, tables, &metrics)
        }
        None => LogEnds::unknown(),
    };
    let reads = Reads::new(pool, config.wait_max).waiting(config.waiting_max).asking(log);
    let reads = reads.with_policies(config.policies).until(shutdown.clone());
    let routes = routes(&reads).add_service(sync_service(&reads)).prepare();
    let server = Server {
        descriptors: vec![descriptors],
        ..Server::new(config.common, metrics, readiness, shutdown, listener)
    };
    let served = serve(server, routes).await;
    watch.trigger();
    admin.abort();
    served.context("the gRPC server")
}
