//! Appends on the condition that nothing was added to the result of a query: by tags, types and
//! streams, in batches, and under contention.

use headwater_eventlog::{Boundary, BoundaryRead, BoundaryStep, Part};
use headwater_kernel::{Query, QueryItem};

use super::*;

/// What a query matched, and where.
pub(super) struct Seen {
    pub(super) read: BoundaryRead,
    positions: Vec<u64>,
}

pub(super) async fn see(log: &EventLog, query: &Query, after: u64, streams: &[StreamId]) -> Seen {
    let streams: Vec<_> = streams.iter().map(|stream| (*stream, StreamVersion(0))).collect();
    let step = BoundaryStep {
        partition: P0,
        query,
        after: Position(after),
        streams: &streams,
        events_max: 1_000,
        time_max: Duration::from_secs(10),
    };
    let mut positions = Vec::new();
    let each = |_, event: RecordedEvent| {
        positions.push(event.position.0);
        Ok::<(), LogError>(())
    };
    let read = log.read_boundary(step, each).await.expect("read");
    Seen { read, positions }
}

fn tagged(stream: StreamId, expected: u64, tags: &[&str]) -> Command {
    let mut command = command(stream, expected, 1);
    command.events[0].tags = tags.iter().map(ToString::to_string).collect();
    command
}

/// The command, decided on what the query matched up to a position.
fn on(mut command: Command, query: &Query, after: u64, ahead: usize) -> Command {
    let (stream, expected) = (command.stream, command.expected);
    let (events, facts) = (command.events.len(), command.facts.len());
    command.boundary = Some(Box::new(Boundary {
        query: query.clone(),
        after: Position(after),
        versions: vec![(stream, expected)],
        ahead,
        parts: vec![Part { stream, expected, events, facts }],
    }));
    command
}

/// A command that appends to several streams, decided on all of them.
fn across(parts: &[(StreamId, u64, usize)]) -> Command {
    let (own, expected, _) = parts[0];
    let all = parts.iter().map(|(.., events)| events).sum();
    let mut command = command(own, expected, all);
    let versions: Vec<_> =
        parts.iter().map(|(stream, expected, _)| (*stream, StreamVersion(*expected))).collect();
    let part = |(stream, expected, events): &(StreamId, u64, usize)| {
        let expected = StreamVersion(*expected);
        Part { stream: *stream, expected, events: *events, facts: 0 }
    };
    command.boundary = Some(Box::new(Boundary {
        query: Query::streams(parts.iter().map(|(stream, ..)| *stream)),
        after: Position(0),
        versions,
        ahead: 0,
        parts: parts.iter().map(part).collect(),
    }));
    command
}

#[tokio::test]
async fn an_append_by_tags_fails_if_what_it_was_decided_on_has_grown() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let course = Query::new([QueryItem::tag("course/1")]);
    let place = Query::new([QueryItem::tag("course/1").and_tag("student/1")]);
    let closed = Query::new([QueryItem::tag("course/1").of_types(["test.v1.Closed"])]);
    let first = tagged(stream(), 0, &["course/1", "student/2"]);
    assert_eq!(append(&mut appender, &[on(first, &course, 0, 0)]).await, ["committed v1 at 1"]);
    // One at a time, so that none of them is decided on another one.
    for (query, after, expected) in [
        (&course, 0, "conflict at v0"),
        (&place, 0, "committed v1 at 2"),
        (&place, 1, "conflict at v0"),
        (&closed, 0, "committed v1 at 3"),
        (&course, 3, "committed v1 at 4"),
    ] {
        let next = tagged(stream(), 0, &["course/1", "student/1"]);
        let outcome = append(&mut appender, &[on(next, query, after, 0)]).await;
        assert_eq!(outcome, [expected], "{query:?} {after}");
    }
    // Those without events are checked as well, and what has no boundary does not mind.
    let checks = [(&course, 3, "conflict at v0"), (&course, 4, "committed v0 at 4")]
        .map(|(query, after, e)| (on(command(stream(), 0, 0), query, after, 0), e));
    for (check, expected) in checks {
        assert_eq!(append(&mut appender, &[check]).await, [expected]);
    }
    let plain = tagged(stream(), 0, &["course/1"]);
    assert_eq!(append(&mut appender, &[plain]).await, ["committed v1 at 5"]);
    assert_eq!(see(&log, &course, 0, &[]).await.positions, [1, 2, 3, 4, 5]);
    assert_eq!(see(&log, &place, 2, &[]).await.positions, [3, 4]);
    assert_eq!(see(&log, &closed, 0, &[]).await.positions, Vec::<u64>::new());
    // Untagged events leave nothing in the table.
    append(&mut appender, &[command(stream(), 0, 3)]).await;
    assert_eq!(owner_reads(&log, "SELECT count(*) FROM headwater_log.tag").await, 9);
    assert_eq!(read_all(&log, P0).await.len(), 8);
}

#[tokio::test]
async fn a_command_says_how_many_events_of_its_batch_it_was_decided_on() {
    let log = fresh_log(1).await;
    let tag = Query::new([QueryItem::tag("t")]);
    let on = |ahead| on(tagged(stream(), 0, &["t"]), &tag, 0, ahead);
    // Two are decided on the first one's event, one of them says so.
    let batch = [on(0), on(1), on(1), on(2)];
    assert_eq!(
        append(&mut log.appender(P0), &batch).await,
        ["committed v1 at 1", "committed v1 at 2", "conflict at v0", "committed v1 at 3"]
    );
}

/// The command, decided on so many events of its batch, and before it on these versions.
fn ahead(mut command: Command, ahead: usize, versions: &[(StreamId, u64)]) -> Command {
    let boundary = command.boundary.as_mut().expect("a boundary");
    boundary.ahead = ahead;
    boundary.versions = versions.iter().map(|(s, v)| (*s, StreamVersion(*v))).collect();
    command
}

#[tokio::test]
async fn commands_of_a_batch_that_were_decided_on_each_other_fall_together() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let [a, b, c, d] = [stream(), stream(), stream(), stream()];
    append(&mut appender, &[command(a, 0, 1), command(b, 0, 1), command(c, 0, 1)]).await;
    // The transfer from a to b is decided on a version of b that has passed. What was decided on
    // top of it falls with it, by whichever of its streams; what was not, does not.
    let batch = [
        command(a, 1, 1),
        ahead(across(&[(a, 2, 1), (b, 0, 1)]), 1, &[(a, 1), (b, 0)]),
        command(a, 3, 1),
        command(c, 1, 1),
        command(b, 1, 1),
        tagged(d, 0, &["u"]),
    ];
    assert_eq!(
        append(&mut appender, &batch).await,
        [
            "committed v2 at 4",
            "conflict at v1",
            "conflict at v1",
            "committed v2 at 5",
            "conflict at v1",
            "committed v1 at 6"
        ]
    );
    // Tags stand where their events do, whatever of the batch has dropped out.
    assert_eq!(see(&log, &Query::new([QueryItem::tag("u")]), 0, &[]).await.positions, [6]);
}

#[tokio::test]
async fn commands_of_a_batch_follow_each_other_across_streams() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let [a, b, c] = [stream(), stream(), stream()];
    append(&mut appender, &[command(a, 0, 2), command(b, 0, 1), command(c, 0, 2)]).await;
    // A chain may begin as two.
    let batch = [
        command(a, 2, 1),
        command(b, 1, 1),
        across(&[(b, 2, 1), (a, 3, 2)]),
        command(a, 5, 0),
        command(b, 3, 1),
        across(&[(a, 5, 1), (c, 2, 1)]),
    ];
    let [one, two, three, four, five, six] = batch;
    let three = ahead(three, 2, &[(a, 2), (b, 1)]);
    let six = ahead(six, 3, &[(a, 2), (c, 2)]);
    assert_eq!(
        append(&mut appender, &[one, two, three, four, five, six]).await,
        [
            "committed v3 at 6",
            "committed v2 at 7",
            // Its last event is a's.
            "committed v5 at 10",
            "committed v5 at 10",
            "committed v4 at 11",
            "committed v3 at 13"
        ]
    );
    let events = read_all(&log, P0).await;
    for stream in [a, b, c] {
        let of: Vec<u64> =
            events.iter().filter(|e| e.stream == stream).map(|e| e.version.0).collect();
        assert_eq!(of, (1..=of.len() as u64).collect::<Vec<_>>());
    }
    let both = Query::streams([a, c]);
    let seen = see(&log, &both, 0, &[c, a, b]).await;
    assert_eq!(seen.read.versions, [3, 6, 4].map(StreamVersion));
    assert_eq!((seen.read.head, seen.read.events), (Position(13), 9));
}

#[tokio::test]
async fn a_key_of_a_command_on_several_streams_is_applied_once() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let (a, b) = (stream(), stream());
    append(&mut appender, &[command(b, 0, 3)]).await;
    let transfer = with_key(across(&[(a, 0, 1), (b, 3, 1)]), 1, 1);
    assert_eq!(append(&mut appender, std::slice::from_ref(&transfer)).await, ["committed v4 at 5"]);
    let again = Command { command_id: Uuid::now_v7(), ..transfer.clone() };
    assert_eq!(append(&mut appender, &[again]).await, ["replayed v4 at 5"]);
    // As a commit of unknown outcome is looked up.
    let found = appender.resolve(&[transfer, across(&[(a, 0, 1), (b, 3, 1)])]).await;
    let found = found.expect("looked up").into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(summary(&found), ["committed v4 at 5"]);
    let Outcome::Committed(receipt) = &found[0] else { panic!("{found:?}") };
    assert_eq!(receipt.stream, b);
    // Facts are those of their part's stream.
    let mut marked = across(&[(a, 1, 1), (b, 4, 1)]);
    for kind in [FactKind::SetMark, FactKind::SetMark] {
        marked = with_fact(marked, kind, "stock");
    }
    let boundary = marked.boundary.as_mut().expect("a boundary");
    boundary.parts.iter_mut().for_each(|part| part.facts = 1);
    assert_eq!(append(&mut appender, &[marked]).await, ["committed v5 at 7"]);
    let marks = "SELECT count(DISTINCT stream) FROM headwater_log.mark WHERE name = 'stock'";
    assert_eq!(owner_reads(&log, marks).await, 2);
}

/// As Marten did at first (its issue 4591): the condition must not be read in a snapshot of the
/// time before the other writer's commit.
#[tokio::test]
async fn of_two_writers_that_wait_for_the_same_lock_one_finds_the_others_event() {
    let log = fresh_log(1).await;
    let query = Query::new([QueryItem::tag("seat/1")]);
    let mut held = connect(&log.url).await;
    sqlx::raw_sql("BEGIN; SELECT pg_advisory_xact_lock(723742106, 0)")
        .execute(&mut held)
        .await
        .expect("held");
    let book = || {
        let booking = on(tagged(stream(), 0, &["seat/1"]), &query, 0, 0);
        let mut appender = log.appender(P0);
        async move { append(&mut appender, &[booking]).await.concat() }
    };
    let free = async {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                        WHERE l.locktype = 'advisory' AND NOT l.granted
                          AND d.datname = current_database()";
        eventually(Duration::from_secs(10), async || match owner_reads(&log, waiting).await {
            2 => Ok(()),
            count => Err(format!("{count} wait for the lock")),
        })
        .await;
        sqlx::raw_sql("COMMIT").execute(&mut held).await.expect("freed");
    };
    let (mut one, mut other, ()) = tokio::join!(book(), book(), free);
    if one > other {
        std::mem::swap(&mut one, &mut other);
    }
    assert_eq!([one, other], ["committed v1 at 1", "conflict at v0"]);
}

/// The example of dcb.events: a course takes so many students, and a student so many courses.
#[tokio::test]
async fn no_course_is_overbooked_by_contending_writers() {
    const PLACES: usize = 10;
    const COURSES_EACH: usize = 2;
    let log = fresh_log(1).await;
    let write = |writer: usize| {
        let log = log.clone();
        async move {
            let mut appender = log.appender(P0);
            let mut conflicts = 0;
            for attempt in 0..40 {
                let course = format!("course/{}", (writer + attempt) % 3);
                let student = format!("student/{}", (writer * 7 + attempt) % 20);
                let query = Query::new([QueryItem::tag(&course), QueryItem::tag(&student)]);
                loop {
                    let all = see(&log, &query, 0, &[]).await;
                    let of = async |tag: &str| {
                        let query = Query::new([QueryItem::tag(tag)]);
                        let seen = see(&log, &query, 0, &[]).await;
                        let head = all.read.head.0;
                        seen.positions.into_iter().filter(|position| *position <= head).count()
                    };
                    if of(&course).await >= PLACES || of(&student).await >= COURSES_EACH {
                        break;
                    }
                    let booked = tagged(stream(), 0, &[&course, &student]);
                    let booked = on(booked, &query, all.read.head.0, 0);
                    if append(&mut appender, &[booked]).await[0].starts_with("committed") {
                        break;
                    }
                    conflicts += 1;
                }
            }
            conflicts
        }
    };
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(write(writer))).collect();
    let mut conflicts = 0;
    for writer in writers {
        conflicts += writer.await.expect("no panic");
    }
    assert!(conflicts > 0, "they got into each other's way");
    let mut booked = 0;
    for course in 0..3 {
        let query = Query::new([QueryItem::tag(format!("course/{course}"))]);
        let seen = see(&log, &query, 0, &[]).await;
        assert!(seen.positions.len() <= PLACES, "course {course}: {:?}", seen.positions);
        booked += seen.positions.len();
    }
    for student in 0..20 {
        let query = Query::new([QueryItem::tag(format!("student/{student}"))]);
        let seen = see(&log, &query, 0, &[]).await;
        assert!(seen.positions.len() <= COURSES_EACH, "student {student}: {:?}", seen.positions);
    }
    assert_eq!(booked, 3 * PLACES, "there was enough demand");
}

/// The database finds by its indexes what the rule says, for queries of every kind.
#[tokio::test]
async fn what_the_database_matches_is_what_the_query_matches() {
    const TAGS: [&str; 3] = ["x", "y", "z"];
    const TYPES: [&str; 2] = ["test.v1.One", "test.v1.Two"];
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let streams = [stream(), stream(), stream()];
    // Every combination of stream, type and tags, in an order that mixes them.
    let mut versions = [0; 3];
    let mut events = Vec::new();
    for n in 0..96 {
        let number = n * 37 % 96;
        let (place, type_name) = (number % 3, TYPES[number / 3 % 2]);
        let tags = TAGS.iter().enumerate().filter(|(bit, _)| ((number / 6) >> bit) & 1 == 1);
        let tags: Vec<&str> = tags.map(|(_, tag)| *tag).collect();
        let mut next = tagged(streams[place], versions[place], &tags);
        next.events[0].type_name = type_name;
        versions[place] += 1;
        let event = next.events[0].clone();
        assert_eq!(append(&mut appender, &[next]).await.len(), 1);
        events.push((streams[place], event));
    }
    let mut items = Vec::new();
    for number in 0..96 {
        let mut item = match number % 4 {
            3 => QueryItem::default(),
            place => QueryItem::stream(streams[place]),
        };
        for (bit, tag) in TAGS.iter().enumerate() {
            item = if ((number / 4) >> bit) & 1 == 1 { item.and_tag(*tag) } else { item };
        }
        let types: &[&str] = [&[], &TYPES[..1], &TYPES[1..]][number / 32];
        items.push(item.of_types(types.iter().copied()));
    }
    for pair in items.iter().zip(items.iter().cycle().skip(41)) {
        let query = Query::new([pair.0.clone(), pair.1.clone()]);
        let matches = |(stream, event): &(StreamId, NewEvent)| {
            query.matches(*stream, event.type_name, &event.tags)
        };
        let all: Vec<u64> =
            (1..).zip(&events).filter(|(_, e)| matches(e)).map(|(n, _)| n).collect();
        assert_eq!(see(&log, &query, 0, &[]).await.positions, all, "{query:?}");
        let last = all.last().copied().unwrap_or_default();
        let version_at = |stream: StreamId, position: u64| {
            let before = &events[..position as usize];
            StreamVersion(before.iter().filter(|(of, _)| *of == stream).count() as u64)
        };
        // Decided on all but the last one that matches, and on all of them.
        for (after, expected) in [(last.saturating_sub(1), "conflict"), (last, "committed")] {
            let named = query.named_streams();
            let mut check = on(command(stream(), 0, 0), &query, after, 0);
            check.boundary.as_mut().expect("a boundary").versions =
                named.iter().map(|stream| (*stream, version_at(*stream, after))).collect();
            let outcome = append(&mut appender, &[check]).await.concat();
            assert!(last == 0 || outcome.starts_with(expected), "{query:?} {after}: {outcome}");
        }
    }
}
