//! From waiting jobs to a batch: decides every job on the newest state known, one on top of the
//! other. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use headwater_eventlog::{Command, EVENTS_PER_BATCH_MAX, Key};
use headwater_kernel::envelope::{EVENTS_PER_COMMAND_MAX, PAYLOAD_BYTES_MAX};
use headwater_kernel::{Rejection, StreamId, StreamVersion};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::call::KeyHashes;
use crate::decide::{Accepted, Decider, Stand, Verdict};
use crate::reply::{Answer, Trouble};

/// A command that waits for its partition's appender.
pub(crate) struct Job {
    pub stream: StreamId,
    /// The state when it was sent on; the cache may hold a newer one.
    pub stand: Stand,
    pub decider: Arc<dyn Decider>,
    pub key: Option<KeyHashes>,
    /// The version the client expects.
    pub expected: Option<StreamVersion>,
    pub command_id: Uuid,
    pub caller: Option<String>,
    pub traceparent: Option<String>,
    pub answer: oneshot::Sender<Answer>,
}

/// A job in a batch, with what is to be answered when its command passes.
pub(crate) struct Planned {
    pub job: Job,
    pub intent: Intent,
}

/// What a command that passes its checks means for its sender.
pub(crate) enum Intent {
    /// Its events are recorded (or there are none); this is the stand afterwards.
    Commit { after: Stand, refusals: Vec<Option<Rejection>> },
    /// The version it was refused on is confirmed.
    Refuse(Rejection),
    /// The client expected another version than this one, which is confirmed.
    VersionConflict(StreamVersion),
    /// Nothing can be committed, for this reason.
    Fail(Trouble),
}

/// A batch and the jobs behind it, in the same order.
pub(crate) struct Plan {
    pub commands: Vec<Command>,
    pub planned: Vec<Planned>,
}

/// Takes jobs from the front of the queue until the batch is full; what is left waits for the next
/// one. A job whose idempotency key is already in the batch ends it too, so that the second one
/// finds the first one's receipt.
///
/// `cached` gives the newest state the process knows of a stream.
pub(crate) fn plan(
    jobs: &mut VecDeque<Job>,
    commands_max: usize,
    cached: impl Fn(StreamId) -> Option<Stand>,
) -> Plan {
    let mut plan = Plan { commands: Vec::new(), planned: Vec::new() };
    let mut stands: HashMap<StreamId, Stand> = HashMap::new();
    let mut keys = HashSet::new();
    let mut events = 0;
    while let Some(job) = jobs.pop_front() {
        if job.answer.is_closed() {
            // The client has gone; nothing has been decided for it yet.
            continue;
        }
        let full = plan.commands.len() >= commands_max;
        if full || job.key.is_some_and(|key| keys.contains(&key.key)) {
            jobs.push_front(job);
            break;
        }
        let stand = match stands.get(&job.stream) {
            Some(stand) => stand.clone(),
            None => newest(cached(job.stream), &job.stand),
        };
        let (command, intent) = decide(&job, &stand);
        if events + command.events.len() > EVENTS_PER_BATCH_MAX {
            jobs.push_front(job);
            break;
        }
        events += command.events.len();
        keys.extend(job.key.map(|key| key.key));
        let after = if let Intent::Commit { after, .. } = &intent { after.clone() } else { stand };
        stands.insert(job.stream, after);
        plan.commands.push(command);
        plan.planned.push(Planned { job, intent });
    }
    plan
}

fn newest(cached: Option<Stand>, loaded: &Stand) -> Stand {
    cached.filter(|cached| cached.version > loaded.version).unwrap_or_else(|| loaded.clone())
}

/// The command as the log sees it. A refusal is a command too, without events: the append confirms
/// that the version it was refused on is the current one, since another process may have moved on,
/// and looks its key up, since a repeated command is often refused on the state that its first
/// attempt made.
fn decide(job: &Job, stand: &Stand) -> (Command, Intent) {
    if job.expected.is_some_and(|expected| expected != stand.version) {
        return (check(job, stand), Intent::VersionConflict(stand.version));
    }
    let accepted = match job.decider.decide(stand) {
        Verdict::Accepted(accepted) => accepted,
        Verdict::Refused(rejection) => return (check(job, stand), Intent::Refuse(rejection)),
        Verdict::Foreign => return (check(job, stand), Intent::Fail(Trouble::OtherAggregate)),
    };
    if too_large(&accepted) {
        return (check(job, stand), Intent::Fail(Trouble::TooLarge));
    }
    let Accepted { events, facts, refusals, next } = accepted;
    let version = stand.version.plus(events.len() as u64);
    let intent = Intent::Commit { after: Stand { version, state: next }, refusals };
    let key = job.key.map(|hashes| Key { key: hashes.key, payload: hashes.payload, store: true });
    (Command { key, events, facts, ..check(job, stand) }, intent)
}

fn check(job: &Job, stand: &Stand) -> Command {
    Command {
        stream: job.stream,
        expected: stand.version,
        command_id: job.command_id,
        caller: job.caller.clone(),
        traceparent: job.traceparent.clone(),
        key: job.key.map(|hashes| Key { key: hashes.key, payload: hashes.payload, store: false }),
        events: Vec::new(),
        facts: Vec::new(),
    }
}

fn too_large(accepted: &Accepted) -> bool {
    accepted.events.len() > EVENTS_PER_COMMAND_MAX
        || accepted.events.iter().any(|event| event.payload.len() > PAYLOAD_BYTES_MAX)
}
