//! Decisions by tags alone, the example of <https://dcb.events>: a course takes so many students,
//! and a student takes so many courses, without an aggregate that both belong to.
#![allow(missing_docs, clippy::panic)]

mod courses;
mod unmigrated;

use std::collections::HashMap;
use std::sync::Arc;

use courses::{COURSES_EACH, EnrolmentCommand, EnrolmentEvent, FOLDED, Rig, key, outcome};
use headwater_kernel::{EventSet as _, Position};

const PLACES: usize = 12;
const COURSES: usize = 4;
const STUDENTS: usize = 30;
const CLIENTS: usize = 64;

fn define(course: &str, places: usize) -> EnrolmentCommand {
    EnrolmentCommand::Define { course: course.to_owned(), places }
}

fn enrol(course: &str, student: &str) -> EnrolmentCommand {
    EnrolmentCommand::Enrol { course: course.to_owned(), student: student.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_course_is_overbooked_by_64_clients_of_two_programs() {
    let rig = Arc::new(Rig::start(2).await);
    for course in 0..COURSES {
        let defined = rig.send(0, define(&format!("c{course}"), PLACES), None).await;
        assert_eq!(outcome(defined), "v1");
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                let mut outcomes: HashMap<String, usize> = HashMap::new();
                for attempt in 0..5 {
                    let course = format!("c{}", (client + attempt) % COURSES);
                    let student = format!("s{}", (client * 11 + attempt * 7) % STUDENTS);
                    let enrolled = loop {
                        let sent = rig.send(client % 2, enrol(&course, &student), None).await;
                        let enrolled = outcome(sent);
                        if enrolled != "CONTENTION" {
                            break enrolled;
                        }
                    };
                    *outcomes.entry(enrolled).or_default() += 1;
                }
                outcomes
            })
        })
        .collect();
    let mut all: HashMap<String, usize> = HashMap::new();
    for client in clients {
        for (outcome, count) in client.await.expect("no panic") {
            *all.entry(outcome).or_default() += count;
        }
    }
    let enrolled = all.remove("v1").unwrap_or_default();
    assert!(
        all.keys().all(|outcome| ["COURSE_FULL", "TOO_MANY_COURSES"].contains(&outcome.as_str()))
    );
    assert!(all.contains_key("COURSE_FULL"), "the rule of courses was met: {all:?}");

    let mut by_course: HashMap<String, usize> = HashMap::new();
    let mut by_student: HashMap<String, usize> = HashMap::new();
    let mut position = Position(0);
    for event in rig.events().await {
        assert!(event.position > position);
        position = event.position;
        let decoded = EnrolmentEvent::decode(&event.type_name, 1, &event.payload);
        if let EnrolmentEvent::Enrolled { course, student } = decoded.expect("an event") {
            *by_course.entry(course).or_default() += 1;
            *by_student.entry(student).or_default() += 1;
        }
    }
    assert!(by_course.values().all(|students| *students <= PLACES), "{by_course:?}");
    assert!(by_student.values().all(|courses| *courses <= COURSES_EACH), "{by_student:?}");
    assert_eq!(by_course.values().sum::<usize>(), enrolled, "those that were told, and no others");

    // The rule of students, which contention may never have met: most courses are full by then.
    for number in 0..=COURSES_EACH {
        let course = format!("d{number}");
        assert_eq!(outcome(rig.send(0, define(&course, PLACES), None).await), "v1");
        let enrolled = outcome(rig.send(number % 2, enrol(&course, "keen"), None).await);
        let expected = if number < COURSES_EACH { "v1" } else { "TOO_MANY_COURSES" };
        assert_eq!(enrolled, expected, "course {number}");
    }
}

#[tokio::test]
async fn commands_of_one_program_are_decided_on_top_of_each_other() {
    let rig = Rig::start(1).await;
    assert_eq!(outcome(rig.send(0, define("c", 1_000), None).await), "v1");
    FOLDED.set(0);
    for _ in 0..4 {
        // All of one boundary, at once.
        let sent = (0..CLIENTS).map(|_| rig.send(0, EnrolmentCommand::Visit("c".to_owned()), None));
        for visited in futures_util::future::join_all(sent).await {
            assert_eq!(outcome(visited), "v1");
        }
    }
    let visits = 4 * CLIENTS;
    assert_eq!(rig.events().await.len(), 1 + visits);
    // Each event is folded when it is decided, and hardly ever again.
    assert!(FOLDED.get() <= visits + 1 + CLIENTS, "{} of {visits}", FOLDED.get());
    // A boundary that another one's commands have added to: it is brought up to date from what was
    // appended last, and a new one is loaded.
    assert_eq!(outcome(rig.send(0, enrol("c", "s"), None).await), "v1");
    assert_eq!(outcome(rig.send(0, EnrolmentCommand::Visit("c".to_owned()), None).await), "v1");
    assert_eq!(
        outcome(rig.send(0, EnrolmentCommand::Tell("c".to_owned()), None).await),
        "TOLD_257_1"
    );
}

#[tokio::test]
async fn another_programs_events_are_read_on_from_where_the_state_ends() {
    let rig = Rig::start(2).await;
    assert_eq!(outcome(rig.send(0, define("c", 1_000), None).await), "v1");
    for round in 0..6 {
        for _ in 0..20 {
            let visit = EnrolmentCommand::Visit("c".to_owned());
            assert_eq!(outcome(rig.send(round % 2, visit, None).await), "v1");
        }
    }
    FOLDED.set(0);
    let tell = || EnrolmentCommand::Tell("c".to_owned());
    assert_eq!(outcome(rig.send(0, tell(), None).await), "TOLD_120_0", "refused on what there is");
    assert!(FOLDED.get() <= 20, "{} events folded, of which 20 were new", FOLDED.get());
    assert_eq!(outcome(rig.send(1, tell(), None).await), "TOLD_120_0");
}

#[tokio::test]
async fn a_key_is_applied_once() {
    let rig = Rig::start(2).await;
    assert_eq!(outcome(rig.send(0, define("c", 10), None).await), "v1");
    let first = rig.send(0, enrol("c", "s"), Some(key(1, 1))).await.expect("enrolled");
    let again = rig.send(1, enrol("c", "s"), Some(key(1, 1))).await.expect("found");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((first.receipt.position, first.receipt.stream), {
        (again.receipt.position, again.receipt.stream)
    });
    assert_eq!(outcome(rig.send(0, enrol("c", "t"), Some(key(1, 2))).await), {
        "IDEMPOTENCY_KEY_REUSED"
    });
    // One that changed nothing is remembered as well.
    let nothing = rig.send(0, define("c", 10), Some(key(2, 1))).await.expect("nothing to do");
    let again = rig.send(1, define("c", 10), Some(key(2, 1))).await.expect("found");
    assert_eq!((nothing.replayed, again.replayed), (false, true));
    assert_eq!(rig.events().await.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_one_command_fails_it_alone() {
    let rig = Rig::start(1).await;
    assert_eq!(outcome(rig.send(0, define("c", 100), None).await), "v1");
    let wrong = [
        (EnrolmentCommand::PanicInDecide("c".to_owned()), "INTERNAL"),
        (EnrolmentCommand::Astray("c".to_owned()), "INTERNAL"),
        (EnrolmentCommand::Visit("t".repeat(201)), "INVALID_REQUEST"),
        (EnrolmentCommand::Visit("a\0b".to_owned()), "INVALID_REQUEST"),
    ];
    let sent = wrong.map(|(command, expected)| {
        let rig = &rig;
        async move {
            let visit = || EnrolmentCommand::Visit("c".to_owned());
            let sent = [rig.send(0, visit(), None), rig.send(0, command, None)];
            let [well, wrong] = futures_util::future::join_all(sent).await.try_into().expect("two");
            assert_eq!((outcome(well).as_str(), outcome(wrong).as_str()), ("v1", expected));
        }
    });
    futures_util::future::join_all(sent).await;
    assert_eq!(rig.events().await.len(), 5);
}
