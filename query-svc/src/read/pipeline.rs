//! The pipeline of one read: pick -> ask -> judge -> reply, wait, or go on to the read primary, and
//! at last the freshest there is, for whoever takes that.

use headwater_edge::{Need, Required};
use headwater_kernel::{Access, Consistency, Token, Tokens};
use tokio::time::{Instant, sleep, timeout_at};

use super::ask::{Ask, Gate};
use super::backend::Backend;
use super::need::{Best, ReadError};
use super::progress::{ASK_AGAIN_AFTER, AttemptError, Progress, Waited};
use crate::choice::{Choice, best_on_offer, fallbacks, freshest, shown};
use crate::nodes::{Node, RETRY_AFTER};
use crate::seen::{Answer, Awaited, NodeError, NodeSeen, NodeSet, NodeState, NodeStateTable};
use crate::write_side::{EndError, is_beyond};

/// Statements or transactions sent for one read at most. Each is a node that failed or went back;
/// with more, the pool is in trouble and the client's own retry comes later and better.
const ATTEMPTS_MAX: u32 = 4;

/// A read under way.
pub struct Pipeline<'r> {
    pub(super) backend: &'r Backend,
    /// States of the nodes for the projection that is read.
    pub(super) table: &'r NodeStateTable,
    pub(super) progress: Progress,
    access: Access,
}

impl<'r> Pipeline<'r> {
    /// A read of one projection that has tried nothing yet.
    pub fn begin(
        backend: &'r Backend,
        table: &'r NodeStateTable,
        access: Access,
        need: &Need,
    ) -> Self {
        let progress = Progress::begin(backend.wait_max, need.time_left);
        Self { backend, table, progress, access }
    }

    /// Runs it to its answer.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn run<T>(mut self, need: &Need, ask: &impl Ask<T>) -> Result<Answer<T>, ReadError> {
        let outcome = match &need.required {
            Required::State(required) => self.fresh(required.clone(), ask).await,
            Required::Seen(tokens) => self.at_least(tokens, ask).await,
            Required::LogEnd => self.strong(ask).await,
        };
        let takes_older = need.or_stale && self.access == Access::ReadOnly;
        match outcome {
            Err(error) if takes_older && error.may_be_stale() => {
                self.freshest(&need.required, ask).await.ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Everything: at least the end of the log, looked at after the read arrived.
    async fn strong<T>(&mut self, ask: &impl Ask<T>) -> Result<Answer<T>, ReadError> {
        let backend = self.backend;
        let asked = timeout_at(self.progress.until, self.log_end());
        let Some(end) = backend.waiting.wait(asked).await else { return Err(self.no_place()) };
        let silent = |_| EndError::Unavailable("no answer in time".into());
        let unknown = |cause, best| ReadError::NoLogEnd { cause, best };
        let end = end.map_err(silent).flatten();
        let required = Consistency::AtLeast(end.map_err(|cause| unknown(cause, self.best()))?);
        // The token is the log's own: there is nobody left to ask whether it made it.
        self.progress.in_tokens_epoch = true;
        self.progress.ask_log_at = None;
        match self.fresh(required, ask).await {
            // The client has sent no token that could be refused.
            Err(ReadError::Foreign | ReadError::Lost) => {
                Err(unknown(EndError::OtherLog, self.best()))
            }
            outcome => outcome,
        }
    }

    /// The end of the log, not of an earlier epoch than the nodes show: that is where a server ends
    /// which was replaced and does not know.
    async fn log_end(&self) -> Result<Token, EndError> {
        loop {
            let end = self.backend.log.ask().await?.token;
            let is_past = |(log, epoch)| log == end.log && epoch > end.epoch;
            if !self.table.look(shown).is_some_and(is_past) {
                return Ok(end);
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Everything that these tokens prove.
    async fn at_least<T>(
        &mut self,
        tokens: &Tokens,
        ask: &impl Ask<T>,
    ) -> Result<Answer<T>, ReadError> {
        let token = match tokens.only() {
            Some(token) => token.clone(),
            None => self.settle(tokens).await?,
        };
        self.fresh(Consistency::AtLeast(token), ask).await
    }

    /// At least as fresh as required.
    async fn fresh<T>(
        &mut self,
        mut required: Consistency,
        ask: &impl Ask<T>,
    ) -> Result<Answer<T>, ReadError> {
        loop {
            match self.pick(&required) {
                Choice::Read(node) => {
                    if let Some(answer) = self.attempt(node, &required, ask).await? {
                        return Ok(answer);
                    }
                }
                Choice::Fallback(node) => {
                    self.progress.spend_permit();
                    if let Some(answer) = self.attempt(node, &required, ask).await? {
                        return Ok(answer);
                    }
                }
                Choice::Wait => match self.wait(&required).await {
                    Waited::Expired => return Err(self.expire()),
                    Waited::Full => return Err(self.no_place()),
                    Waited::BeyondLog => return Err(self.beyond_log()),
                    Waited::Satisfied | Waited::SatisfiedLate | Waited::Refused => {}
                },
                Choice::Refused => return Err(self.expire()),
                Choice::Earlier(token) => {
                    required = Consistency::AtLeast(self.settle(&Tokens::from(token)).await?);
                }
                Choice::Later(token) => self.later_epoch(&token).await?,
                Choice::Foreign => return Err(ReadError::Foreign),
            }
        }
    }

    /// The freshest answer there is, marked if it is older than required; `None` if no node
    /// answers.
    async fn freshest<T>(&self, required: &Required, ask: &impl Ask<T>) -> Option<Answer<T>> {
        let mut avoided = NodeSet::default();
        for _ in 0..ATTEMPTS_MAX {
            let look = |seen: &[NodeSeen]| Some((freshest(seen, avoided)?, fallbacks(seen)));
            let (node, fallbacks) = self.table.look(look)?;
            if fallbacks.contains(node) {
                match self.backend.pool.fallback_limiter().ask(Instant::now()) {
                    Ok(mut permit) => permit.spend(),
                    Err(_) => {
                        avoided.insert(node);
                        continue;
                    }
                }
            }
            let node = &*self.backend.pool.nodes()[node];
            if let Ok(mut answer) = self.send(node, &Consistency::Any, ask).await {
                answer.stale = !self.shows(&answer.node_state.checkpoint, required);
                return Some(answer);
            }
            avoided.insert(node.index);
        }
        None
    }

    /// Chooses a node. Where the read primary is chosen in the place of replicas for the first
    /// time, a permit is asked for, and the choice made again with what came of that.
    fn pick(&mut self, required: &Consistency) -> Choice {
        let choice = self.pick_once(required);
        if matches!(choice, Choice::Fallback(_)) && self.progress.needs_permit() {
            self.progress.ask_permit(self.backend.pool.fallback_limiter());
            return self.pick_once(required);
        }
        choice
    }

    fn pick_once(&self, required: &Consistency) -> Choice {
        let pool = &self.backend.pool;
        let (time, seed) = (self.backend.time(), pool.random_seed());
        let request = self.progress.pick_request(self.access, required, time, seed);
        pool.pick(self.table, &request)
    }

    /// One attempt on one node; `None` if another one has to be made.
    async fn attempt<T>(
        &mut self,
        node: usize,
        required: &Consistency,
        ask: &impl Ask<T>,
    ) -> Result<Option<Answer<T>>, ReadError> {
        let node = &*self.backend.pool.nodes()[node];
        match self.send(node, required, ask).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(missed) => self.progress.missed(node.index, missed)?,
        }
        match self.progress.attempts < ATTEMPTS_MAX {
            true => Ok(None),
            false => Err(self.give_up()),
        }
    }

    /// Sends it to a node, counted in the node's load and metrics.
    async fn send<T>(
        &self,
        node: &Node,
        required: &Consistency,
        ask: &impl Ask<T>,
    ) -> Result<Answer<T>, AttemptError> {
        let gate = Gate { table: self.table, required, clock: self.backend.pool.clock() };
        let in_flight = node.begin();
        let answer = ask.ask(node, &gate).await;
        drop(in_flight);
        if let Err(AttemptError::Failed(error) | AttemptError::Final(error)) = &answer {
            node.meters().failed(self.table.role(node.index), error);
        }
        answer
    }

    /// Waits in a place for that until there is a node to read from. Where no place is left it goes
    /// to the read primary at once, if that will do.
    async fn wait(&mut self, required: &Consistency) -> Waited {
        let begun = Instant::now();
        let backend = self.backend;
        let waited = match backend.waiting.wait(self.wait_in_time(required)).await {
            Some(waited) => waited,
            None if self.progress.no_patience(begun) => Waited::SatisfiedLate,
            None => Waited::Full,
        };
        backend.meters.waited(waited.label(), begun.elapsed());
        waited
    }

    async fn wait_in_time(&mut self, required: &Consistency) -> Waited {
        let mut waiter = self.table.wait(self.awaited(required));
        loop {
            // Pick again after each change, the first time because something may have changed
            // before the waiter was there to see it.
            self.progress.avoided = NodeSet::default();
            let now = Instant::now();
            match self.pick(required) {
                Choice::Refused => return Waited::Refused,
                Choice::Wait if now >= self.progress.until => return Waited::Expired,
                Choice::Wait => {}
                Choice::Read(_)
                | Choice::Fallback(_)
                | Choice::Earlier(_)
                | Choice::Later(_)
                | Choice::Foreign => return self.progress.satisfied(now),
            }
            if self.progress.ask_log_at.take_if(|at| *at <= now).is_some()
                && self.is_beyond_log(required).await
            {
                return Waited::BeyondLog;
            }
            // Whether woken or not: look again.
            let _ = timeout_at(self.progress.next_stage(), waiter.changed()).await;
            if matches!(required, Consistency::MaxStaleness(_)) {
                // What is young enough has become another time meanwhile.
                waiter = self.table.wait(self.awaited(required));
            }
        }
    }

    /// Change of a node that can end the wait.
    fn awaited(&self, required: &Consistency) -> Awaited {
        match required {
            Consistency::Any => Awaited::OtherNode,
            Consistency::AtLeast(token) => Awaited::Token(token.clone()),
            Consistency::MaxStaleness(limit) => Awaited::AsOf(self.backend.time().now - *limit),
        }
    }

    /// True if the log, looked at after the read arrived, does not go as far as required. If it
    /// cannot be asked, it may.
    async fn is_beyond_log(&self, required: &Consistency) -> bool {
        let Consistency::AtLeast(token) = required else { return false };
        let end = self.backend.log.since(self.progress.begun);
        let end = timeout_at(self.progress.until, end).await;
        matches!(end, Ok(Ok(end)) if is_beyond(token, &end))
    }

    /// Every attempt failed.
    fn give_up(&mut self) -> ReadError {
        match self.progress.error.take() {
            Some(NodeError::Busy) => ReadError::Overloaded { retry_after: RETRY_AFTER },
            Some(error) => ReadError::NoNode(Some(error)),
            None => self.expire(),
        }
    }

    /// No node became fresh enough, or none could be read from at all, or the read primary takes
    /// over no more.
    pub(super) fn expire(&mut self) -> ReadError {
        if let Some(retry_after) = self.progress.refused() {
            let best = self.best_of(|seen| best_on_offer(seen, fallbacks(seen)).cloned());
            return ReadError::FallbackLimited { retry_after, best };
        }
        match self.best() {
            Some(best) => ReadError::NotFreshEnough(best),
            None => ReadError::NoNode(self.progress.error.take()),
        }
    }

    /// Too many calls wait already.
    pub(super) fn no_place(&mut self) -> ReadError {
        let error = self.progress.error.take();
        self.best().map_or(ReadError::NoNode(error), ReadError::TooManyWait)
    }

    /// The log does not go as far as required.
    fn beyond_log(&self) -> ReadError {
        self.best().map_or(ReadError::NoNode(None), ReadError::BeyondLog)
    }

    fn best(&self) -> Option<Best> {
        self.best_of(|seen| best_on_offer(seen, NodeSet::default()).cloned())
    }

    fn best_of(&self, best: impl FnOnce(&[NodeSeen]) -> Option<NodeState>) -> Option<Best> {
        let node_state = self.table.look(best)?;
        let age = node_state.checkpoint.freshness.staleness(self.backend.time().now);
        Some(Best { node_state, age })
    }
}
