//! One address in front of command and query services: an h2c proxy for gRPC with a balancer of
//! its own.
//!
//! ```text
//! front -> forward: path -> route -> upstream -> endpoint -> link
//! ```
//! It never decodes a message, and links no database driver.

pub mod config;

pub mod balance;
pub mod deadline;
pub mod retry;
pub mod routes;

pub mod fault;
pub mod meters;
pub mod replay_body;

pub mod in_flight_request;
pub mod link;

pub mod endpoint;
pub mod pool;

pub mod health;
pub mod resolve;

pub mod outbound;
pub mod reply;
pub mod respond;

pub mod forward;
pub mod platform;

pub mod front;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use headwater_chassis::{Metrics, Readiness, Shutdown, admin, announce, bind};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use forward::Shared;
use front::Front;
use meters::Meters;
use platform::Status;
use pool::Pool;
use resolve::Resolver;
use routes::{Routes, Upstream};
use workers::Workers;

/// The program's name in logs, traces and the ready line.
pub const PROGRAM: &str = "router";

/// A router that runs.
pub struct Router {
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves `/metrics`, `/livez` and `/readyz`.
    pub admin: SocketAddr,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Router {
    /// Resolves when it has drained after a shutdown.
    ///
    /// # Errors
    /// If requests had to be cut, or a listener failed.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.served.await.context("the router panicked")?
    }
}

/// Runs the program until shutdown is requested and it has drained. It routes by `descriptors`, an
/// encoded descriptor set, unless its configuration names a file.
///
/// # Errors
/// As [`start`] and [`Router::ended`].
pub async fn run(
    config: Config,
    descriptors: &'static [u8],
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let router = start(config, descriptors, shutdown).await?;
    announce(PROGRAM, Some(router.grpc), router.admin);
    router.ended().await
}

/// Starts a router that routes by `descriptors`, as [`run`] does. When this returns, its sockets
/// are bound and its names have been resolved.
///
/// # Errors
/// If a socket cannot be bound, or the descriptor set is unusable.
pub async fn start(
    config: Config,
    descriptors: &'static [u8],
    shutdown: Shutdown,
) -> anyhow::Result<Router> {
    let descriptors = descriptor_set(&config, descriptors)?;
    let routes = Routes::decode(&descriptors)?;
    let listener = bind(config.common.listen).await?;
    let admin = bind(config.common.admin_listen).await?;
    let (grpc_address, admin_address) = (listener.local_addr()?, admin.local_addr()?);

    let metrics = Metrics::new();
    let meters = Arc::new(Meters::new(&routes, &metrics));
    let readiness = Readiness::new(&Status::checks());
    let platform = platform::services(&descriptors, &routes, &readiness)?;
    let pools = Upstream::ALL.map(|upstream| Arc::new(Pool::new(upstream)));
    let workers = Workers::start(config.threads)?;
    let mut tasks = JoinSet::new();
    for pool in &pools {
        let names = config.names(pool.upstream()).to_vec();
        let handles = workers.handles().to_vec();
        let mut resolver = Resolver::new(pool.clone(), names, handles, config.probe_every);
        resolver.resolve().await;
        tasks.spawn(resolver.run(config.resolve_every));
    }
    let status = Status::new(readiness.clone(), pools.clone(), meters.clone());
    tasks.spawn(status.follow());
    let shared = Arc::new(Shared {
        routes,
        pools,
        meters,
        platform,
        limits: config.limits,
        traced: config.common.otlp_endpoint.is_some(),
        cut: CancellationToken::new(),
    });
    let serving = Serving { workers, shared, shutdown, readiness, metrics, tasks };
    let served = tokio::spawn(serving.run(listener, admin, config.common.shutdown));
    Ok(Router { grpc: grpc_address, admin: admin_address, served })
}

/// What lives as long as the router does.
struct Serving {
    workers: Workers,
    shared: Arc<Shared>,
    shutdown: Shutdown,
    readiness: Readiness,
    metrics: Metrics,
    tasks: JoinSet<()>,
}

impl Serving {
    async fn run(
        self,
        listener: TcpListener,
        admin: TcpListener,
        deadline: std::time::Duration,
    ) -> anyhow::Result<()> {
        let pools = self.shared.pools.clone();
        let front = Front::new(self.workers.handles(), self.shared);
        let draining = async {
            self.shutdown.requested().await;
            // First, so that nobody is sent here any more who asks before calling.
            self.readiness.drain();
        };
        let served = front.serve(listener, draining, deadline);
        // Until the end, so that a drain can be watched.
        let admin = admin::serve(admin, self.metrics, self.readiness.clone());
        let result = tokio::select! {
            served = served => served,
            failed = admin => failed,
        };
        drop(self.tasks);
        for pool in pools {
            pool.endpoints().iter().for_each(|endpoint| endpoint.retire());
        }
        // Joins threads, which must not block the runtime.
        tokio::task::spawn_blocking(move || drop(self.workers)).await?;
        result
    }
}

fn descriptor_set(config: &Config, built_in: &[u8]) -> anyhow::Result<Vec<u8>> {
    match &config.descriptors {
        None => Ok(built_in.to_vec()),
        Some(path) => std::fs::read(path)
            .with_context(|| format!("cannot read the descriptor set {}", path.display())),
    }
}
