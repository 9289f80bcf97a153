//! The pool of read database nodes: primary and replicas, found out and watched, not configured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use headwater_chassis::{Metrics, Readiness, Shutdown};
use tokio::time::{Instant, sleep};

use super::connection::Address;
use super::node::{Node, NodeCommon};
use crate::choice::Cost;
use crate::choice::FallbackLimiter;
use crate::choice::{Choice, PickRequest, pick};
use crate::seen::NODES_MAX;
use crate::seen::NodeSeen;
use crate::seen::role_name;
use crate::seen::{NodeStateTable, NodeStateTables, Pace};
use crate::write_side::WriteClock;

/// Name of the readiness check: at least one node can be read from.
pub const READY_CHECK: &str = "read-nodes";
/// Interval at which the pool counts what replicas answer, by which the primary's share is
/// measured.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Settings of a pool.
pub struct PoolConfig {
    /// Nodes, 1 to [`NODES_MAX`], in any order and role.
    pub nodes: Vec<Address>,
    /// Connections of each node for lists and transactions; those for point reads and probes come
    /// on top.
    pub connections: usize,
    /// Time between probes of a node while no read waits.
    pub probe_every: Duration,
    /// Time for which a connection is used before the node's name is asked for a new one; usually
    /// [`CONNECTED_MAX`].
    pub connected_max: Duration,
    /// The projections that are served: each statement names the one whose checkpoint dates it.
    pub projections: Vec<String>,
    /// As in [`FallbackLimiter::new`].
    pub primary_share: u8,
}

/// Read primary and replicas.
pub struct ReadPool {
    nodes: Vec<Arc<Node>>,
    tables: Arc<NodeStateTables>,
    clock: Arc<WriteClock>,
    metrics: Metrics,
    fallback_limiter: Arc<FallbackLimiter>,
    probe_every: Duration,
    random_seed: AtomicUsize,
}

impl ReadPool {
    /// A pool of nodes that nothing is known of yet: nothing is connected before
    /// [`ReadPool::watch`].
    ///
    /// # Errors
    /// If there are no nodes, or too many, or no projections.
    pub fn new(config: &PoolConfig, metrics: &Metrics) -> anyhow::Result<Self> {
        let count = config.nodes.len();
        ensure!((1..=NODES_MAX).contains(&count), "a pool has 1 to {NODES_MAX} nodes");
        ensure!(!config.projections.is_empty(), "a pool serves one projection or more");
        let tables = Arc::new(NodeStateTables::new(count, &config.projections));
        let clock = Arc::new(WriteClock::new(metrics));
        let common = NodeCommon {
            connected_max: config.connected_max,
            tables: Arc::clone(&tables),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
        };
        let node = |(index, address)| Node::new(index, address, config.connections, &common);
        let nodes = config.nodes.iter().enumerate().map(node).map(|node| node.map(Arc::new));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            tables,
            clock,
            metrics: metrics.clone(),
            fallback_limiter: Arc::new(FallbackLimiter::new(config.primary_share, metrics)),
            probe_every: config.probe_every,
            random_seed: AtomicUsize::new(0),
        })
    }

    /// Probes every node from now on, and says whether the pool is ready, until shutdown.
    pub fn watch(&self, readiness: &Readiness, shutdown: &Shutdown) {
        for node in &self.nodes {
            let node = Arc::clone(node);
            let probing = probe(node, Arc::clone(&self.tables), self.probe_every);
            spawn_until(shutdown, probing);
        }
        let following = follow(self.nodes.clone(), Arc::clone(&self.tables), readiness.clone());
        spawn_until(shutdown, following);
        spawn_until(shutdown, count(self.nodes.clone(), Arc::clone(&self.fallback_limiter)));
    }

    /// Nodes of the pool.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Tables of what was last seen of the nodes, by projection.
    pub fn tables(&self) -> &Arc<NodeStateTables> {
        &self.tables
    }

    /// Clock that ages are measured by.
    pub fn clock(&self) -> &Arc<WriteClock> {
        &self.clock
    }

    /// Rate limiter of fallbacks to the read primary.
    pub fn fallback_limiter(&self) -> &Arc<FallbackLimiter> {
        &self.fallback_limiter
    }

    /// Metrics of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Chooses a node by what was last seen of each, in the table of a projection.
    pub fn pick(&self, table: &NodeStateTable, wish: &PickRequest<'_>) -> Choice {
        let now = Instant::now();
        let mut costs = [Cost::default(); NODES_MAX];
        for (cost, node) in costs.iter_mut().zip(&self.nodes) {
            *cost = node.cost(now);
        }
        table.look(|seen| pick(seen, &costs, wish))
    }

    /// Another number each time.
    pub fn random_seed(&self) -> usize {
        self.random_seed.fetch_add(1, Ordering::Relaxed)
    }
}

fn spawn_until(shutdown: &Shutdown, work: impl Future<Output = ()> + Send + 'static) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.requested() => {}
            () = work => {}
        }
    });
}

async fn probe(node: Arc<Node>, tables: Arc<NodeStateTables>, every: Duration) {
    let mut pace = Pace::default();
    loop {
        let begun = Instant::now();
        node.probe().await;
        tables.demand().due(begun, every, &mut pace).await;
    }
}

/// Tells the limiter of fallbacks what replicas answer.
async fn count(nodes: Vec<Arc<Node>>, limiter: Arc<FallbackLimiter>) {
    let answered = || nodes.iter().map(|node| node.meters().answered_as_replica()).sum::<u64>();
    let (mut before, mut since) = (answered(), Instant::now());
    loop {
        sleep(COUNT_EVERY).await;
        let (all, now) = (answered(), Instant::now());
        limiter.learn(all - before, now - since);
        (before, since) = (all, now);
    }
}

/// Logs changes of role, and keeps the readiness check up to date: ready while every projection can
/// be read from some node.
async fn follow(nodes: Vec<Arc<Node>>, tables: Arc<NodeStateTables>, readiness: Readiness) {
    let mut changes = tables.subscribe();
    let mut roles = vec![None; nodes.len()];
    loop {
        let now = changes.look();
        for (node, before) in nodes.iter().zip(&mut roles) {
            let role = tables.role(node.index);
            if role.is_some() && role != *before {
                tracing::info!(node = node.name, role = role.map(role_name), "role of a node");
                *before = role;
            }
        }
        let can_read = |seen: &NodeSeen| seen.usable && seen.node_state.is_some();
        let mut unread = tables.projections().iter().zip(&now);
        let unread = unread.find(|(_, seen)| !seen.iter().any(can_read));
        let missing = |(projection, _): (&String, _)| {
            Err(format!("{projection} cannot be read from any of {} nodes", nodes.len()))
        };
        readiness.set(READY_CHECK, unread.map_or(Ok(()), missing));
        if !changes.changed().await {
            return;
        }
    }
}
