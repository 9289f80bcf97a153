//! The process of the projector: one worker and one watchdog for each projection, until shutdown.

use anyhow::Context as _;
use headwater_chassis::{
    Metrics, Readiness, Server, Shutdown, Telemetry, admin, announce, bind, serve,
};
use tokio::task::JoinSet;
use tonic::service::Routes;

use crate::config::Config;
use crate::engine::Reporter;
use crate::health::{Health, SYNC};
use crate::meters::Meters;
use crate::projection::Projection;
use crate::watchdog::{LagGauges, Watchdog};
use crate::worker::Worker;

/// The program: reads its configuration, runs a projector of these projections until it is told to
/// stop, and finishes the batches under way.
///
/// # Errors
/// Every mistake in the configuration, or as [`run`].
#[tokio::main]
pub async fn run_program(projections: Vec<Projection>) -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("projector", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, projections, shutdown).await;
    telemetry.shutdown().await;
    ended
}

/// Runs a projector of these projections until shutdown.
///
/// # Errors
/// A socket cannot be bound.
pub async fn run(
    config: Config,
    projections: Vec<Projection>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let metrics = Metrics::new();
    let readiness = Readiness::new(&[SYNC]);
    let listener = bind(config.common.listen).await?;
    let admin_listener = bind(config.common.admin_listen).await?;
    let (grpc, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin = tokio::spawn(admin::serve(admin_listener, metrics.clone(), readiness.clone()));
    announce("projector", Some(grpc), admin_address);

    let health = Health::new(readiness.clone());
    let mut workers = JoinSet::new();
    let mut watchdogs = JoinSet::new();
    for projection in projections {
        watchdogs.spawn(watchdog(&config, &projection, &metrics, &health).run());
        let worker = worker(&config, projection, &metrics, &health);
        let shutdown = shutdown.clone();
        workers.spawn(async move { worker.run(&shutdown).await });
    }
    // Health, and nothing else, is served.
    let server = Server::new(config.common, metrics, readiness, shutdown, listener);
    let served = serve(server, Routes::default()).await;
    // The batches under way are finished.
    while workers.join_next().await.is_some() {}
    watchdogs.abort_all();
    admin.abort();
    served.context("the gRPC server")
}

fn worker(config: &Config, projection: Projection, metrics: &Metrics, health: &Health) -> Worker {
    let meters = Meters::new(metrics, projection.name());
    Worker {
        projection,
        write: config.write.clone(),
        read: config.read.clone(),
        pace: config.pace,
        reporter: Reporter { meters, health: health.clone() },
    }
}

fn watchdog(
    config: &Config,
    projection: &Projection,
    metrics: &Metrics,
    health: &Health,
) -> Watchdog {
    Watchdog {
        write: config.write.clone(),
        read: config.read.clone(),
        projection: projection.name(),
        limits: config.lag,
        health: health.clone(),
        gauges: LagGauges::new(metrics),
    }
}
