//! Courses and students: events by tags, on a Postgres of its own.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use headwater_chassis::{Invocation, Metrics};
use headwater_command_svc::{Acks, Committed, Config, Executor};
use headwater_edge::{Call, CallOptions, Failure, KeyHashes};
use headwater_eventlog::{EventLog, Head};
use headwater_kernel::{
    Aggregate, Context, DecidedAcross, Decision, DecisionModel, DecodeError, EventSet, NewEvent,
    Partition, PartitionKey, Query, QueryItem, RecordedEvent, Rejection, StreamId,
};
use headwater_previous as previous;
use headwater_testkit::Postgres;
use tokio::time::timeout;
use uuid::Uuid;

pub const COURSES_EACH: usize = 2;
/// No command of these tests takes longer, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Events that this thread, and so a test on one thread, has folded.
    pub static FOLDED: Cell<usize> = const { Cell::new(0) };
}

pub enum EnrolmentCommand {
    Define {
        course: String,
        places: usize,
    },
    Enrol {
        course: String,
        student: String,
    },
    Visit(String),
    /// Is refused, with a reason that tells visits and students.
    Tell(String),
    PanicInDecide(String),
    /// Appends to a stream that is not its own.
    Astray(String),
}

#[derive(Clone, PartialEq)]
pub enum EnrolmentEvent {
    Defined { course: String, places: usize },
    Enrolled { course: String, student: String },
    Visited { course: String },
}

const DEFINED: &str = "courses.v1.Defined";
const ENROLLED: &str = "courses.v1.Enrolled";
const VISITED: &str = "courses.v1.Visited";

impl EventSet for EnrolmentEvent {
    fn encode(&self) -> NewEvent {
        let course_tag = |course: &str| format!("course/{course}");
        let (type_name, payload, tags) = match self {
            Self::Defined { course, places } => {
                (DEFINED, format!("{course} {places}"), vec![course_tag(course)])
            }
            Self::Enrolled { course, student } => {
                let tags = vec![course_tag(course), format!("student/{student}")];
                (ENROLLED, format!("{course} {student}"), tags)
            }
            Self::Visited { course } => (VISITED, course.clone(), vec![course_tag(course)]),
        };
        NewEvent {
            type_name,
            schema_version: 1,
            payload: payload.into_bytes(),
            tags,
            subject: None,
        }
    }

    fn decode(type_name: &str, _: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        let text = String::from_utf8_lossy(payload).into_owned();
        let mut words = text.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let course = word();
        match type_name {
            DEFINED => Ok(Self::Defined { course, places: word().parse().unwrap_or_default() }),
            ENROLLED => Ok(Self::Enrolled { course, student: word() }),
            VISITED => Ok(Self::Visited { course }),
            other => Err(DecodeError::UnknownType { type_name: other.to_owned() }),
        }
    }
}

/// What is known of a course and a student.
#[derive(Clone, Default)]
pub struct Enrolment {
    places: HashMap<String, usize>,
    by_course: HashMap<String, usize>,
    by_student: HashMap<String, usize>,
    visits: usize,
}

impl DecisionModel for Enrolment {
    const NAME: &'static str = "enrolment";
    type Command = EnrolmentCommand;
    type Event = EnrolmentEvent;

    fn boundary(command: &EnrolmentCommand, _: &Context) -> Query {
        let course = |course: &str| QueryItem::tag(format!("course/{course}"));
        match command {
            EnrolmentCommand::Define { course: id, .. } => {
                Query::new([course(id).of_types([DEFINED])])
            }
            EnrolmentCommand::Enrol { course: id, student } => Query::new([
                course(id).of_types([DEFINED, ENROLLED]),
                QueryItem::tag(format!("student/{student}")),
            ]),
            EnrolmentCommand::Visit(id)
            | EnrolmentCommand::Tell(id)
            | EnrolmentCommand::PanicInDecide(id)
            | EnrolmentCommand::Astray(id) => Query::new([course(id)]),
        }
    }

    fn decide(
        &self,
        command: &EnrolmentCommand,
        context: &Context,
    ) -> DecidedAcross<EnrolmentEvent> {
        let refused = |reason, why: &str| Err(Rejection::failed_precondition(reason, why));
        let count = |all: &HashMap<String, usize>, key: &str| all.get(key).copied().unwrap_or(0);
        let event = match command {
            EnrolmentCommand::Define { course, .. } if self.places.contains_key(course) => {
                return Ok(Vec::new());
            }
            EnrolmentCommand::Define { course, places } => {
                EnrolmentEvent::Defined { course: course.clone(), places: *places }
            }
            EnrolmentCommand::Enrol { course, student } => {
                if count(&self.by_course, course) >= count(&self.places, course) {
                    return refused("COURSE_FULL", "no place is left");
                }
                if count(&self.by_student, student) >= COURSES_EACH {
                    return refused("TOO_MANY_COURSES", "a student takes no more");
                }
                EnrolmentEvent::Enrolled { course: course.clone(), student: student.clone() }
            }
            EnrolmentCommand::Visit(course) => EnrolmentEvent::Visited { course: course.clone() },
            EnrolmentCommand::Tell(course) => {
                let reason = format!("TOLD_{}_{}", self.visits, count(&self.by_course, course));
                return refused(reason.leak(), "as it is");
            }
            EnrolmentCommand::PanicInDecide(_) => panic!("told to panic in decide"),
            EnrolmentCommand::Astray(course) => {
                let event = EnrolmentEvent::Visited { course: course.clone() };
                return Ok(vec![(StreamId(Uuid::from_u128(7)), Decision::event(event))]);
            }
        };
        Ok(vec![(context.stream, Decision::event(event))])
    }

    fn evolve(&mut self, _: StreamId, event: &EnrolmentEvent) {
        FOLDED.set(FOLDED.get() + 1);
        match event {
            EnrolmentEvent::Defined { course, places } => {
                self.places.insert(course.clone(), *places);
            }
            EnrolmentEvent::Enrolled { course, student } => {
                *self.by_course.entry(course.clone()).or_default() += 1;
                *self.by_student.entry(student.clone()).or_default() += 1;
            }
            EnrolmentEvent::Visited { .. } => self.visits += 1,
        }
    }
}

/// Several write sides on one log of one partition, in the test's process.
pub struct Rig {
    postgres: Postgres,
    log: EventLog,
    executors: Vec<Executor>,
}

impl Rig {
    pub async fn start(executors: usize) -> Self {
        let postgres = Postgres::start().await;
        EventLog::migrate(&postgres.url(), 1).await.expect("the log's schema");
        Self::on(postgres, executors).await
    }

    /// One write side, on a log that the last release made and nobody has migrated.
    pub async fn unmigrated() -> Self {
        let postgres = Postgres::start().await;
        previous::EventLog::migrate(&postgres.url(), 1).await.expect("the log's schema");
        Self::on(postgres, 1).await
    }

    /// Migrates the log, while its write sides go on.
    pub async fn migrate(&self) {
        EventLog::migrate(&self.postgres.url(), 1).await.expect("migrated");
    }

    async fn on(postgres: Postgres, executors: usize) -> Self {
        let url = postgres.url();
        let log = EventLog::connect(&url, 4).await.expect("the log");
        let mut all = Vec::new();
        for _ in 0..executors {
            let log = EventLog::connect(&url, 4).await.expect("the log");
            let limits = config(&url).limits;
            all.push(Executor::start(&log, &limits, Acks::new(None), &Metrics::new()));
        }
        Self { postgres, log, executors: all }
    }

    /// Sends a command about a stream that is new.
    pub async fn send(
        &self,
        executor: usize,
        command: EnrolmentCommand,
        key: Option<KeyHashes>,
    ) -> Result<Committed, Failure> {
        let call = call(StreamId(Uuid::now_v7()), key);
        let sent = self.executors[executor].execute_across::<Enrolment>(call, command);
        timeout(PATIENCE, sent).await.expect("answered in time")
    }

    /// Sends a command that is decided on this stream alone.
    pub async fn send_alone<A: Aggregate>(
        &self,
        stream: StreamId,
        command: A::Command,
    ) -> Result<Committed, Failure> {
        let sent = self.executors[0].execute::<A>(call(stream, None), command);
        timeout(PATIENCE, sent).await.expect("answered in time")
    }

    /// The whole log, verified.
    pub async fn events(&self) -> Vec<RecordedEvent> {
        let mut head = Head::START;
        let mut all = Vec::new();
        loop {
            let chunk = self.log.read(Partition(0), &head, 100).await.expect("verified");
            head = chunk.end;
            all.extend(chunk.events);
            if chunk.caught_up {
                return all;
            }
        }
    }
}

fn call(stream: StreamId, key: Option<KeyHashes>) -> Call {
    Call {
        stream,
        partition_key: PartitionKey(Uuid::nil()),
        domain: "courses",
        options: CallOptions { key, ..CallOptions::default() },
    }
}

fn config(url: &str) -> Config {
    let vars = [
        ("HEADWATER_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0"),
        ("HEADWATER_WRITE_URL", url),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::read(Invocation::from_parts("command-svc", vars, [])).expect("a config")
}

pub fn key(number: u64, payload: u64) -> KeyHashes {
    KeyHashes {
        key: Uuid::from_u64_pair(3, number),
        old_key: Uuid::from_u64_pair(2, number),
        payload: Uuid::from_u64_pair(1, payload),
    }
}

/// The version that was committed, or the reason why not.
pub fn outcome(result: Result<Committed, Failure>) -> String {
    match result {
        Ok(done) => format!("v{}", done.receipt.version),
        Err(failure) => failure.reason().to_owned(),
    }
}
