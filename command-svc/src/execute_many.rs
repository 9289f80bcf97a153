//! Many commands of one call: submitted in their order before the first answer is waited for, so
//! that they share appends, without a task or a wakening for each.

use std::collections::HashMap;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use headwater_chassis::Backoff;
use headwater_edge::{AckRequest, BatchMetadata, Call, ErrorReason, Failure};
use headwater_eventlog::Receipt;
use headwater_kernel::{Aggregate, StreamId, Token, Tokens};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::acks::Acked;
use crate::decide::StateKey;
use crate::execute::{ATTEMPT_DELAYS, ATTEMPTS_MAX, Attempt, Executor, contention, load_failure};
use crate::reply::Answer;
use crate::seen;

/// Results of many commands.
#[derive(Debug)]
pub struct CommittedMany {
    /// Of each command, in the order in which they came.
    pub results: Vec<Result<CommittedOne, Failure>>,
    /// Proof of all that was applied and of what their senders had seen before: one for each epoch
    /// of the log that they were committed in, and none if nothing was applied.
    pub tokens: Vec<Token>,
}

/// A command among many that has been applied.
#[derive(Clone, Debug)]
pub struct CommittedOne {
    /// Place of the command's effect in the log.
    pub receipt: Receipt,
    /// True if an earlier attempt with the same key applied it.
    pub replayed: bool,
    /// Level that the effect had reached when the command was answered.
    pub acked: Acked,
}

/// One of the commands, on its way to its result.
struct Slot {
    /// `None` if it could not be read.
    attempt: Option<Attempt>,
    stage: Stage,
}

enum Stage {
    /// To be submitted, for the first time or again.
    Open,
    /// In its partition's queue, or in an append.
    Submitted(oneshot::Receiver<Answer>),
    /// It has its result.
    Done(Result<CommittedOne, Failure>),
}

/// Wishes beyond `committed`, by the index of their command.
type Wishes = Vec<(usize, AckRequest)>;

impl Executor {
    /// Decides and appends commands, each by itself: as [`Executor::execute`] would, except that
    /// those on one aggregate are decided in the order in which they come unless somebody else
    /// changes it meanwhile. A command that could not be read keeps its failure. Those that have no
    /// result at the time that the metadata leaves get DEADLINE_EXCEEDED.
    ///
    /// # Errors
    /// The tokens or the acknowledgement of the whole call are refused; then nothing was done.
    pub async fn execute_many<A: Aggregate>(
        &self,
        metadata: &BatchMetadata,
        commands: Vec<Result<(Call, A::Command), Failure>>,
    ) -> Result<CommittedMany, Failure> {
        if let Some(seen) = metadata.seen() {
            seen::check(&self.log, seen).await?;
        }
        self.acks.check(metadata.ack())?;
        let mut seen = metadata.seen().cloned();
        let mut wishes = Wishes::new();
        let mut slots = Vec::with_capacity(commands.len());
        for command in commands {
            if let Ok((call, _)) = &command
                && let Some(wish) = call.options.ack.as_ref().or(metadata.ack())
            {
                wishes.push((slots.len(), *wish));
            }
            slots.push(self.opened::<A>(command, &mut seen).await);
        }
        let work = async {
            for share in slots.chunks_mut(self.places.share()) {
                self.carry_out::<A>(share).await;
            }
        };
        match metadata.until() {
            None => work.await,
            Some(until) => drop(timeout_at(until, work).await),
        }
        let mut results: Vec<_> = slots.into_iter().map(Slot::closed).collect();
        let tokens = self.tokens(&results, seen.as_ref());
        self.acknowledge(&mut results, wishes, &tokens).await;
        Ok(CommittedMany { results, tokens })
    }

    /// Checks a command that has been read, and adds its tokens to those that the reply covers.
    async fn opened<A: Aggregate>(
        &self,
        command: Result<(Call, A::Command), Failure>,
        seen: &mut Option<Tokens>,
    ) -> Slot {
        let (call, command) = match command {
            Ok(read) => read,
            Err(failure) => return Slot::refused(failure),
        };
        if let Err(failure) = self.check(&call).await {
            return Slot::refused(failure);
        }
        match (seen, &call.options.seen) {
            // Of the same log, as has been checked.
            (Some(all), Some(own)) => drop(all.merge(own)),
            (all @ None, own @ Some(_)) => all.clone_from(own),
            (_, None) => {}
        }
        Slot { attempt: Some(self.attempt::<A>(call, command)), stage: Stage::Open }
    }

    /// Has commands decided, again those that were decided on an outdated state, until each has its
    /// result.
    async fn carry_out<A: Aggregate>(&self, slots: &mut [Slot]) {
        let mut backoff = Backoff::new(ATTEMPT_DELAYS);
        for number in 0..ATTEMPTS_MAX {
            if number > 0 {
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            self.submit_all::<A>(slots).await;
            for slot in &mut *slots {
                slot.answered().await;
            }
            let again = slots.iter().filter(|slot| slot.open().is_some()).count();
            if again == 0 {
                return;
            }
            (0..again).for_each(|_| self.measures.decided_again());
        }
        for slot in slots.iter_mut().filter(|slot| slot.open().is_some()) {
            slot.stage = Stage::Done(Err(contention()));
        }
    }

    /// Submits those whose state is known at once, and the others as their states are loaded.
    async fn submit_all<A: Aggregate>(&self, slots: &mut [Slot]) {
        let mut unknown: HashMap<StreamId, Vec<usize>> = HashMap::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            let Some(attempt) = slot.open() else { continue };
            let stream = attempt.call.stream;
            if let Some(waiting) = unknown.get_mut(&stream) {
                waiting.push(index);
                continue;
            }
            match self.states.get(&StateKey::Stream(stream)) {
                Some(state) => slot.submit(|attempt| self.submit(attempt, (state, true))),
                None => drop(unknown.insert(stream, vec![index])),
            }
        }
        let load = async |(stream, indices)| (self.newest::<A>(stream).await, indices);
        let mut loads: FuturesUnordered<_> = unknown.into_iter().map(load).collect();
        while let Some((loaded, indices)) = loads.next().await {
            for index in indices {
                let loaded = loaded.clone().map_err(load_failure);
                slots[index].submit(|attempt| self.submit(attempt, (loaded?, true)));
            }
        }
    }

    /// Proof of everything that was applied.
    fn tokens(
        &self,
        results: &[Result<CommittedOne, Failure>],
        seen: Option<&Tokens>,
    ) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::new();
        for CommittedOne { receipt, .. } in results.iter().flatten() {
            match tokens.iter_mut().find(|token| token.epoch == receipt.epoch) {
                Some(token) => token.raise(receipt.partition, receipt.position),
                None => tokens.push(seen::token(&self.log.lineage(), seen, receipt)),
            }
        }
        tokens
    }

    /// Waits for the levels that were asked for beyond `committed`: once for all that ask for the
    /// same, by the token of all.
    async fn acknowledge(
        &self,
        results: &mut [Result<CommittedOne, Failure>],
        wishes: Wishes,
        tokens: &[Token],
    ) {
        let Some(token) = tokens.last() else { return };
        let mut distinct: Vec<AckRequest> = Vec::new();
        for (_, wish) in &wishes {
            if !distinct.contains(wish) {
                distinct.push(*wish);
            }
        }
        let waits = distinct.iter().map(|wish| self.acks.reached(wish, token));
        let reached = join_all(waits).await;
        for (index, wish) in wishes {
            let acked = distinct.iter().position(|other| *other == wish).map(|at| reached[at]);
            if let (Ok(done), Some(acked)) = (&mut results[index], acked) {
                done.acked = acked;
            }
        }
    }
}

impl Slot {
    fn refused(failure: Failure) -> Self {
        Self { attempt: None, stage: Stage::Done(Err(failure)) }
    }

    /// The command, if it is to be submitted.
    fn open(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|_| matches!(self.stage, Stage::Open))
    }

    /// Submits an open one.
    fn submit(
        &mut self,
        submit: impl FnOnce(&Attempt) -> Result<oneshot::Receiver<Answer>, Failure>,
    ) {
        if let Some(attempt) = self.open() {
            self.stage = match submit(attempt) {
                Ok(answered) => Stage::Submitted(answered),
                Err(failure) => Stage::Done(Err(failure)),
            };
        }
    }

    /// Waits for the answer of one that was submitted. Dropped meanwhile, it loses nothing.
    async fn answered(&mut self) {
        if let (Some(attempt), Stage::Submitted(answered)) = (&self.attempt, &mut self.stage) {
            let answer = answered.await.ok();
            self.stage = stage(attempt, answer);
        }
    }

    /// The result, when there is no more time.
    fn closed(mut self) -> Result<CommittedOne, Failure> {
        if let (Some(attempt), Stage::Submitted(answered)) = (&self.attempt, &mut self.stage)
            && let Ok(answer) = answered.try_recv()
        {
            self.stage = stage(attempt, Some(answer));
        }
        match self.stage {
            Stage::Done(result) => result,
            Stage::Open => Err(too_late("nothing of it was done")),
            Stage::Submitted(_) => Err(too_late("with an idempotency key it may be sent again")),
        }
    }
}

fn stage(attempt: &Attempt, answer: Option<Answer>) -> Stage {
    match attempt.verdict(answer) {
        None => Stage::Open,
        Some(result) => Stage::Done(result.map(|(receipt, replayed)| CommittedOne {
            receipt,
            replayed,
            acked: Acked::COMMITTED,
        })),
    }
}

fn too_late(what: &str) -> Failure {
    let text = format!("the command was not decided before nine tenths of the deadline; {what}");
    Failure::new(ErrorReason::DeadlineExceeded, text)
}
