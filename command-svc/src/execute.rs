//! The path of a command, in two tasks. The request's own task, here: check the token, load and
//! fold the state, queue the command, wait for its answer, and for those who ask for it, until the
//! read side shows it. The partition's task, in [`crate::appender`]: decide on the newest state,
//! append the batch, answer.

use std::any::{TypeId, type_name};
use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::{Backoff, Delays, Metrics};
use headwater_edge::{ErrorReason, Failure};
use headwater_eventlog::{EventLog, Receipt};
use headwater_kernel::boundary::{ITEMS_MAX, QueryItem};
use headwater_kernel::envelope::is_tag;
use headwater_kernel::{
    Aggregate, Context, DecisionModel, DecodeError, Partition, StreamId, StreamVersion, Token,
};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::acks::{Acked, Acks};
use crate::across::Across;
use crate::appender::{Shared, Task};
use crate::boundaries::Boundaries;
use crate::config::Limits;
use crate::decide::{BoundaryKey, Decider, StateKey, Typed, VersionedState, caught};
use crate::folding::{Fold, FoldError, Folding};
use crate::housekeeping::SnapshotSink;
use crate::loader::{LoadError, Loader};
use crate::measure::Measures;
use crate::places::Places;
use crate::plan::Job;
use crate::reply::{
    Answer, AppendError, OVERLOAD_RETRY, failure, other_history, outcome_unknown, overloaded,
    version_conflict,
};
use crate::seen;
use crate::states::States;
use crate::supervisor::Supervisor;
use headwater_edge::Call;

/// Attempts of a command whose stream others keep changing. Each one lost means that another
/// command won.
pub(crate) const ATTEMPTS_MAX: u32 = 20;
pub(crate) const ATTEMPT_DELAYS: Delays =
    Delays { first: Duration::from_millis(2), max: Duration::from_millis(100), factor: 1.6 };

/// Carries out commands on one log.
pub struct Executor {
    pub(crate) log: EventLog,
    loader: Loader,
    boundaries: Boundaries,
    pub(crate) states: States,
    queues: Vec<mpsc::Sender<Job>>,
    pub(crate) measures: Arc<Measures>,
    pub(crate) acks: Acks,
    /// Room for commands that come many in one call.
    pub(crate) places: Places,
    /// Bytes of one command among many.
    pub(crate) command_bytes_max: usize,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    supervisor: Supervisor,
}

/// Begins the fold of a stream, on an older state of it if there is one.
type BeginFold = fn(Option<&VersionedState>) -> Box<dyn Fold>;

fn begin<A: Aggregate>(older: Option<&VersionedState>) -> Box<dyn Fold> {
    Box::new(Folding::<A>::on(older))
}

/// A command that has been read and checked: it takes a state to submit it, once or again.
pub(crate) struct Attempt {
    pub call: Call,
    partition: Partition,
    command_id: Uuid,
    decider: Arc<dyn Decider>,
}

/// A command that has been applied.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Place of the command's effect in the log.
    pub receipt: Receipt,
    /// Proof of it, and of everything the sender had seen before.
    pub token: Token,
    /// True if an earlier attempt with the same key applied it.
    pub replayed: bool,
    /// Level that the effect had reached when the command was answered.
    pub acked: Acked,
}

impl Executor {
    /// Starts the tasks of every partition.
    pub fn start(log: &EventLog, limits: &Limits, acks: Acks, metrics: &Metrics) -> Self {
        let states = States::new(limits.cache_max, limits.cache_bytes_max, log.lineage().epoch());
        let measures = Arc::new(Measures::new(metrics));
        let supervisor = Supervisor::new();
        let shared = Shared {
            states: states.clone(),
            notifier: log.notifier(),
            snapshots: SnapshotSink::start(log.clone(), limits.snapshot_every, &supervisor),
            measures: Arc::clone(&measures),
            commands_max: limits.batch_max,
        };
        let (queues, tasks) = (0..log.info().partitions)
            .map(Partition)
            .map(|p| Task::new(log.appender(p), limits.queue_max, shared.clone()))
            .map(|(queue, task)| (queue, supervisor.spawn("an appender", task.run())))
            .unzip();
        let loader = Loader::start(log, states.clone(), &supervisor);
        let boundaries = Boundaries::new(log, states.clone());
        let places = Places::new(limits.queue_max);
        let command_bytes_max = limits.message_bytes_max;
        let log = log.clone();
        Self {
            log,
            loader,
            boundaries,
            states,
            queues,
            measures,
            acks,
            places,
            command_bytes_max,
            tasks,
            supervisor,
        }
    }

    /// Resolves when a task that commands cannot do without has died, with its name: then the
    /// process must end.
    pub fn failure(&self) -> impl Future<Output = &'static str> + Send + use<> {
        self.supervisor.failure()
    }

    /// Decides and appends a command; answers when it is committed, or refused on the newest state.
    ///
    /// # Errors
    /// The domain's refusal, a version conflict, an overload, an unreachable database: see
    /// docs/errors.md.
    pub async fn execute<A: Aggregate>(
        &self,
        call: Call,
        command: A::Command,
    ) -> Result<Committed, Failure> {
        self.check(&call).await?;
        let attempt = self.attempt::<A>(call, command);
        self.until_answered(attempt, Some(begin::<A>)).await
    }

    /// The same for a command that is decided on what a query matches.
    ///
    /// # Errors
    /// Those of [`Executor::execute`].
    pub async fn execute_across<M: DecisionModel>(
        &self,
        call: Call,
        command: M::Command,
    ) -> Result<Committed, Failure> {
        self.check(&call).await?;
        let context = context(&call);
        let command_id = context.command_id;
        let names = (M::NAME, type_name::<M::Command>());
        let query = caught("a boundary", names, || M::boundary(&command, &context));
        let query = query.ok_or_else(|| failure(AppendError::Panicked))?;
        if query.items().len() > ITEMS_MAX {
            tracing::error!(?names, items = query.items().len(), "a query has too many items");
            return Err(failure(AppendError::Defect));
        }
        let tags = query.items().iter().flat_map(QueryItem::tags);
        if !tags.into_iter().all(|tag| is_tag(tag)) {
            return Err(failure(AppendError::BadName));
        }
        let partition = self.partition(&call);
        let key = BoundaryKey { model: TypeId::of::<M>(), partition, query: Arc::new(query) };
        let decider: Arc<dyn Decider> = Arc::new(Across::<M> { command, context, key });
        self.until_answered(Attempt { call, partition, command_id, decider }, None).await
    }

    /// Carries out a command; `fold` begins the fold of its stream, if that is what it is decided
    /// on.
    async fn until_answered(
        &self,
        attempt: Attempt,
        fold: Option<BeginFold>,
    ) -> Result<Committed, Failure> {
        let mut backoff = Backoff::new(ATTEMPT_DELAYS);
        let mut outdated = None;
        let mut is_behind = false;
        for number in 0..ATTEMPTS_MAX {
            if number > 0 && !is_behind {
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            let again = (number > 0, outdated.as_ref());
            let state = self.state(&attempt, fold, again).await.map_err(load_failure)?;
            // A boundary keeps how far it has been read by itself.
            outdated = fold.is_some().then(|| state.clone());
            let answered = self.submit(&attempt, (state, number > 0))?;
            let answer = answered.await.ok();
            is_behind = matches!(answer, Some(Answer::Behind));
            match attempt.verdict(answer) {
                Some(Ok((receipt, replayed))) => {
                    return Ok(self.committed(receipt, replayed, &attempt.call).await);
                }
                Some(Err(failure)) => return Err(failure),
                None => self.measures.decided_again(),
            }
        }
        Err(contention())
    }

    /// Waits until every command that was accepted has been answered. The servers in front must
    /// have stopped.
    pub async fn drain(self) {
        drop(self.queues);
        for task in self.tasks {
            let _ = task.await;
        }
    }

    /// Reply for the client, as soon as its command's effect has come as far as it asked.
    async fn committed(&self, receipt: Receipt, replayed: bool, call: &Call) -> Committed {
        let token = seen::token(&self.log.lineage(), call.options.seen.as_ref(), &receipt);
        let acked = match &call.options.ack {
            Some(wish) => self.acks.reached(wish, &token).await,
            None => Acked::COMMITTED,
        };
        Committed { receipt, token, replayed, acked }
    }

    /// Checks before a command is applied what afterwards cannot be refused: its tokens, and that
    /// its acknowledgement is offered.
    pub(crate) async fn check(&self, call: &Call) -> Result<(), Failure> {
        if let Some(seen) = &call.options.seen {
            seen::check(&self.log, seen).await?;
        }
        self.acks.check(call.options.ack.as_ref())
    }

    /// A command that is ready to be submitted.
    pub(crate) fn attempt<A: Aggregate>(&self, call: Call, command: A::Command) -> Attempt {
        let partition = self.partition(&call);
        let context = context(&call);
        let command_id = context.command_id;
        Attempt { call, partition, command_id, decider: Arc::new(Typed::<A> { command, context }) }
    }

    /// Queues a command, to be decided on this state, which may have been read to its end for it,
    /// or a newer one.
    pub(crate) fn submit(
        &self,
        attempt: &Attempt,
        state: (VersionedState, bool),
    ) -> Result<oneshot::Receiver<Answer>, Failure> {
        let Attempt { call, partition, command_id, decider } = attempt;
        let log = self.log.info().id;
        let (job, answered) = Job::new(call, (log, *command_id), state, Arc::clone(decider));
        let queue = &self.queues[usize::from(partition.0)];
        let sent = queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.measures.overloaded();
                overloaded()
            }
            mpsc::error::TrySendError::Closed(_) => {
                Failure::new(ErrorReason::ShuttingDown, "this copy is shutting down; try again")
                    .retry_after(OVERLOAD_RETRY)
            }
        });
        sent.map(|()| answered)
    }

    /// The newest state known, loaded if it is not cached.
    pub(crate) async fn newest<A: Aggregate>(
        &self,
        stream: StreamId,
    ) -> Result<VersionedState, LoadError> {
        self.of_stream(stream, begin::<A>, None).await
    }

    /// The newest state known of a stream, read on from an older one if there is none.
    async fn of_stream(
        &self,
        stream: StreamId,
        begin: BeginFold,
        older: Option<&VersionedState>,
    ) -> Result<VersionedState, LoadError> {
        match self.states.get(&StateKey::Stream(stream)) {
            Some(state) => Ok(state),
            None => self.loader.load(stream, || begin(older)).await,
        }
    }

    /// The newest state known that a command is decided on. It is read to its end if the command
    /// is decided `again`, on more than the one that was `outdated`.
    async fn state(
        &self,
        attempt: &Attempt,
        fold: Option<BeginFold>,
        (again, outdated): (bool, Option<&VersionedState>),
    ) -> Result<VersionedState, LoadError> {
        let (stream, decider) = (attempt.call.stream, &attempt.decider);
        match (decider.boundary(), fold) {
            (Some(key), _) => self.boundaries.state((key, stream), decider, again).await,
            (None, Some(fold)) => {
                let expected = attempt.call.options.expected_version;
                match outdated.and_then(|_| self.behind(stream, expected)) {
                    Some(older) => self.loader.load(stream, || fold(Some(&older))).await,
                    None => self.of_stream(stream, fold, outdated).await,
                }
            }
            (None, None) => Err(LoadError::Database(AppendError::Defect)),
        }
    }

    /// The state that is known, if it is older than what the client has seen: another process's
    /// commands have moved the stream on, and an append on it would only be refused.
    fn behind(&self, stream: StreamId, seen: Option<StreamVersion>) -> Option<VersionedState> {
        let seen = seen?;
        self.states.get(&StateKey::Stream(stream)).filter(|known| known.version < seen)
    }

    fn partition(&self, call: &Call) -> Partition {
        call.partition_key.partition(self.log.info().partitions)
    }
}

impl Attempt {
    /// Result of the command by its answer; `None` if it has to be decided again. A job is dropped
    /// unanswered only if the partition's task has panicked, before, while or after it committed.
    pub(crate) fn verdict(
        &self,
        answer: Option<Answer>,
    ) -> Option<Result<(Receipt, bool), Failure>> {
        let call = &self.call;
        Some(match answer.unwrap_or(Answer::Failed(AppendError::OutcomeUnknown)) {
            Answer::DecideAgain | Answer::Behind => return None,
            Answer::Done { receipt, replayed } => Ok((receipt, replayed)),
            Answer::Refused(rejection) => Err(Failure::rejection(call.domain, rejection)),
            Answer::VersionConflict(current) => Err(version_conflict(call, current)),
            Answer::OtherHistory(current) => Err(other_history(current)),
            Answer::Failed(AppendError::OutcomeUnknown) => {
                Err(outcome_unknown(call.options.key.is_some()))
            }
            Answer::Failed(error) => Err(failure(error)),
        })
    }
}

fn context(call: &Call) -> Context {
    Context {
        stream: call.stream,
        command_id: Uuid::now_v7(),
        caller: call.options.caller.clone(),
        now: OffsetDateTime::now_utc(),
    }
}

pub(crate) fn contention() -> Failure {
    Failure::new(
        ErrorReason::Contention,
        format!("others changed the aggregate first, {ATTEMPTS_MAX} times in a row; try again"),
    )
    .retry_after(OVERLOAD_RETRY)
}

pub(crate) fn load_failure(error: LoadError) -> Failure {
    match error {
        LoadError::Full => overloaded(),
        LoadError::Database(error) => failure(error),
        LoadError::Fold(error) => unreadable(error),
    }
}

fn unreadable(error: FoldError) -> Failure {
    match error {
        FoldError::Decode(DecodeError::UnknownType { .. }) => failure(AppendError::OtherAggregate),
        FoldError::Panicked => failure(AppendError::Panicked),
        error @ (FoldError::Decode(DecodeError::NewerSchema { .. } | DecodeError::Payload { .. })
        | FoldError::Gap { .. }
        // Not told: the load begins anew.
        | FoldError::ForeignSnapshot
        | FoldError::NewEpoch) => Failure::new(
            ErrorReason::DataCorrupt,
            "a stored event of the aggregate is missing or cannot be read; nothing was changed",
        )
        .because(error),
    }
}
