//! From the outcomes of a batch to the answers of its jobs and the states to keep. Pure.

use headwater_eventlog::Outcome;
use headwater_kernel::{Position, StreamId};

use crate::decide::{StateKey, VersionedState};
use crate::plan::{Intent, Job, Plan, Planned, streams_of};
use crate::reply::{Answer, AppendError};

/// A job that is answered, and what its stream's cached state becomes.
pub(crate) struct Settled {
    pub planned_index: usize,
    pub answer: Answer,
    pub cache: Cache,
    /// Streams that a command on a boundary has moved on: what is cached of them is out of date.
    pub moved: Vec<StreamId>,
}

/// Change of the cached state of a stream or a boundary.
pub(crate) enum Cache {
    /// Put the newest state.
    Put(StateKey, VersionedState),
    /// Forget a state that is out of date.
    Forget(StateKey),
    /// Leave the state as it is.
    Leave,
}

/// Settles every job of the plan, in order; of several changes to one stream's cache the last one
/// counts.
pub(crate) fn settle(plan: &mut Plan, outcomes: Vec<Outcome>) -> Vec<Settled> {
    plan.planned
        .iter_mut()
        .zip(outcomes)
        .enumerate()
        .map(|(planned_index, (planned, outcome))| {
            let command = &plan.commands[planned_index];
            let is_across = command.boundary.is_some();
            let moved = match &outcome {
                Outcome::Committed(_) if is_across => streams_of(command).collect(),
                _ => Vec::new(),
            };
            let (answer, cache) = one(planned, outcome);
            Settled { planned_index, answer, cache, moved }
        })
        .collect()
}

fn one(planned: &mut Planned, outcome: Outcome) -> (Answer, Cache) {
    let key = planned.job.key();
    // Taken out by value; what is left behind is never looked at again.
    let intent = std::mem::replace(&mut planned.intent, Intent::Fail(AppendError::Defect));
    match (outcome, intent) {
        (Outcome::Committed(receipt), Intent::Commit { after, .. }) => (
            Answer::Done { receipt, replayed: false },
            Cache::Put(key, committed(after, &planned.job, receipt.position)),
        ),
        (Outcome::Committed(_), Intent::Refuse(rejection)) => {
            (Answer::Refused(rejection), Cache::Leave)
        }
        (Outcome::Committed(_), Intent::VersionConflict(current)) => {
            (Answer::VersionConflict(current), Cache::Leave)
        }
        (Outcome::Committed(_), Intent::OtherHistory(current)) => {
            (Answer::OtherHistory(current), Cache::Leave)
        }
        (Outcome::Committed(_), Intent::Fail(error)) => (Answer::Failed(error), Cache::Leave),
        (Outcome::Replayed(receipt), _) => {
            (Answer::Done { receipt, replayed: true }, Cache::Forget(key))
        }
        (Outcome::KeyReused, _) => (Answer::Failed(AppendError::KeyReused), Cache::Forget(key)),
        (Outcome::VersionConflict(_), _) => (Answer::DecideAgain, Cache::Forget(key)),
        (Outcome::FactFailed(index), Intent::Commit { mut refusals, .. }) => {
            let refusal = (index < refusals.len()).then(|| refusals.swap_remove(index)).flatten();
            let answer = refusal.map_or(Answer::Failed(AppendError::Defect), Answer::Refused);
            // The append reports what was decided on top of this one as a version conflict; the
            // state before it is still the newest.
            (answer, Cache::Leave)
        }
        (Outcome::FactFailed(_), _) => (Answer::Failed(AppendError::Defect), Cache::Forget(key)),
    }
}

/// The state as it is known once the command that made it is in the log.
fn committed(mut state: VersionedState, job: &Job, position: Position) -> VersionedState {
    if let (Some(key), Some(extent)) = (job.decider.boundary(), state.extent.take()) {
        state.extent = Some(extent.committed(position, &key.query));
    }
    state
}
