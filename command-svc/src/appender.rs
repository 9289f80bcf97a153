//! One task per partition: gathers what waits, decides it, appends it, answers it (group commit).
//! While an append is in flight, the commands that arrive queue up and form the next batch: no
//! timer, no added delay when idle.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::{Backoff, Delays};
use headwater_eventlog::{Appender, LogError, Notifier, Outcome};
use headwater_kernel::StreamId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::decide::StateKey;
use crate::housekeeping::SnapshotSink;
use crate::measure::Measures;
use crate::plan::{Job, Plan, plan, streams_of};
use crate::recent::Recent;
use crate::reply::{Answer, AppendError};
use crate::settle::{Cache, settle};
use crate::states::States;
use crate::write_breaker::WriteBreaker;

/// Time that the outcome of a broken commit is looked for before its senders are told that it is
/// unknown.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
const RESOLVE_DELAYS: Delays =
    Delays { first: Duration::from_millis(50), max: Duration::from_secs(1), factor: 2.0 };
/// Failed appends in a row that open the breaker, and how long it stays open.
const BREAKER_FAILURES: u32 = 3;
const BREAKER_DELAYS: Delays =
    Delays { first: Duration::from_millis(200), max: Duration::from_secs(5), factor: 2.0 };

/// Parts that every appender shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub states: States,
    pub notifier: Notifier,
    pub snapshots: SnapshotSink,
    pub measures: Arc<Measures>,
    pub commands_max: usize,
}

/// The task of one partition.
pub(crate) struct Task {
    appender: Appender,
    queue: mpsc::Receiver<Job>,
    write_breaker: WriteBreaker,
    recent: Recent,
    /// True if commands of the last batch were in conflict with those of another program.
    had_conflicts: bool,
    shared: Shared,
}

/// Outcome of a part of a batch.
enum Part {
    /// Nothing of it was appended, because of the data of some command of it.
    Refused(Plan, LogError),
    /// Every command has its answer; these are the streams of those that were not appended.
    Answered { not_appended: Vec<StreamId> },
}

impl Task {
    /// A task that appends with `appender`, and its queue.
    pub(crate) fn new(
        appender: Appender,
        queue_max: usize,
        shared: Shared,
    ) -> (mpsc::Sender<Job>, Self) {
        let (jobs, queue) = mpsc::channel(queue_max);
        let write_breaker = WriteBreaker::new(appender.servers(), BREAKER_FAILURES, BREAKER_DELAYS);
        let recent = Recent::default();
        (jobs, Self { appender, queue, write_breaker, recent, had_conflicts: false, shared })
    }

    /// Appends until every sender of its queue is gone and the queue is empty.
    pub(crate) async fn run(mut self) {
        let commands_max = self.shared.commands_max;
        let mut gathered = Vec::with_capacity(commands_max);
        let mut jobs = VecDeque::new();
        loop {
            if jobs.is_empty() && self.queue.recv_many(&mut gathered, commands_max).await == 0 {
                return;
            }
            jobs.extend(gathered.drain(..));
            while jobs.len() < commands_max {
                let Ok(job) = self.queue.try_recv() else { break };
                jobs.push_back(job);
            }
            self.catch_up(&jobs).await;
            let batch = (self.appender.epoch(), commands_max);
            let mut plan = plan(&mut jobs, batch, &self.recent, |key| self.shared.states.get(key));
            for job in plan.behind.drain(..) {
                self.answer(job, Answer::Behind);
            }
            let outdated = std::mem::take(&mut plan.outdated);
            if !plan.commands.is_empty() {
                self.append(plan).await;
            }
            if !outdated.is_empty() {
                self.meet(outdated).await;
            }
        }
    }

    /// Takes in what other programs have appended, if a job's client has seen it, or commands of
    /// the last batch were in conflict with it: one statement for all of it, instead of a load for
    /// each stream.
    async fn catch_up(&mut self, jobs: &VecDeque<Job>) {
        let known = |job: &Job| self.shared.states.get(&job.key());
        let is_behind = |job: &Job| {
            job.is_ahead_of(&job.state) && known(job).is_none_or(|state| job.is_ahead_of(&state))
        };
        if !(std::mem::take(&mut self.had_conflicts) || jobs.iter().any(is_behind)) {
            return;
        }
        match self.appender.news().await {
            Ok(events) => self.shared.states.take_in(self.appender.epoch(), &events),
            Err(error) => tracing::debug!(%error, "what others have appended cannot be read"),
        }
    }

    /// Has jobs decided anew whose state is of another epoch; if it is one that this does not know,
    /// the log is in another epoch, which it follows, or the state is of a history that is gone.
    async fn meet(&mut self, outdated: Vec<Job>) {
        let known = |job: &Job| self.appender.knows(job.state.epoch);
        if !outdated.iter().all(known) && self.write_breaker.allows() {
            match self.appender.follow().await {
                Ok(()) => self.write_breaker.succeeded(),
                Err(error) => {
                    tracing::warn!(%error, "the log's epoch cannot be read");
                    self.write_breaker.failed();
                }
            }
        }
        self.shared.states.enter(self.appender.epoch());
        self.load_anew(outdated.into_iter());
    }

    /// Appends a batch; if the database refuses it for the data of one command, that command is
    /// looked for by halves, and fails alone.
    async fn append(&mut self, plan: Plan) {
        let mut parts = vec![plan];
        // Streams of commands that were not appended: what was decided on top of one in another
        // part must not take the place of something else that has that version by now.
        let mut dropped = HashSet::new();
        while let Some(mut part) = parts.pop() {
            if !dropped.is_empty() {
                self.load_anew(part.without(&dropped).into_iter());
            }
            if part.commands.is_empty() {
                continue;
            }
            match self.append_part(part).await {
                Part::Refused(part, error) if part.commands.len() > 1 => {
                    tracing::debug!(%error, commands = part.commands.len(), "halved");
                    parts.extend(part.halves().into_iter().rev());
                }
                Part::Refused(part, LogError::Unmigrated) => {
                    dropped.extend(part.streams());
                    self.fail(part, AppendError::Unmigrated);
                }
                Part::Refused(part, error) => {
                    let command = part.planned[0].job.decider.names();
                    tracing::error!(%error, ?command, "the database refused a command's data");
                    dropped.extend(part.streams());
                    self.fail(part, AppendError::Refused);
                }
                Part::Answered { not_appended } => dropped.extend(not_appended),
            }
        }
    }

    /// Appends a batch or a part of one, and answers its commands unless it was refused for their
    /// data.
    async fn append_part(&mut self, plan: Plan) -> Part {
        let whole = |plan: &Plan| Part::Answered { not_appended: plan.streams().collect() };
        if !self.write_breaker.allows() {
            let part = whole(&plan);
            self.fail(plan, AppendError::DatabaseUnavailable);
            return part;
        }
        let started = Instant::now();
        let outcomes = self.appender.append(&plan.commands).await;
        self.shared.measures.append(plan.commands.len(), started.elapsed());
        match outcomes {
            Ok(outcomes) => {
                self.write_breaker.succeeded();
                Part::Answered { not_appended: self.settle(plan, outcomes) }
            }
            Err(error) if error.may_be_about_data() => {
                self.write_breaker.succeeded();
                Part::Refused(plan, error)
            }
            Err(error) => {
                let part = whole(&plan);
                self.failed(plan, error).await;
                part
            }
        }
    }

    /// Answers the commands of a batch that was not appended, or of which it is not known.
    async fn failed(&mut self, plan: Plan, error: LogError) {
        match error {
            LogError::NewEpoch => {
                // The database answered: no failure of it.
                self.write_breaker.succeeded();
                tracing::info!(
                    "the log is in a new epoch; commands are decided anew on its history"
                );
                self.shared.states.enter(self.appender.epoch());
                self.retry(plan);
            }
            LogError::Migrated => {
                tracing::info!("the log's schema was migrated; commands are appended as it is now");
                self.retry(plan);
            }
            LogError::Collision(error) => {
                tracing::debug!(%error, "an append collided with another one; its commands try again");
                self.retry(plan);
            }
            LogError::OutcomeUnknown(error) => {
                tracing::warn!(%error, commands = plan.commands.len(), "the outcome of an append is unknown");
                self.resolve(plan).await;
            }
            LogError::Unavailable(error) => {
                self.write_breaker.failed();
                tracing::warn!(%error, "the write database is unavailable");
                self.fail(plan, AppendError::DatabaseUnavailable);
            }
            error @ (LogError::Unmigrated
            | LogError::Schema(_)
            | LogError::Corrupt { .. }
            | LogError::Refused(_)) => {
                tracing::error!(%error, "an append was refused");
                self.fail(plan, AppendError::Defect);
            }
        }
    }

    /// Answers the commands of a batch that was appended; gives the streams of those that dropped
    /// out.
    fn settle(&mut self, mut plan: Plan, outcomes: Vec<Outcome>) -> Vec<StreamId> {
        let not_appended =
            plan.commands.iter().zip(&outcomes).filter(|(_, outcome)| !is_committed(outcome));
        let dropped_out = not_appended.flat_map(|(command, _)| streams_of(command)).collect();
        self.had_conflicts |= outcomes.iter().any(is_conflict);
        let appended = outcomes.iter().any(is_committed);
        if appended && plan.commands.iter().any(|command| !command.events.is_empty()) {
            self.shared.notifier.hint();
        }
        let settled = settle(&mut plan, outcomes.clone());
        let mut answers = Vec::with_capacity(settled.len());
        for settled in settled {
            for stream in settled.moved {
                self.shared.states.forget(&StateKey::Stream(stream));
            }
            match settled.cache {
                Cache::Put(key, mut state) => {
                    let command = &plan.commands[settled.planned_index];
                    let made_by = (command.expected, command.command_id);
                    let decider = &plan.planned[settled.planned_index].job.decider;
                    if let Answer::Done { receipt, .. } = &settled.answer {
                        let bytes = self.shared.snapshots.offer(decider, &state, made_by, receipt);
                        state.heap_bytes = bytes.unwrap_or(state.heap_bytes);
                    }
                    self.shared.states.put(key, state);
                }
                Cache::Forget(key) => self.shared.states.forget(&key),
                Cache::Leave => {}
            }
            answers.push(settled.answer);
        }
        self.recent.add(self.appender.epoch(), plan.commands, &outcomes);
        // Reply after the cache update, so that a client's next command is decided on its own
        // write.
        for (planned, answer) in plan.planned.into_iter().zip(answers) {
            self.answer(planned.job, answer);
        }
        dropped_out
    }

    /// Finds out what became of a batch whose connection broke. A command that is found is answered
    /// with its receipt; one that is certainly not there may try again, since the version check
    /// keeps it from being applied twice.
    async fn resolve(&mut self, plan: Plan) {
        let deadline = Instant::now() + RESOLVE_MAX;
        let mut backoff = Backoff::new(RESOLVE_DELAYS);
        loop {
            match self.appender.resolve(&plan.commands).await {
                Ok(found) => {
                    self.write_breaker.reset();
                    self.shared.states.enter(self.appender.epoch());
                    return self.answer_found(plan, found);
                }
                Err(error) if Instant::now() < deadline => {
                    tracing::debug!(%error, "the outcome cannot be found out yet");
                    self.write_breaker.failed();
                    self.refuse_waiting();
                    tokio::time::sleep(backoff.next(rand::random())).await;
                }
                Err(error) => {
                    tracing::error!(%error, "the outcome of an append could not be found out in time");
                    return self.fail(plan, AppendError::OutcomeUnknown);
                }
            }
        }
    }

    /// Refuses the queued commands while the outcome of a broken commit is looked for, once the
    /// breaker is open: nothing can be appended, and nothing of theirs has been sent.
    fn refuse_waiting(&mut self) {
        if !self.write_breaker.is_open() {
            return;
        }
        while let Ok(job) = self.queue.try_recv() {
            self.answer(job, Answer::Failed(AppendError::DatabaseUnavailable));
        }
    }

    fn answer_found(&self, plan: Plan, found: Vec<Option<Outcome>>) {
        self.shared.notifier.hint();
        for (planned, outcome) in plan.planned.into_iter().zip(found) {
            self.forget_and_answer(planned.job, resolved(outcome));
        }
    }

    fn retry(&self, plan: Plan) {
        self.load_anew(plan.planned.into_iter().map(|planned| planned.job));
    }

    fn load_anew(&self, jobs: impl Iterator<Item = Job>) {
        jobs.for_each(|job| self.forget_and_answer(job, Answer::DecideAgain));
    }

    fn fail(&self, plan: Plan, error: AppendError) {
        for planned in plan.planned {
            self.forget_and_answer(planned.job, Answer::Failed(error));
        }
    }

    /// Answers a job whose stream may have moved on: its next command loads the state anew.
    fn forget_and_answer(&self, job: Job, answer: Answer) {
        self.shared.states.forget(&job.key());
        self.answer(job, answer);
    }

    /// Counts the answer and sends it.
    fn answer(&self, job: Job, answer: Answer) {
        self.shared.measures.answered(&answer);
        // The client may have gone meanwhile; the outcome stays as it is.
        let _ = job.answer.send(answer);
    }
}

fn is_conflict(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::VersionConflict(_))
}

fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

/// Answer to a command whose outcome was unknown.
fn resolved(outcome: Option<Outcome>) -> Answer {
    match outcome {
        Some(Outcome::Committed(receipt)) => Answer::Done { receipt, replayed: false },
        Some(Outcome::Replayed(receipt)) => Answer::Done { receipt, replayed: true },
        Some(Outcome::KeyReused) => Answer::Failed(AppendError::KeyReused),
        Some(Outcome::VersionConflict(_) | Outcome::FactFailed(_)) | None => Answer::DecideAgain,
    }
}
