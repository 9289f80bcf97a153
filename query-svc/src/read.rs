//! The pipeline of a query: pick -> read rows and checkpoint in one statement -> judge -> reply,
//! wait, or go on to the read primary, and at last the freshest there is, for whoever takes that.
//! Knows no domain.

mod epochs;
mod need;
mod progress;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_kernel::{Consistency, Tokens};
use tokio::time::{Instant, timeout_at};

use crate::choice::{Choice, best_on_offer, fallbacks, freshest};
use crate::choice::{Verdict, judge};
use crate::nodes::Params;
use crate::nodes::ReadPool;
use crate::nodes::Statement;
use crate::nodes::{Key, PointReader, RETRY_AFTER};
use crate::nodes::{LANES, Node};
use crate::seen::NodeError;
use crate::seen::NodeSet;
use crate::seen::WaitMeters;
use crate::seen::{Answer, NodeSeen, NodeState};
use crate::write_side::Reading;
use crate::write_side::{EndError, LogEnds};
pub use epochs::Standing;
use headwater_edge::{Need, Policies, Required};
pub use need::{Best, ReadError};
use progress::{AttemptError, Progress};
pub use transaction::AccessMode;

/// Statements sent for one read at most. Each is a node that failed or went back; with more, the
/// pool is in trouble and the client's own retry comes later and better.
const ATTEMPTS_MAX: u32 = 4;

/// Answers reads from the nodes of a pool.
#[derive(Clone)]
pub struct Reads {
    pool: Arc<ReadPool>,
    wait_max: Duration,
    log: LogEnds,
    policies: Arc<Policies>,
    meters: Arc<WaitMeters>,
    ending: Shutdown,
}

impl Reads {
    /// Reads from the pool; none waits for freshness longer than `wait_max`. Without a way to the
    /// log, and with no method's policy set.
    pub fn new(pool: Arc<ReadPool>, wait_max: Duration) -> Self {
        let meters = Arc::new(WaitMeters::new(pool.metrics()));
        let (log, policies) = (LogEnds::unknown(), Arc::default());
        Self { pool, wait_max, log, policies, meters, ending: Shutdown::new() }
    }

    /// Asks there for the end of the log.
    #[must_use]
    pub fn asking(self, log: LogEnds) -> Self {
        Self { log, ..self }
    }

    /// Streams that have no end of their own end with this.
    #[must_use]
    pub fn until(self, ending: Shutdown) -> Self {
        Self { ending, ..self }
    }

    /// When streams have to end.
    pub fn ending(&self) -> &Shutdown {
        &self.ending
    }

    /// With what is set for each method.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies: Arc::new(policies), ..self }
    }

    /// What is set for each method.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The time that ages are measured by.
    pub fn time(&self) -> Reading {
        self.pool.clock().read()
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
        let lane = self.pool.random_seed() % LANES;
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
        let outcome = match &need.required {
            Required::State(required) => self.fresh(required.clone(), &mut progress, &ask).await,
            Required::Seen(tokens) => self.at_least(tokens, &mut progress, &ask).await,
            Required::LogEnd => self.strong(&mut progress, &ask).await,
        };
        match outcome {
            Err(
                error @ (ReadError::Stale(_)
                | ReadError::NoLogEnd { .. }
                | ReadError::ShareSpent { .. }),
            ) if need.or_stale => self.freshest(&need.required, &ask).await.ok_or(error),
            outcome => outcome,
        }
    }

    /// Everything: at least the end of the log, looked at after the read arrived.
    async fn strong<'s, T, A, F>(
        &'s self,
        progress: &mut Progress,
        ask: &A,
    ) -> Result<Answer<T>, ReadError>
    where
        A: Fn(&'s Node) -> F,
        F: Future<Output = Result<Answer<T>, NodeError>>,
    {
        let silent = |_| EndError::Unavailable("no answer in time".into());
        let end = timeout_at(progress.until, self.log.ask()).await.map_err(silent).flatten();
        let unknown = |cause| ReadError::NoLogEnd { cause, best: self.best() };
        let required = Consistency::AtLeast(end.map_err(unknown)?.token);
        progress.in_tokens_epoch = true;
        match self.fresh(required, progress, ask).await {
            // The client has sent no token that could be refused.
            Err(ReadError::Foreign | ReadError::Lost) => Err(unknown(EndError::OtherLog)),
            outcome => outcome,
        }
    }

    /// Everything that these tokens prove.
    async fn at_least<'s, T, A, F>(
        &'s self,
        tokens: &Tokens,
        progress: &mut Progress,
        ask: &A,
    ) -> Result<Answer<T>, ReadError>
    where
        A: Fn(&'s Node) -> F,
        F: Future<Output = Result<Answer<T>, NodeError>>,
    {
        let token = match tokens.only() {
            Some(token) => token.clone(),
            None => self.settle(tokens, progress).await?,
        };
        self.fresh(Consistency::AtLeast(token), progress, ask).await
    }

    /// At least as fresh as required.
    async fn fresh<'s, T, A, F>(
        &'s self,
        mut required: Consistency,
        progress: &mut Progress,
        ask: &A,
    ) -> Result<Answer<T>, ReadError>
    where
        A: Fn(&'s Node) -> F,
        F: Future<Output = Result<Answer<T>, NodeError>>,
    {
        loop {
            match self.pick(&required, progress) {
                choice @ (Choice::Read(node) | Choice::Fallback(node)) => {
                    if matches!(choice, Choice::Fallback(_)) {
                        progress.take_turn();
                    }
                    let node = &*self.pool.nodes()[node];
                    match self.attempt(node, &required, ask(node)).await {
                        Ok(answer) => return Ok(answer),
                        Err(missed) => progress.missed(node.index, missed)?,
                    }
                    if progress.attempts >= ATTEMPTS_MAX {
                        return Err(self.give_up(progress));
                    }
                }
                Choice::Wait => {
                    if !self.wait(progress, &required).await {
                        return Err(self.expire(progress));
                    }
                }
                Choice::Refused => return Err(self.expire(progress)),
                Choice::Earlier => {
                    if let Consistency::AtLeast(token) = required {
                        let settled = self.settle(&Tokens::from(token), progress).await?;
                        required = Consistency::AtLeast(settled);
                    }
                }
                Choice::Later => {
                    if let Consistency::AtLeast(token) = &required {
                        self.later_epoch(token, progress).await?;
                    }
                }
                Choice::Foreign => return Err(ReadError::Foreign),
            }
        }
    }

    /// The freshest answer there is, marked if it is older than required; `None` if no node
    /// answers.
    async fn freshest<'s, T, A, F>(&'s self, required: &Required, ask: &A) -> Option<Answer<T>>
    where
        A: Fn(&'s Node) -> F,
        F: Future<Output = Result<Answer<T>, NodeError>>,
    {
        let mut avoided = NodeSet::default();
        for _ in 0..ATTEMPTS_MAX {
            let table = self.pool.table();
            let (node, fallbacks) =
                table.look(|seen| Some((freshest(seen, avoided)?, fallbacks(seen))))?;
            if fallbacks.contains(node) {
                match self.pool.share().ask(Instant::now()) {
                    Ok(mut turn) => turn.take(),
                    Err(_) => {
                        avoided.insert(node);
                        continue;
                    }
                }
            }
            let node = &*self.pool.nodes()[node];
            if let Ok(mut answer) = self.attempt(node, &Consistency::Any, ask(node)).await {
                answer.stale = !self.shows(&answer.node_state.checkpoint, required);
                return Some(answer);
            }
            avoided.insert(node.index);
        }
        None
    }

    /// Where the read primary is chosen in the place of replicas, the read has its turn there.
    fn pick(&self, required: &Consistency, progress: &mut Progress) -> Choice {
        loop {
            let request = progress.pick_request(required, self.time(), self.pool.random_seed());
            match self.pool.pick(&request) {
                Choice::Fallback(_) if progress.ask(self.pool.share()) => {}
                choice => return choice,
            }
        }
    }

    /// One statement on one node.
    async fn attempt<T>(
        &self,
        node: &Node,
        required: &Consistency,
        answer: impl Future<Output = Result<Answer<T>, NodeError>>,
    ) -> Result<Answer<T>, AttemptError> {
        let in_flight = node.begin();
        let answer = answer.await;
        drop(in_flight);
        match answer {
            Ok(answer) => {
                let shown = &answer.node_state;
                let verdict = match self.pool.table().is_stray(&shown.checkpoint) {
                    true => Verdict::OtherLog,
                    false => judge(&shown.checkpoint, required, self.time().now),
                };
                node.meters().answered(shown.role, verdict == Verdict::Fresh);
                if verdict == Verdict::Fresh {
                    return Ok(answer);
                }
                // What was seen before promised more than this: the node went back. Which log is
                // the right one, should it be another, is decided where all nodes are in sight.
                self.pool.table().corrected(node.index, shown);
                Err(AttemptError::TooOld)
            }
            Err(error) => {
                let role = self
                    .pool
                    .table()
                    .look(|seen| seen[node.index].node_state.as_ref().map(|seen| seen.role));
                node.meters().failed(role, &error);
                Err(AttemptError::Failed(error))
            }
        }
    }

    /// Waits until there is a node to read from; false if there was none in time.
    async fn wait(&self, progress: &mut Progress, required: &Consistency) -> bool {
        let begun = Instant::now();
        let mut waiter = self.pool.table().wait();
        let outcome = loop {
            // Pick again after each change, the first time because something may have changed
            // before the waiter was there to see it.
            progress.avoided = NodeSet::default();
            let now = Instant::now();
            match self.pick(required, progress) {
                Choice::Refused => break "refused",
                Choice::Wait if now >= progress.until => break "expired",
                Choice::Wait => {}
                Choice::Read(_)
                | Choice::Fallback(_)
                | Choice::Earlier
                | Choice::Later
                | Choice::Foreign => {
                    break if now < progress.primary_from { "satisfied" } else { "satisfied_late" };
                }
            }
            // Whether woken or not: look again.
            let _ = timeout_at(progress.next_stage(), waiter.changed()).await;
        };
        self.meters.waited(outcome, begun.elapsed());
        outcome != "expired"
    }

    /// Every attempt failed.
    fn give_up(&self, progress: &mut Progress) -> ReadError {
        match progress.error.take() {
            Some(NodeError::Busy) => ReadError::Overloaded { retry_after: RETRY_AFTER },
            Some(error) => ReadError::NoNode(Some(error)),
            None => self.expire(progress),
        }
    }

    /// No node became fresh enough, or none could be read from at all, or the read primary takes
    /// over no more.
    fn expire(&self, progress: &mut Progress) -> ReadError {
        if let Some(retry_after) = progress.refused() {
            let best = self.best_of(|seen| best_on_offer(seen, fallbacks(seen)).cloned());
            return ReadError::ShareSpent { retry_after, best };
        }
        match self.best() {
            Some(best) => ReadError::Stale(best),
            None => ReadError::NoNode(progress.error.take()),
        }
    }

    fn best(&self) -> Option<Best> {
        self.best_of(|seen| best_on_offer(seen, NodeSet::default()).cloned())
    }

    fn best_of(&self, best: impl FnOnce(&[NodeSeen]) -> Option<NodeState>) -> Option<Best> {
        let node_state = self.pool.table().look(best)?;
        let age = node_state.checkpoint.freshness.staleness(self.time().now);
        Some(Best { node_state, age })
    }
}
