//! From waiting jobs to a batch: decides every job on the newest state known, one on top of the
//! other. Pure.

use std::collections::{HashSet, VecDeque};
use std::iter;
use std::sync::Arc;

use headwater_chassis::trace::current_traceparent;
use headwater_eventlog::{BatchFacts, Command, EVENTS_PER_BATCH_MAX, Fact, Key, NAME_BYTES_MAX};
use headwater_kernel::envelope::{
    EVENTS_PER_COMMAND_MAX, PAYLOAD_BYTES_MAX, Subject, TAGS_MAX, is_tag,
};
use headwater_kernel::{Epoch, LogId, NewEvent, Rejection, StreamId, StreamVersion};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::across::version_of;
use crate::ahead::{Ahead, Asking, boundary};
use crate::decide::{Accepted, Decider, StateKey, Verdict, VersionedState, caught};
use crate::recent::Recent;
use crate::reply::{Answer, AppendError};
use headwater_edge::{Call, History, KeyHashes};

/// A command that waits for its partition's appender.
pub(crate) struct Job {
    pub stream: StreamId,
    /// The state when it was sent on; the cache may hold a newer one.
    pub state: VersionedState,
    pub decider: Arc<dyn Decider>,
    pub key: Option<KeyHashes>,
    /// The version the client expects.
    pub expected: Option<StreamVersion>,
    /// The history that it is a version of, and the log whose epoch decides which one is the
    /// stream's.
    pub history: Option<(LogId, History)>,
    /// True if the state was read to its end for this command.
    pub is_read: bool,
    pub command_id: Uuid,
    pub caller: Option<String>,
    pub traceparent: Option<String>,
    pub answer: oneshot::Sender<Answer>,
}

impl Job {
    /// A command to be decided on this state or a newer one, and the receiver of its answer.
    pub(crate) fn new(
        call: &Call,
        (log, command_id): (LogId, Uuid),
        (state, is_read): (VersionedState, bool),
        decider: Arc<dyn Decider>,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let job = Self {
            stream: call.stream,
            state,
            decider,
            key: call.options.key,
            expected: call.options.expected_version,
            history: call.options.expected_history.map(|history| (log, history)),
            is_read,
            command_id,
            caller: call.options.caller.clone(),
            // This process's span if spans are exported, else the caller's.
            traceparent: current_traceparent().or_else(|| call.options.traceparent.clone()),
            answer,
        };
        (job, answered)
    }

    /// True if this state is older than what the client has seen, and there may be more of it:
    /// another program's commands have moved the stream on.
    pub(crate) fn is_ahead_of(&self, state: &VersionedState) -> bool {
        let is_behind = self.expected.is_some_and(|expected| state.version < expected);
        is_behind && !self.is_read && self.decider.boundary().is_none()
    }

    /// True if the client has seen another aggregate than this one, or one of the history before
    /// a failover.
    fn is_of_another_history(&self, epoch: Epoch) -> bool {
        self.history.is_some_and(|(log, seen)| seen != History::of(self.stream.0, log, epoch))
    }

    /// The name of the state that it is decided on.
    pub(crate) fn key(&self) -> StateKey {
        match self.decider.boundary() {
            None => StateKey::Stream(self.stream),
            Some(key) => StateKey::Boundary(key.clone()),
        }
    }
}

/// A job in a batch, with what is to be answered when its command passes.
pub(crate) struct Planned {
    pub job: Job,
    pub intent: Intent,
}

/// Meaning of a command that passes its checks, for its sender.
pub(crate) enum Intent {
    /// The events are recorded (or there are none); `after` is the state afterwards.
    Commit { after: VersionedState, refusals: Vec<Option<Rejection>> },
    /// The version it was refused on is confirmed.
    Refuse(Rejection),
    /// The client expected another version than this one, which is confirmed.
    VersionConflict(StreamVersion),
    /// The client saw another aggregate, or another history of this one, which is at this version.
    OtherHistory(StreamVersion),
    /// Nothing can be committed, for this reason.
    Fail(AppendError),
}

/// A batch and the jobs behind it, in the same order.
#[derive(Default)]
pub(crate) struct Plan {
    pub commands: Vec<Command>,
    pub planned: Vec<Planned>,
    /// Jobs whose state is of another epoch than the batch: a failover may have taken the end of
    /// its history, and another command the version's place. They have to be loaded anew.
    pub outdated: Vec<Job>,
    /// Jobs whose client has seen more than this process knows: the state has to be read on.
    pub behind: Vec<Job>,
}

impl Plan {
    /// Divides it in two halves, of at least one command each if there are two.
    pub(crate) fn halves(mut self) -> [Self; 2] {
        let middle = self.commands.len() / 2;
        let second = Self {
            commands: self.commands.split_off(middle),
            planned: self.planned.split_off(middle),
            ..Self::default()
        };
        [self, second]
    }

    /// Takes out the jobs on these streams.
    pub(crate) fn without(&mut self, streams: &HashSet<StreamId>) -> Vec<Job> {
        let mut kept = Self::default();
        let mut taken = Vec::new();
        for (command, planned) in self.commands.drain(..).zip(self.planned.drain(..)) {
            if streams_of(&command).any(|stream| streams.contains(&stream)) {
                taken.push(planned.job);
            } else {
                kept.commands.push(command);
                kept.planned.push(planned);
            }
        }
        kept.outdated.append(&mut self.outdated);
        kept.behind.append(&mut self.behind);
        *self = kept;
        taken
    }

    /// The streams that it is about.
    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.commands.iter().flat_map(streams_of)
    }
}

/// The streams that a command is about.
pub(crate) fn streams_of(command: &Command) -> impl Iterator<Item = StreamId> {
    let parts = command.boundary.iter().flat_map(|boundary| &boundary.parts);
    iter::once(command.stream).chain(parts.map(|part| part.stream))
}

/// Bytes of a batch's events and names, and so of one command's, too. What is larger would hold the
/// partition's lock, and every reader of the log, for long.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Takes jobs from the front of the queue until the batch is full, in commands, events or bytes;
/// what is left waits for the next one. A job whose idempotency key is already in the batch ends it
/// too, so that the second one finds the first one's receipt; and so does one whose claims, marks
/// or guards depend on those of a job before it, since all of a batch are checked before any is
/// changed.
///
/// `cached` gives the newest state the process knows of a stream or a boundary, `recent` has what
/// it appended last, `epoch` is the one that the batch will be of.
pub(crate) fn plan(
    jobs: &mut VecDeque<Job>,
    (epoch, commands_max): (Epoch, usize),
    recent: &Recent,
    cached: impl Fn(&StateKey) -> Option<VersionedState>,
) -> Plan {
    let mut plan = Plan::default();
    let mut ahead = Ahead::default();
    let mut keys = HashSet::new();
    let mut facts = BatchFacts::default();
    let mut events = 0;
    let mut bytes = 0;
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
        let decider = &*job.decider;
        let asking = Asking { stream: job.stream, decider, loaded: &job.state };
        let Some(current) = ahead.state(asking, (epoch, &plan.commands), recent, &cached) else {
            plan.outdated.push(job);
            continue;
        };
        if job.is_ahead_of(&current) {
            plan.behind.push(job);
            continue;
        }
        let (command, intent) = decide(&job, &current);
        events += command.events.len();
        bytes += bytes_of(&command.events, &command.facts);
        let fits = events <= EVENTS_PER_BATCH_MAX && bytes <= BATCH_BYTES_MAX;
        if !fits || !facts.admit(&command.facts) {
            jobs.push_front(job);
            break;
        }
        keys.extend(job.key.map(|key| key.key));
        let after =
            if let Intent::Commit { after, .. } = &intent { after.clone() } else { current };
        plan.commands.push(command);
        ahead.add(job.stream, job.decider.boundary(), after, &plan.commands);
        plan.planned.push(Planned { job, intent });
    }
    plan
}

/// The command as the log sees it. A refusal is a command too, without events: the append confirms
/// that the version it was refused on is the current one, since another process may have moved on,
/// and looks its key up, since a repeated command is often refused on the state that its first
/// attempt made.
fn decide(job: &Job, current: &VersionedState) -> (Command, Intent) {
    if job.is_of_another_history(current.epoch) {
        return (check(job, current), Intent::OtherHistory(current.version));
    }
    if job.expected.is_some_and(|expected| expected != current.version) {
        return (check(job, current), Intent::VersionConflict(current.version));
    }
    let decided = caught("a decision", job.decider.names(), || job.decider.decide(current));
    let accepted = match decided {
        Some(Verdict::Accepted(accepted)) => accepted,
        Some(Verdict::Refused(rejection)) => {
            return (check(job, current), Intent::Refuse(rejection));
        }
        Some(Verdict::Foreign) => {
            return (check(job, current), Intent::Fail(AppendError::OtherAggregate));
        }
        Some(Verdict::Astray(stream)) => {
            let names = job.decider.names();
            tracing::error!(%stream, ?names, "a decision is about a stream beyond its boundary");
            return (check(job, current), Intent::Fail(AppendError::Defect));
        }
        None => return (check(job, current), Intent::Fail(AppendError::Panicked)),
    };
    if let Some(error) = cannot_be_stored(&accepted) {
        return (check(job, current), Intent::Fail(error));
    }
    let Accepted { events, facts, refusals, parts, next, extent } = accepted;
    let version = match &extent {
        None => current.version.plus(events.len() as u64),
        Some(extent) => version_of(extent, job.stream, Some(current.version)),
    };
    let heap_bytes = current.heap_bytes.saturating_add(bytes_of(&events, &[]));
    let VersionedState { epoch, evolve, .. } = *current;
    let after = VersionedState { epoch, version, state: next, heap_bytes, extent, evolve };
    let intent = Intent::Commit { after, refusals };
    let key = job.key.map(|hashes| stored(hashes, true));
    let mut command = Command { key, events, facts, ..check(job, current) };
    if let Some(boundary) = &mut command.boundary {
        boundary.parts = parts;
    }
    (command, intent)
}

fn check(job: &Job, current: &VersionedState) -> Command {
    Command {
        stream: job.stream,
        expected: current.version,
        command_id: job.command_id,
        caller: job.caller.clone(),
        traceparent: job.traceparent.clone(),
        key: job.key.map(|hashes| stored(hashes, false)),
        events: Vec::new(),
        facts: Vec::new(),
        boundary: job.decider.boundary().and_then(|key| boundary(key, current)),
    }
}

fn stored(KeyHashes { key, old_key, payload }: KeyHashes, store: bool) -> Key {
    Key { key, old_key, payload, store }
}

fn bytes_of(events: &[NewEvent], facts: &[Fact]) -> usize {
    let events = events.iter().map(|event| event.payload.len());
    events.chain(facts.iter().map(|fact| fact.name.len())).sum()
}

/// Reason why the database would refuse the command, and with it the whole batch.
fn cannot_be_stored(accepted: &Accepted) -> Option<AppendError> {
    let too_large = bytes_of(&accepted.events, &accepted.facts) > BATCH_BYTES_MAX
        || accepted.events.len() > EVENTS_PER_COMMAND_MAX
        || accepted.events.iter().any(|event| event.payload.len() > PAYLOAD_BYTES_MAX);
    let is_name = |name: &str| name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    let is_subject = |subject: &Subject| match subject {
        Subject::Own => true,
        Subject::Other(id) => is_tag(id),
    };
    let well_tagged = |event: &NewEvent| {
        event.tags.len() <= TAGS_MAX
            && event.tags.iter().all(|tag| is_tag(tag))
            && event.subject.iter().all(is_subject)
    };
    let well_named = accepted.facts.iter().all(|fact| is_name(&fact.name));
    if too_large {
        Some(AppendError::TooLarge)
    } else if !well_named || !accepted.events.iter().all(well_tagged) {
        Some(AppendError::BadName)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{AnyState, EventRef};
    use headwater_kernel::DecodeError;
    use headwater_kernel::aggregate::Snapshot;

    const EPOCH: Epoch = Epoch(3);

    /// Causes this many events of this many bytes.
    struct Causes(usize, usize);

    impl Decider for Causes {
        fn decide(&self, current: &VersionedState) -> Verdict {
            let payload = vec![0; self.1];
            let (type_name, tags) = ("test.v1.Event", Vec::new());
            let event = NewEvent { type_name, schema_version: 1, payload, tags, subject: None };
            let mut accepted = Accepted::nothing(Arc::clone(&current.state));
            accepted.events = vec![event; self.0];
            Verdict::Accepted(accepted)
        }
        fn blank(&self) -> AnyState {
            Arc::new(())
        }
        fn evolve(&self, _: &mut AnyState, _: EventRef<'_>) -> Result<(), DecodeError> {
            Ok(())
        }
        fn snapshot(&self, _: &AnyState) -> Option<(&'static str, Snapshot)> {
            None
        }
        fn names(&self) -> (&'static str, &'static str) {
            ("nothing", "Nothing")
        }
    }

    fn state((epoch, version): (u32, u64)) -> VersionedState {
        let (epoch, version) = (Epoch(epoch), StreamVersion(version));
        let state: AnyState = Arc::new(());
        VersionedState { epoch, version, state, heap_bytes: 0, extent: None, evolve: None }
    }

    fn job(stream: u128, loaded: (u32, u64), decider: Causes) -> (Job, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            stream: StreamId(Uuid::from_u128(stream)),
            state: state(loaded),
            decider: Arc::new(decider),
            key: None,
            expected: None,
            history: None,
            is_read: false,
            command_id: Uuid::nil(),
            caller: None,
            traceparent: None,
            answer,
        };
        (job, answered)
    }

    /// The version that a command is decided on; none if its state has to be loaded anew. Given are
    /// epoch and version of what was loaded, and of what the process knows.
    fn decided_on(loaded: (u32, u64), cached: Option<(u32, u64)>) -> Option<u64> {
        let (job, _answered) = job(0, loaded, Causes(0, 0));
        let plan = plan(&mut VecDeque::from([job]), (EPOCH, 10), &Recent::default(), |_| {
            cached.map(state)
        });
        assert_eq!(plan.commands.len() + plan.outdated.len(), 1);
        Some(plan.commands.first()?.expected.0)
    }

    #[test]
    fn a_version_is_of_one_aggregate_and_one_history() {
        let log = LogId(Uuid::from_u128(9));
        // Of stream 1 in the batch's epoch: what the client saw, and whether that is so still.
        for (id, epoch, is_so) in [(1, EPOCH, true), (2, EPOCH, false), (1, Epoch(2), false)] {
            let (mut job, _answered) = job(1, (3, 5), Causes(1, 1));
            job.expected = Some(StreamVersion(5));
            job.history = Some((log, History::of(Uuid::from_u128(id), log, epoch)));
            let plan = plan(&mut VecDeque::from([job]), (EPOCH, 10), &Recent::default(), |_| None);
            let planned = plan.planned.first().expect("it is answered");
            match &planned.intent {
                Intent::Commit { .. } => assert!(is_so, "{id} {epoch:?}"),
                Intent::OtherHistory(current) => {
                    assert!(!is_so && *current == StreamVersion(5), "{id} {epoch:?}");
                }
                _ => panic!("{id} {epoch:?}"),
            }
            assert_eq!(plan.commands[0].events.is_empty(), !is_so);
        }
    }

    #[test]
    fn a_batch_is_bounded_in_bytes() {
        let heavy = |stream| job(stream, (3, 0), Causes(16, PAYLOAD_BYTES_MAX));
        let (mut jobs, _answered): (VecDeque<Job>, Vec<_>) = (0..10).map(heavy).unzip();
        let mut batches = Vec::new();
        while !jobs.is_empty() {
            batches.push(plan(&mut jobs, (EPOCH, 10), &Recent::default(), |_| None).commands.len());
        }
        assert_eq!(batches, [4, 4, 2]);
        // What is too large for a batch of its own fails alone.
        let most = EVENTS_PER_COMMAND_MAX;
        let too_large = [job(1, (3, 0), Causes(most, 20_000)), job(2, (3, 0), Causes(1, 1))];
        let (mut jobs, _answered): (VecDeque<Job>, Vec<_>) = too_large.into_iter().unzip();
        let plan = plan(&mut jobs, (EPOCH, 10), &Recent::default(), |_| None);
        let failed =
            |planned: &Planned| matches!(planned.intent, Intent::Fail(AppendError::TooLarge));
        assert_eq!(plan.planned.iter().map(failed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn no_command_is_decided_on_the_state_of_another_epoch() {
        assert_eq!(decided_on((3, 5), None), Some(5));
        assert_eq!(decided_on((3, 5), Some((3, 7))), Some(7));
        assert_eq!(decided_on((3, 5), Some((3, 4))), Some(5));
        // Version 7 may be lost, and another event may be version 7 now.
        assert_eq!(decided_on((3, 5), Some((2, 7))), Some(5));
        assert_eq!(decided_on((2, 7), Some((3, 5))), Some(5));
        assert_eq!(decided_on((2, 7), None), None);
        assert_eq!(decided_on((2, 7), Some((2, 8))), None);
        // Of a higher number, and yet maybe of a history that is gone: numbers are drawn.
        assert_eq!(decided_on((4, 7), Some((3, 9))), Some(9));
        assert_eq!(decided_on((3, 9), Some((4, 10))), Some(9));
        assert_eq!(decided_on((4, 7), None), None);
        assert_eq!(decided_on((4, 7), Some((2, 8))), None);
    }
}
