//! One node: its connections, its circuit breaker, and what is counted of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use headwater_chassis::breaker::BreakerState;
use headwater_chassis::{Breaker, Delays, Load, Metrics};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connection::{Address, Lane, Params, run_pooled};
use super::statement::{Rows, Statement, lineage};
use crate::choice::{Cost, recovered};
use crate::seen::NodeError;
use crate::seen::NodeStateTable;
use crate::seen::{Answer, NodeState};
use crate::seen::{NodeMeters, role_name};
use crate::write_side::WriteClock;

/// Shared connections that carry a node's point reads, several statements in flight on each.
pub const LANES: usize = 2;

/// Failures in a row after which a node leaves the choice: one may be a connection that was cut,
/// three are the node.
const FAILURES_MAX: u32 = 3;
/// How long it then stays out before it is probed again.
const OUT_FOR: Delays =
    Delays { first: Duration::from_millis(100), max: Duration::from_secs(2), factor: 2.0 };
/// How fast measured latency is replaced by newer. A node is probed all the time, so that it need
/// not be asked by a read to see whether it is quick again.
const LATENCY_MEMORY: Duration = Duration::from_secs(1);
const CHECKPOINT: &str = include_str!("../../sql/queries/checkpoint.sql");
const LINEAGE: &str = include_str!("../../sql/queries/lineage.sql");

/// One node of the pool.
pub struct Node {
    /// Its place in the pool, and on the table.
    pub index: usize,
    /// Host and port.
    pub name: String,
    /// Connections that are lent to one user at a time.
    lent: Pool,
    /// Where the shared ones come from, so that they never wait for those that are lent.
    shared: Pool,
    lanes: [Lane; LANES],
    probes: Lane,
    connected_max: Duration,
    breaker: Mutex<Breaker>,
    born: Instant,
    load: Load,
    /// When it joined the choice last, in milliseconds from `born`.
    joined_ms: AtomicU64,
    /// Whether it was last seen with another log than the write database's.
    stray: AtomicBool,
    projection: String,
    table: Arc<NodeStateTable>,
    clock: Arc<WriteClock>,
    meters: NodeMeters,
}

/// A read in flight, as the choice of nodes counts it.
pub struct InFlight<'n>(&'n Load);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Node {
    /// A node that nothing is known of yet, with the given number of connections for single
    /// statements and transactions. Nothing is connected before it is used.
    ///
    /// # Errors
    /// If the pool cannot be built.
    pub fn new(
        index: usize,
        address: &Address,
        connections: usize,
        common: &NodeCommon,
    ) -> anyhow::Result<Self> {
        let born = Instant::now();
        Ok(Self {
            index,
            name: address.name.clone(),
            lent: address.pool(connections)?,
            shared: address.pool(LANES + 1)?,
            lanes: std::array::from_fn(|_| Lane::new(common.connected_max)),
            probes: Lane::new(common.connected_max),
            connected_max: common.connected_max,
            breaker: Mutex::new(Breaker::new(FAILURES_MAX, OUT_FOR)),
            born,
            load: Load::new(born.into_std(), LATENCY_MEMORY),
            joined_ms: AtomicU64::new(0),
            stray: AtomicBool::new(false),
            projection: common.projection.clone(),
            table: Arc::clone(&common.table),
            clock: Arc::clone(&common.clock),
            meters: NodeMeters::new(&common.metrics, &address.name),
        })
    }

    /// What one more read costs on it.
    pub fn cost(&self, now: Instant) -> Cost {
        let joined = Duration::from_millis(self.joined_ms.load(Ordering::Relaxed));
        let back_for = now.saturating_duration_since(self.born).saturating_sub(joined);
        Cost {
            in_flight: self.load.in_flight(),
            latency_us: self.load.latency_us(now.into_std()),
            penalty_us: self.load.penalty_us(now.into_std()),
            recovered: recovered(back_for),
        }
    }

    /// Counts a read until the guard is dropped.
    pub fn begin(&self) -> InFlight<'_> {
        self.load.enter();
        InFlight(&self.load)
    }

    /// The node's numbers.
    pub fn meters(&self) -> &NodeMeters {
        &self.meters
    }

    /// Its connections for transactions.
    pub fn connections(&self) -> &Pool {
        &self.lent
    }

    /// Runs a statement on a connection of its own; `params` follow the projection's name.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn query<R>(
        &self,
        statement: &Statement<R>,
        params: Params<'_>,
    ) -> Result<Answer<Vec<R>>, NodeError> {
        let params = self.with_projection(params);
        let rows = self.conclude(run_pooled(&self.lent, statement.sql, &params).await)?;
        Ok(Answer::new(rows.decode(statement)?, rows.node_state))
    }

    /// Runs a statement on a shared connection, among others that are in flight on it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn query_shared<R>(
        &self,
        lane: usize,
        statement: &Statement<R>,
        params: Params<'_>,
    ) -> Result<Answer<Vec<R>>, NodeError> {
        let params = self.with_projection(params);
        let rows = self.timed(&self.lanes[lane], statement.sql, &params).await?;
        Ok(Answer::new(rows.decode(statement)?, rows.node_state))
    }

    /// Asks the node for its role and checkpoint, unless its circuit breaker is open, and notes the
    /// answer.
    pub async fn probe(&self) {
        let mut allowed = false;
        self.moved(|breaker| allowed = breaker.allows(Instant::now().into_std()));
        if !allowed {
            return;
        }
        let params = self.with_projection(&[]);
        let opened = self.probes.opened().await;
        if let Ok(rows) = self.timed(&self.probes, CHECKPOINT, &params).await {
            // Only when a new one was just to be had: an old connection is better than none.
            if self.probes.opened().await != opened {
                self.lent.retain(|_, lent| lent.age() < self.connected_max);
            }
            self.table.corrected(self.index, &rows.node_state);
            self.strays(self.table.is_stray(&rows.node_state.checkpoint));
            let age = rows.node_state.checkpoint.freshness.staleness(self.clock.read().now);
            self.meters.staleness(age);
            self.learn_lineage(&rows.node_state).await;
        }
    }

    /// Asks for the epochs of the log that the node shows, if they are not known: once for each
    /// epoch, by the first node that is seen in it.
    async fn learn_lineage(&self, node_state: &NodeState) {
        let shown = &node_state.checkpoint;
        if self.table.lineage(shown.log, shown.epoch).is_some() {
            return;
        }
        let params = self.with_projection(&[]);
        let rows = self.probes.run(&self.shared, LINEAGE, &params).await;
        match rows.and_then(|rows| lineage(&rows).map_err(NodeError::defect)) {
            Ok(Some(lineage)) => self.table.learned(lineage),
            Ok(None) => {}
            // Tried again with the next probe; the node is judged by what it is asked for.
            Err(error) => tracing::debug!(node = self.name, %error, "its epochs are not known"),
        }
    }

    /// Notes that the node failed, if it is to blame.
    pub fn failed(&self, error: &NodeError) {
        if error.penalises_latency() {
            self.load.failed(Instant::now().into_std());
        }
        if !error.blames_node() {
            return;
        }
        // A cut connection may be an accident. Silence is none, and costs every read that meets it
        // the longest wait there is.
        let weight = if matches!(error, NodeError::Silent) { FAILURES_MAX } else { 1 };
        let (before, after) = self.moved(|breaker| {
            (0..weight).for_each(|_| breaker.failed(Instant::now().into_std()));
        });
        if before == BreakerState::Closed && after == BreakerState::Open {
            self.left(error);
        }
    }

    /// Notes whether it holds another log than ours: a mistake in what it was made from, or in the
    /// settings.
    fn strays(&self, strays: bool) {
        let before = self.stray.swap(strays, Ordering::Relaxed);
        if strays && !before {
            tracing::warn!(node = self.name, "node leaves the choice: it holds another log");
        }
    }

    /// Runs a statement by key or a probe, and measures how long the node took: these are alike on
    /// all nodes, and probes go to those, too, that are not read from. How long a list takes is the
    /// list's doing.
    async fn timed(&self, lane: &Lane, sql: &str, params: Params<'_>) -> Result<Rows, NodeError> {
        let begun = Instant::now();
        let rows = self.conclude(lane.run(&self.shared, sql, params).await)?;
        self.load.answered(Instant::now().into_std(), begun.elapsed());
        Ok(rows)
    }

    /// A fresh database holds nothing before the projector's first checkpoint. That the query
    /// server was there first is the order of a start, not a fault.
    fn left(&self, error: &NodeError) {
        let was_read = self.table.checkpoint(self.index).is_some();
        if !was_read && matches!(error, NodeError::Schema(_)) {
            tracing::info!(node = self.name, %error, "node is not in the choice yet");
        } else {
            tracing::warn!(node = self.name, %error, "node leaves the choice");
        }
    }

    fn succeeded(&self, node_state: &NodeState, is_first: bool) {
        let (before, after) = self.moved(|breaker| {
            let was_closed = breaker.state() == BreakerState::Closed;
            breaker.succeeded();
            // While the breaker is held: it must not be in the choice before it is spared there.
            if is_first || (!was_closed && breaker.state() == BreakerState::Closed) {
                self.joins();
            }
        });
        if before != BreakerState::Closed && after == BreakerState::Closed {
            let role = role_name(node_state.role);
            tracing::info!(node = self.name, role, "node is back in the choice");
        }
        self.table.read(self.index, node_state);
    }

    /// It comes into the choice, or back: its errors are forgiven, and it gets its reads little by
    /// little.
    fn joins(&self) {
        let now = Instant::now();
        self.load.forgive(now.into_std());
        self.joined_ms.store((now - self.born).as_millis() as u64, Ordering::Relaxed);
    }

    /// Moves the breaker, and tells the table while the breaker is still held: the table must not
    /// keep the older of two moves.
    fn moved(&self, change: impl FnOnce(&mut Breaker)) -> (BreakerState, BreakerState) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.state();
        change(&mut breaker);
        let after = breaker.state();
        if before != after {
            self.meters.breaker(after);
            self.table.usable(self.index, after == BreakerState::Closed);
        }
        (before, after)
    }

    /// Every outcome passes here: it moves the breaker, and what is seen goes on the table.
    fn conclude(&self, outcome: Result<Vec<Row>, NodeError>) -> Result<Rows, NodeError> {
        let before = self.table.checkpoint(self.index);
        let is_first = before.is_none();
        let outcome = outcome.and_then(|rows| Rows::new(rows, before));
        match &outcome {
            Ok(rows) => self.succeeded(&rows.node_state, is_first),
            Err(error) => self.failed(error),
        }
        outcome
    }

    fn with_projection<'a>(
        &'a self,
        params: Params<'a>,
    ) -> Vec<&'a (dyn tokio_postgres::types::ToSql + Sync)> {
        std::iter::once(&self.projection as _).chain(params.iter().copied()).collect()
    }
}

/// What the nodes of a pool share.
pub struct NodeCommon {
    /// The projection whose checkpoint is read with everything.
    pub projection: String,
    /// As in [`super::pool::PoolConfig`].
    pub connected_max: Duration,
    /// Where sightings are noted.
    pub table: Arc<NodeStateTable>,
    /// What ages are measured by.
    pub clock: Arc<WriteClock>,
    /// Where reads are counted.
    pub metrics: Metrics,
}
