//! One node: its connections, its circuit breaker, and what is counted of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use headwater_chassis::breaker::BreakerState;
use headwater_chassis::{Breaker, Delays, Load, Metrics};
use headwater_kernel::NodeRole;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connection::{Address, Lane, Params, run_pooled};
use super::statement::{Rows, Statement};
use crate::choice::{Cost, recovered};
use crate::seen::Answer;
use crate::seen::NodeError;
use crate::seen::NodeStateTables;
use crate::seen::{NodeMeters, role_name};
use crate::write_side::WriteClock;

/// Shared connections that carry a node's point reads, several statements in flight on each.
pub const LANES: usize = 2;

/// Failures in a row after which a node is ejected: one may be a connection that was cut,
/// three are the node.
const FAILURES_MAX: u32 = 3;
/// Time for which it then stays out before it is probed again.
const OUT_FOR: Delays =
    Delays { first: Duration::from_millis(100), max: Duration::from_secs(2), factor: 2.0 };
/// Time in which measured latency is replaced by newer. A node is probed all the time, so that it
/// need not be asked by a read to see whether it is quick again.
const LATENCY_MEMORY: Duration = Duration::from_secs(1);

/// One node of the pool.
pub struct Node {
    /// Place in the pool, and on the tables.
    pub index: usize,
    /// Host and port.
    pub name: String,
    /// Connections that are lent to one user at a time.
    pub(super) lent: Pool,
    /// Pool that the shared ones are taken from, so that they never wait for those that are lent.
    pub(super) shared: Pool,
    lanes: [Lane; LANES],
    pub(super) probes: Lane,
    pub(super) connected_max: Duration,
    breaker: Mutex<Breaker>,
    born: Instant,
    pub(super) load: Load,
    /// Moment at which it came into rotation last, in milliseconds from `born`.
    joined_ms: AtomicU64,
    /// True if it was last seen with another log than the write database's.
    stray: AtomicBool,
    pub(super) tables: Arc<NodeStateTables>,
    pub(super) clock: Arc<WriteClock>,
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
            // One more for the probes.
            shared: address.pool(LANES + 1)?,
            lanes: std::array::from_fn(|_| Lane::new(common.connected_max)),
            probes: Lane::new(common.connected_max),
            connected_max: common.connected_max,
            breaker: Mutex::new(Breaker::new(FAILURES_MAX, OUT_FOR)),
            born,
            load: Load::new(born.into_std(), LATENCY_MEMORY),
            joined_ms: AtomicU64::new(0),
            stray: AtomicBool::new(false),
            tables: Arc::clone(&common.tables),
            clock: Arc::clone(&common.clock),
            meters: NodeMeters::new(&common.metrics, &address.name),
        })
    }

    /// Cost of one more read.
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

    /// The connections that are lent.
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
        let params = statement.with_projection(params);
        let rows = run_pooled(&self.lent, statement.sql, &params).await;
        let rows = self.conclude(statement.projection, rows)?;
        Ok(Answer::new(rows.decode(statement)?, rows.node_state))
    }

    /// Runs a statement by key on a shared connection, among others that are in flight on it, and
    /// measures how long the node took: these are alike on all nodes. How long a list takes is the
    /// list's doing.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn query_shared<R>(
        &self,
        lane: usize,
        statement: &Statement<R>,
        params: Params<'_>,
    ) -> Result<Answer<Vec<R>>, NodeError> {
        let params = statement.with_projection(params);
        let begun = Instant::now();
        let rows = self.lanes[lane].run(&self.shared, statement.sql, &params).await;
        let rows = self.conclude(statement.projection, rows)?;
        self.load.answered(Instant::now().into_std(), begun.elapsed());
        Ok(Answer::new(rows.decode(statement)?, rows.node_state))
    }

    /// True if the circuit breaker lets a probe through.
    pub(super) fn admits_probe(&self) -> bool {
        let mut allowed = false;
        self.moved(|breaker| allowed = breaker.allows(Instant::now().into_std()));
        allowed
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
    pub(super) fn strays(&self, strays: bool) {
        let before = self.stray.swap(strays, Ordering::Relaxed);
        if strays && !before {
            tracing::warn!(
                node = self.name,
                "node ejected from load balancing: it holds another log"
            );
        }
    }

    /// A fresh database holds nothing before the projector's first checkpoint. That the query
    /// server was there first is the order of a start, not a fault.
    fn left(&self, error: &NodeError) {
        let was_read = self.tables.role(self.index).is_some();
        if !was_read && matches!(error, NodeError::Schema(_)) {
            tracing::info!(node = self.name, %error, "node is not in rotation yet");
        } else {
            tracing::warn!(node = self.name, %error, "node ejected from load balancing");
        }
    }

    /// Notes that the node answered, in this role; `is_first` if nothing was seen of it before.
    pub(super) fn succeeded(&self, role: NodeRole, is_first: bool) {
        let (before, after) = self.moved(|breaker| {
            let was_closed = breaker.state() == BreakerState::Closed;
            breaker.succeeded();
            // While the breaker is held: its slow start begins before it is in rotation.
            if is_first || (!was_closed && breaker.state() == BreakerState::Closed) {
                self.start_slowly();
            }
        });
        if before != BreakerState::Closed && after == BreakerState::Closed {
            let role = role_name(role);
            tracing::info!(node = self.name, role, "node returned to rotation, in slow start");
        }
    }

    /// Slow start of a node that comes into rotation: its errors are forgiven, and it gets its
    /// reads little by little.
    fn start_slowly(&self) {
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
            self.tables.usable(self.index, after == BreakerState::Closed);
        }
        (before, after)
    }

    /// Concludes a read of a projection: every outcome passes here, moves the breaker, and what is
    /// seen goes on the projection's table.
    pub(super) fn conclude(
        &self,
        projection: &str,
        outcome: Result<Vec<Row>, NodeError>,
    ) -> Result<Rows, NodeError> {
        let Some(table) = self.tables.of(projection) else {
            return Err(NodeError::defect(format_args!("{projection} is not served here")));
        };
        let before = table.checkpoint(self.index);
        let is_first = before.is_none() && self.tables.role(self.index).is_none();
        let outcome = outcome.and_then(|rows| Rows::new(rows, projection, before));
        match &outcome {
            Ok(rows) => {
                self.succeeded(rows.node_state.role, is_first);
                table.read(self.index, &rows.node_state);
            }
            Err(error) => {
                if matches!(error, NodeError::NoCheckpoint(_)) {
                    table.absent(self.index);
                }
                self.failed(error);
            }
        }
        outcome
    }
}

/// Shared parts of a pool's nodes.
pub struct NodeCommon {
    /// As in [`super::pool::PoolConfig`].
    pub connected_max: Duration,
    /// Tables of what is seen of the nodes.
    pub tables: Arc<NodeStateTables>,
    /// Clock that ages are measured by.
    pub clock: Arc<WriteClock>,
    /// Metrics of the process.
    pub metrics: Metrics,
}
