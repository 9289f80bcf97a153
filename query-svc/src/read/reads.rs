//! Reads as the adapters ask for them: by key, by statement, or in a transaction.

use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_edge::{Need, Policies};
use headwater_kernel::Access;

use super::ask::{Ask, PointAsk, RowsAsk, TransactionAsk};
use super::backend::Backend;
use super::need::ReadError;
use super::pipeline::Pipeline;
use super::waiting::WaitingPlaces;
use crate::nodes::{Key, LANES, Params, PointReader, ReadPool, Statement, Transaction};
use crate::seen::{Answer, NodeError, WaitMeters};
use crate::write_side::{LogEnds, Reading};

/// Calls that may wait for freshness at once, unless set otherwise. At 20,000 reads/s that all wait
/// out a replication lag of 20 ms, 400 wait; five times as many are a system that lags, whose reads
/// are better told so. Half of the calls that a server admits, and a quarter of a router's, so that
/// all of them together leave most of the places there to others. Each takes some KiB of memory.
pub const WAITING_MAX: u32 = 2_048;

/// Answers reads from the nodes of a pool.
#[derive(Clone)]
pub struct Reads {
    backend: Backend,
    policies: Arc<Policies>,
    ending: Shutdown,
}

impl Reads {
    /// Reads from the pool; none waits for freshness longer than `wait_max`, and no more than
    /// [`WAITING_MAX`] at once. Without a way to the log, and with no method's policy set.
    pub fn new(pool: Arc<ReadPool>, wait_max: Duration) -> Self {
        let meters = Arc::new(WaitMeters::new(pool.metrics()));
        let waiting = Arc::new(WaitingPlaces::new(WAITING_MAX, pool.metrics()));
        let backend = Backend { pool, log: LogEnds::unknown(), wait_max, waiting, meters };
        Self { backend, policies: Arc::default(), ending: Shutdown::new() }
    }

    /// The same, with so many that may wait at once.
    #[must_use]
    pub fn waiting(self, max: u32) -> Self {
        let waiting = Arc::new(WaitingPlaces::new(max, self.pool().metrics()));
        Self { backend: Backend { waiting, ..self.backend }, ..self }
    }

    /// The same, asking there for the end of the log.
    #[must_use]
    pub fn asking(self, log: LogEnds) -> Self {
        Self { backend: Backend { log, ..self.backend }, ..self }
    }

    /// The same; streams that have no end of their own end with this.
    #[must_use]
    pub fn until(self, ending: Shutdown) -> Self {
        Self { ending, ..self }
    }

    /// The end of streams that have none of their own.
    pub fn ending(&self) -> &Shutdown {
        &self.ending
    }

    /// The same, with what is set for each method.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies: Arc::new(policies), ..self }
    }

    /// Settings of each method.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The time that ages are measured by.
    pub fn time(&self) -> Reading {
        self.backend.time()
    }

    /// Waits in one of the places for that; `None` at once if none is free.
    pub async fn wait<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        self.backend.waiting.wait(wait).await
    }

    /// Where the log ends.
    pub fn log(&self) -> &LogEnds {
        &self.backend.log
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<ReadPool> {
        &self.backend.pool
    }

    /// A reader by key, for [`Reads::point`].
    pub fn reader<K: Key, R: Clone + Send + 'static>(
        &self,
        statement: &'static Statement<(K, R)>,
    ) -> PointReader<K, R> {
        // Statements take turns at the shared connections, so that a slow one holds up few others.
        let lane = self.pool().random_seed() % LANES;
        PointReader::start(self.pool().nodes(), lane, statement, self.pool().metrics())
    }

    /// The row with this key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn point<K: Key, R: Clone + Send + 'static>(
        &self,
        reader: &PointReader<K, R>,
        key: K,
        need: &Need,
    ) -> Result<Answer<Option<R>>, ReadError> {
        self.read(need, PointAsk { reader, key }).await
    }

    /// The rows of a statement; `params` follow the projection's name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn rows<R: Send>(
        &self,
        statement: &Statement<R>,
        params: Params<'_>,
        need: &Need,
    ) -> Result<Answer<Vec<R>>, ReadError> {
        self.read(need, RowsAsk { statement, params }).await
    }

    /// Answer of `work`, which reads by several statements, all of one projection and in one
    /// snapshot that is as fresh as needed. `access` alone chooses the node: read-only a replica,
    /// or the primary in its place as with any other read; read-write the primary, where the role
    /// that queries log in with may write nothing. A read-only transaction that is cancelled, or
    /// whose node fails, is done again on another node.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn transaction<T, W, F>(
        &self,
        access: Access,
        projection: &'static str,
        need: &Need,
        work: W,
    ) -> Result<Answer<T>, ReadError>
    where
        T: Send,
        W: Fn(Transaction) -> F + Sync,
        F: Future<Output = Result<T, NodeError>> + Send,
    {
        self.read(need, TransactionAsk { access, projection, work }).await
    }

    async fn read<T>(&self, need: &Need, ask: impl Ask<T>) -> Result<Answer<T>, ReadError> {
        let projection = ask.projection();
        let Some(table) = self.pool().tables().of(projection) else {
            let error = NodeError::defect(format_args!("{projection} is not served here"));
            return Err(ReadError::Defect(error));
        };
        Pipeline::begin(&self.backend, table, ask.access(), need).run(need, &ask).await
    }
}
