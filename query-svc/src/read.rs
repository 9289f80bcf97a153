//! The pipeline of a query: pick -> read rows and checkpoint in one statement -> judge -> reply,
//! wait, or go on to the read primary. Knows no domain.

use std::sync::Arc;
use std::time::Duration;

use headwater_kernel::Consistency;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use crate::coalesce::{Key, PointReader, RETRY_AFTER};
use crate::judge::{Verdict, judge};
use crate::meters::WaitMeters;
use crate::node::connection::Params;
use crate::node::{LANES, Node};
use crate::node_error::NodeError;
use crate::pick::{Choice, NodeSet, Wish, best_on_offer};
use crate::pool::ReadPool;
use crate::sighting::{Answer, NodeSeen, Sighting};
use crate::statement::Statement;

/// Statements sent for one read at most. Each is a node that failed or went back; with more, the
/// pool is in trouble and the client's own retry comes later and better.
const ATTEMPTS_MAX: u32 = 4;
/// How long a read waits for a replica before it may go to the read primary. Replication takes
/// milliseconds; what takes longer than this may take for ever.
const REPLICA_PATIENCE: Duration = Duration::from_millis(100);

/// What a read requires.
#[derive(Clone, Debug)]
pub struct Need {
    /// The freshness.
    pub consistency: Consistency,
    /// Time that the client leaves for the reply.
    pub time_left: Option<Duration>,
}

/// Why a read was not answered.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The token is of another log, or from before a restore.
    #[error("the token is of another log")]
    Foreign,
    /// No node became fresh enough in time.
    #[error("no node became fresh enough in time")]
    Stale {
        /// The freshest state that there was.
        best: Sighting,
    },
    /// No node could be read from in time.
    #[error("no node can be read from")]
    NoNode(#[source] Option<NodeError>),
    /// Too many reads at once, or one that takes too long.
    #[error("too much to read")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// A mistake of ours.
    #[error("a statement is wrong")]
    Defect(#[source] NodeError),
}

/// Answers reads from the nodes of a pool.
#[derive(Clone)]
pub struct Reads {
    pool: Arc<ReadPool>,
    wait_max: Duration,
    meters: Arc<WaitMeters>,
}

/// What an attempt came to, if not to a reply.
enum Missed {
    /// An answer that was not fresh enough, or of another log.
    TooOld,
    /// No answer.
    Failed(NodeError),
}

/// How a read stands that was not answered at once.
struct Progress {
    /// When waiting has been long enough.
    until: Instant,
    /// When the read primary will do, too.
    primary_from: Instant,
    attempts: u32,
    avoided: NodeSet,
    /// What the last node said.
    error: Option<NodeError>,
}

impl Reads {
    /// Reads from the pool; none waits for freshness longer than `wait_max`.
    pub fn new(pool: Arc<ReadPool>, wait_max: Duration) -> Self {
        let meters = Arc::new(WaitMeters::new(pool.metrics()));
        Self { pool, wait_max, meters }
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<ReadPool> {
        &self.pool
    }

    /// A reader by key, for [`Reads::point`].
    pub fn reader<K: Key, R: Clone + Send + 'static>(
        &self,
        statement: &'static Statement<(K, R)>,
    ) -> PointReader<K, R> {
        // Statements take turns at the shared connections, so that a slow one holds up few others.
        let lane = self.pool.spin() % LANES;
        PointReader::start(self.pool.nodes(), lane, statement, self.pool.metrics())
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
        self.read(need, |node| reader.ask(node.index, key.clone())).await
    }

    /// The rows of a statement; `params` follow the projection's name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn rows<R>(
        &self,
        statement: &Statement<R>,
        params: Params<'_>,
        need: &Need,
    ) -> Result<Answer<Vec<R>>, ReadError> {
        self.read(need, |node| node.query(statement, params)).await
    }

    /// The pipeline; `ask` sends the statement to a node.
    async fn read<'s, T, A, F>(&'s self, need: &Need, ask: A) -> Result<Answer<T>, ReadError>
    where
        A: Fn(&'s Node) -> F,
        F: Future<Output = Result<Answer<T>, NodeError>>,
    {
        let mut progress = Progress::begin(self.wait_max, need.time_left);
        loop {
            match self.pool.pick(&progress.wish(&need.consistency, self.pool.spin())) {
                Choice::Read(node) => {
                    let node = &*self.pool.nodes()[node];
                    match self.attempt(node, &need.consistency, ask(node)).await {
                        Ok(answer) => return Ok(answer),
                        Err(missed) => progress.missed(node.index, missed)?,
                    }
                    if progress.attempts >= ATTEMPTS_MAX {
                        return Err(self.give_up(progress.error));
                    }
                }
                Choice::Wait => {
                    if !self.wait(&mut progress, need).await {
                        return Err(self.expire(progress.error));
                    }
                }
                Choice::Foreign => return Err(ReadError::Foreign),
            }
        }
    }

    /// One statement on one node.
    async fn attempt<T>(
        &self,
        node: &Node,
        required: &Consistency,
        answer: impl Future<Output = Result<Answer<T>, NodeError>>,
    ) -> Result<Answer<T>, Missed> {
        let in_flight = node.begin();
        let answer = answer.await;
        drop(in_flight);
        match answer {
            Ok(answer) => {
                let shown = &answer.sighting;
                let verdict = judge(&shown.checkpoint, required, OffsetDateTime::now_utc());
                node.meters().answered(shown.role, verdict == Verdict::Fresh);
                if verdict == Verdict::Fresh {
                    return Ok(answer);
                }
                // What was seen before promised more than this: the node went back. Which log is
                // the right one, should it be another, is decided where all nodes are in sight.
                self.pool.board().corrected(node.index, shown);
                Err(Missed::TooOld)
            }
            Err(error) => {
                let role = self
                    .pool
                    .board()
                    .look(|seen| seen[node.index].sighting.as_ref().map(|seen| seen.role));
                node.meters().failed(role, &error);
                Err(Missed::Failed(error))
            }
        }
    }

    /// Waits until there is a node to read from; false if there was none in time.
    async fn wait(&self, progress: &mut Progress, need: &Need) -> bool {
        let begun = Instant::now();
        let mut waiter = self.pool.board().wait();
        let found = loop {
            // Pick again after each change, the first time because something may have changed
            // before the waiter was there to see it.
            progress.avoided = NodeSet::default();
            match self.pool.pick(&progress.wish(&need.consistency, self.pool.spin())) {
                Choice::Read(_) | Choice::Foreign => break true,
                Choice::Wait if Instant::now() >= progress.until => break false,
                Choice::Wait => {}
            }
            // Whether woken or not: look again.
            let _ = timeout_at(progress.next_stage(), waiter.changed()).await;
        };
        let outcome = match found {
            true if Instant::now() < progress.primary_from => "satisfied",
            true => "satisfied_late",
            false => "expired",
        };
        self.meters.waited(outcome, begun.elapsed());
        found
    }

    /// Every attempt failed.
    fn give_up(&self, error: Option<NodeError>) -> ReadError {
        match error {
            Some(NodeError::Busy) => ReadError::Overloaded { retry_after: RETRY_AFTER },
            Some(error) => ReadError::NoNode(Some(error)),
            None => self.expire(None),
        }
    }

    /// No node became fresh enough, or none could be read from at all.
    fn expire(&self, error: Option<NodeError>) -> ReadError {
        let best = |seen: &[NodeSeen]| best_on_offer(seen).cloned();
        match self.pool.board().look(best) {
            Some(best) => ReadError::Stale { best },
            None => ReadError::NoNode(error),
        }
    }
}

impl Progress {
    fn begin(wait_max: Duration, time_left: Option<Duration>) -> Self {
        let now = Instant::now();
        // The rest of the client's time is for the reply: an answer that says what is missing is
        // worth more than a deadline exceeded.
        let left = time_left.map_or(wait_max, |left| wait_max.min(left.mul_f64(0.9)));
        Self {
            until: now + left,
            primary_from: now + REPLICA_PATIENCE.min(left / 2),
            attempts: 0,
            avoided: NodeSet::default(),
            error: None,
        }
    }

    fn wish<'a>(&self, consistency: &'a Consistency, spin: usize) -> Wish<'a> {
        Wish {
            consistency,
            avoided: self.avoided,
            primary_too: Instant::now() >= self.primary_from,
            now: OffsetDateTime::now_utc(),
            spin,
        }
    }

    /// The next moment at which more becomes possible, or nothing any more.
    fn next_stage(&self) -> Instant {
        if Instant::now() < self.primary_from { self.primary_from } else { self.until }
    }

    /// Counts an attempt, and avoids its node from now on.
    fn missed(&mut self, node: usize, missed: Missed) -> Result<(), ReadError> {
        self.attempts += 1;
        self.avoided.insert(node);
        match missed {
            Missed::TooOld => self.error = None,
            Missed::Failed(error) if error.try_elsewhere() => self.error = Some(error),
            Missed::Failed(NodeError::TooSlow) => {
                return Err(ReadError::Overloaded { retry_after: RETRY_AFTER });
            }
            Missed::Failed(error) => return Err(ReadError::Defect(error)),
        }
        Ok(())
    }
}
