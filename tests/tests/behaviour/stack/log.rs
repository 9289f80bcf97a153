//! The log against a real Postgres: what an append guarantees, under contention, tampering and
//! broken connections.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use headwater_eventlog::{
    Appender, Command, EventLog, Fact, FactKind, Head, Key, LoadFrom, LoadMax, LoadStep, LogError,
    LogInfo, Outcome, SavedSnapshot,
};
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::envelope::Subject;
use headwater_kernel::{
    NewEvent, Partition, Position, RecordedEvent, StreamId, StreamVersion, Token,
};
use headwater_tests::harness::{Cluster, Options, eventually};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

mod boundaries;
mod editions;
mod epochs;
mod held;
mod key_index;

const P0: Partition = Partition(0);

fn event(payload: &[u8]) -> NewEvent {
    let payload = payload.to_vec();
    NewEvent {
        type_name: "test.v1.Happened",
        schema_version: 1,
        payload,
        tags: Vec::new(),
        subject: None,
    }
}

fn command(stream: StreamId, expected: u64, events: usize) -> Command {
    Command {
        stream,
        expected: StreamVersion(expected),
        command_id: Uuid::now_v7(),
        caller: Some("tester".to_owned()),
        traceparent: None,
        key: None,
        events: (0..events).map(|n| event(&[n as u8; 40])).collect(),
        facts: Vec::new(),
        boundary: None,
    }
}

fn with_fact(mut command: Command, kind: FactKind, name: &str) -> Command {
    command.facts.push(Fact { kind, name: name.to_owned() });
    command
}

fn with_key(mut command: Command, key: u128, payload: u128) -> Command {
    let old_key = Uuid::from_u128(key | 1 << 100);
    let (key, payload) = (Uuid::from_u128(key), Uuid::from_u128(payload));
    command.key = Some(Key { key, old_key, payload, store: true });
    command
}

fn stream() -> StreamId {
    StreamId(Uuid::now_v7())
}

/// What became of each command, in short.
fn summary(outcomes: &[Outcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Committed(r) => format!("committed v{} at {}", r.version, r.position),
            Outcome::Replayed(r) => format!("replayed v{} at {}", r.version, r.position),
            Outcome::KeyReused => "key reused".to_owned(),
            Outcome::VersionConflict(current) => format!("conflict at v{current}"),
            Outcome::FactFailed(index) => format!("fact {index}"),
        })
        .collect()
}

async fn append(appender: &mut Appender, commands: &[Command]) -> Vec<String> {
    summary(&appender.append(commands).await.expect("appended"))
}

/// The whole partition, verified.
async fn read_all(log: &EventLog, partition: Partition) -> Vec<RecordedEvent> {
    let mut head = Head::START;
    let mut all = Vec::new();
    loop {
        let chunk = log.read(partition, &head, 1).await.expect("verified");
        head = chunk.end;
        all.extend(chunk.events);
        if chunk.caught_up {
            break;
        }
    }
    let heads = log.heads().await.expect("heads");
    assert_eq!(heads.heads[usize::from(partition.0)], head, "the head is where the events end");
    all
}

#[tokio::test]
async fn a_row_tells_its_epoch_and_whom_its_payload_is_about() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let own = stream();
    let mut told = command(own, 0, 3);
    told.events[0].subject = Some(Subject::Own);
    told.events[1].subject = Some(Subject::Other("customer 7".to_owned()));
    appender.append(&[told]).await.expect("appended");
    let mut connection = connect(&log.url).await;
    let rows: Vec<(i32, Option<String>)> =
        sqlx::query_as("SELECT epoch, subject FROM headwater_log.event ORDER BY position")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
    let epoch = log.info().epoch.0 as i32;
    let expected =
        [Some(own.0.to_string()), Some("customer 7".to_owned()), None].map(|of| (epoch, of));
    assert_eq!(rows, expected);
}

/// The same command reaches two partitions at once, and the second one waits for the claim that the
/// first one takes: it finds the first one's receipt, and not a claim that somebody else has.
#[tokio::test]
async fn a_key_is_found_behind_a_claim_that_another_partition_takes() {
    let log = fresh_log(2).await;
    let mut second = log.appender(Partition(1));
    // So that the next batch is looked at before it is inserted.
    let taken = stream();
    assert_eq!(append(&mut second, &[command(taken, 0, 1)]).await, ["committed v1 at 1"]);
    assert_eq!(append(&mut second, &[command(taken, 0, 1)]).await, ["conflict at v1"]);
    let claims = "SELECT pg_advisory_lock(7237421060)";
    let mut holder = connect(&log.url).await;
    sqlx::raw_sql(claims).execute(&mut holder).await.expect("locked");
    let same = || with_key(with_fact(command(stream(), 0, 1), FactKind::TakeClaim, "it"), 7, 1);
    let mut first = log.appender(P0);
    let firsts = tokio::spawn(async move { append(&mut first, &[same()]).await });
    waits_for_claims(&log.url, 1).await;
    let seconds = tokio::spawn(async move { append(&mut second, &[same()]).await });
    waits_for_claims(&log.url, 2).await;
    holder.close().await.expect("closed");
    assert_eq!(firsts.await.expect("no panic"), ["committed v1 at 1"]);
    assert_eq!(seconds.await.expect("no panic"), ["replayed v1 at 1"]);
}

/// Until so many appends wait for the lock of all claims.
async fn waits_for_claims(url: &str, appends: i64) {
    let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted";
    eventually(Duration::from_secs(10), || async {
        let mut connection = connect(url).await;
        let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        anyhow::ensure!(waiting == appends, "{waiting} wait");
        anyhow::Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_appender_reads_what_others_appended_between_its_batches() {
    let log = fresh_log(1).await;
    let mut own = log.appender(P0);
    let mut other = log.appender(P0);
    let news = async |own: &mut Appender| -> Vec<u64> {
        let events = own.news().await.expect("read");
        events.iter().map(|event| event.position.0).collect()
    };
    assert_eq!(news(&mut own).await, Vec::<u64>::new());
    append(&mut other, &[command(stream(), 0, 2)]).await;
    append(&mut own, &[command(stream(), 0, 1)]).await;
    // From its own first batch on.
    assert_eq!(news(&mut own).await, Vec::<u64>::new());
    append(&mut other, &[command(stream(), 0, 2)]).await;
    assert_eq!(news(&mut own).await, [4, 5]);
    append(&mut other, &[command(stream(), 0, 1)]).await;
    append(&mut own, &[command(stream(), 0, 2), command(stream(), 0, 1)]).await;
    append(&mut other, &[command(stream(), 0, 1)]).await;
    assert_eq!(news(&mut own).await, [6, 10]);
    assert_eq!(news(&mut own).await, Vec::<u64>::new());
    // Passed over: more than is read at once.
    for _ in 0..5 {
        append(&mut other, &[command(stream(), 0, 250)]).await;
    }
    assert_eq!(news(&mut own).await, Vec::<u64>::new());
    append(&mut other, &[command(stream(), 0, 1)]).await;
    append(&mut own, &[command(stream(), 0, 1)]).await;
    append(&mut other, &[command(stream(), 0, 1)]).await;
    assert_eq!(news(&mut own).await, [1_263]);
}

#[tokio::test]
async fn positions_are_dense_and_a_failing_command_drops_out_alone() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let a = stream();
    let b = stream();
    let c = stream();
    let clean = [command(a, 0, 2), command(b, 0, 1), command(a, 2, 1)];
    assert_eq!(
        append(&mut appender, &clean).await,
        ["committed v2 at 2", "committed v1 at 3", "committed v3 at 4"]
    );
    // b is decided on a version that has passed, and what was decided on top of it falls with it:
    // that the version is the expected one is chance, another event has taken the place.
    let mixed = [command(c, 0, 1), command(b, 0, 1), command(b, 1, 1), command(a, 3, 2)];
    assert_eq!(
        append(&mut appender, &mixed).await,
        ["committed v1 at 5", "conflict at v1", "conflict at v1", "committed v5 at 7"]
    );
    let ahead = [command(b, 7, 1)];
    assert_eq!(append(&mut appender, &ahead).await, ["conflict at v1"]);
    // Without events a command is only checked.
    let checks = [command(a, 5, 0), command(a, 4, 0)];
    assert_eq!(append(&mut appender, &checks).await, ["committed v5 at 7", "conflict at v5"]);

    let events = read_all(&log, P0).await;
    let places: Vec<u64> = events.iter().map(|event| event.position.0).collect();
    assert_eq!(places, (1..=7).collect::<Vec<u64>>());
    let of_a: Vec<u64> = events.iter().filter(|e| e.stream == a).map(|e| e.version.0).collect();
    assert_eq!(of_a, [1, 2, 3, 4, 5]);
    assert!(events.is_sorted_by_key(|event| event.recorded_at));
}

#[tokio::test]
async fn a_key_is_applied_once() {
    let log = fresh_log(4).await;
    let mut appender = log.appender(P0);
    let (a, b) = (stream(), stream());
    assert_eq!(
        append(&mut appender, &[with_key(command(a, 0, 2), 1, 1)]).await,
        ["committed v2 at 2"]
    );
    // Again, on whatever version, in whatever company and partition.
    let again = [with_key(command(a, 2, 1), 1, 1), command(b, 0, 1)];
    assert_eq!(append(&mut appender, &again).await, ["replayed v2 at 2", "committed v1 at 3"]);
    let mut elsewhere = log.appender(Partition(3));
    let again = [with_key(command(stream(), 0, 1), 1, 1)];
    let outcomes = elsewhere.append(&again).await.expect("appended");
    let Outcome::Replayed(receipt) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!((receipt.stream, receipt.partition, receipt.position), (a, P0, Position(2)));
    assert_eq!(append(&mut appender, &[with_key(command(a, 2, 1), 1, 2)]).await, ["key reused"]);
    // A command without events keeps its key too; one that is only looked up does not.
    assert_eq!(
        append(&mut appender, &[with_key(command(b, 1, 0), 2, 1)]).await,
        ["committed v1 at 3"]
    );
    assert_eq!(
        append(&mut appender, &[with_key(command(b, 1, 1), 2, 1)]).await,
        ["replayed v1 at 3"]
    );
    let mut lookup = with_key(command(b, 1, 0), 3, 1);
    lookup.key.as_mut().expect("given").store = false;
    assert_eq!(append(&mut appender, &[lookup]).await, ["committed v1 at 3"]);
    assert_eq!(
        append(&mut appender, &[with_key(command(b, 1, 1), 3, 1)]).await,
        ["committed v2 at 4"]
    );
    // Receipts that no event is are forgotten; the others stay as long as their events do.
    assert_eq!(log.forget_receipts(0, 100).await.expect("deleted"), 1);
    assert_eq!(
        append(&mut appender, &[with_key(command(a, 2, 1), 1, 1)]).await,
        ["replayed v2 at 2"]
    );
    assert_eq!(
        append(&mut appender, &[with_key(command(b, 2, 1), 2, 1)]).await,
        ["committed v3 at 5"]
    );
    read_all(&log, P0).await;
}

#[tokio::test]
async fn claims_marks_and_guards_hold() {
    use FactKind::{ClearMark, FreeClaim, MarkAbsent, MarkPresent, SetMark, TakeClaim};
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let a = stream();
    let b = stream();
    let c = stream();
    let take = |stream, name| with_fact(command(stream, 0, 1), TakeClaim, name);
    let dependent = [take(a, "x"), take(b, "x")];
    let refusal = appender.append(&dependent).await.expect_err("they cannot be checked at once");
    assert!(refusal.to_string().contains("depend on each other"), "{refusal}");
    assert_eq!(
        append(&mut appender, &[take(a, "x"), take(c, "y")]).await,
        ["committed v1 at 1", "committed v1 at 2"]
    );
    assert_eq!(append(&mut appender, &[take(b, "x")]).await, ["fact 0"]);
    // Freed, then taken; freeing what another one holds changes nothing.
    let frees = with_fact(with_fact(command(a, 1, 1), TakeClaim, "z"), FreeClaim, "x");
    assert_eq!(append(&mut appender, &[frees]).await, ["committed v2 at 3"]);
    assert_eq!(append(&mut appender, &[take(b, "x")]).await, ["committed v1 at 4"]);
    let foreign = [with_fact(command(c, 1, 1), FreeClaim, "x")];
    assert_eq!(append(&mut appender, &foreign).await, ["committed v2 at 5"]);
    let two = with_fact(with_fact(command(c, 2, 1), TakeClaim, "w"), TakeClaim, "x");
    let neighbour = with_fact(command(stream(), 0, 1), TakeClaim, "v");
    assert_eq!(append(&mut appender, &[two, neighbour]).await, ["fact 1", "committed v1 at 6"]);
    // What failed took nothing.
    let takes_w = [with_fact(command(c, 2, 1), TakeClaim, "w")];
    assert_eq!(append(&mut appender, &takes_w).await, ["committed v3 at 7"]);
    let present = |stream, version| with_fact(command(stream, version, 1), MarkPresent, "m");
    assert_eq!(
        append(&mut appender, &[present(a, 2), command(a, 3, 1)]).await,
        ["fact 0", "conflict at v2"]
    );
    let sets = [with_fact(command(b, 1, 1), SetMark, "m")];
    assert_eq!(append(&mut appender, &sets).await, ["committed v2 at 8"]);
    assert_eq!(
        append(&mut appender, &[present(c, 3), with_fact(command(a, 2, 0), MarkAbsent, "m")]).await,
        ["committed v4 at 9", "fact 0"]
    );
    // Set by two streams: present until both have cleared it.
    let both = [with_fact(command(a, 2, 1), SetMark, "m")];
    assert_eq!(append(&mut appender, &both).await, ["committed v3 at 10"]);
    let one_clears = [with_fact(command(b, 2, 1), ClearMark, "m")];
    assert_eq!(append(&mut appender, &one_clears).await, ["committed v3 at 11"]);
    let absent = [with_fact(command(c, 4, 1), MarkAbsent, "m")];
    assert_eq!(append(&mut appender, &absent).await, ["fact 0"]);
    let the_other = [with_fact(command(a, 3, 1), ClearMark, "m")];
    assert_eq!(append(&mut appender, &the_other).await, ["committed v4 at 12"]);
    assert_eq!(append(&mut appender, &absent).await, ["committed v5 at 13"]);
    read_all(&log, P0).await;
}

/// Marten and SpiceDB shipped it: a check that runs in the statement that waits for the lock reads
/// what stood before the other writer's commit. Three writers add to the same streams, each on the
/// version it last saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_writers_in_contention_neither_lose_nor_repeat() {
    let log = fresh_log(1).await;
    let streams: Arc<Vec<StreamId>> = Arc::new((0..4).map(|_| stream()).collect());
    let writers = (0..3).map(|writer| {
        let (log, streams) = (log.log.clone(), Arc::clone(&streams));
        tokio::spawn(async move {
            let mut appender = log.appender(P0);
            let mut seen = [0u64; 4];
            let mut committed = HashSet::new();
            for round in 0..150 {
                let index = (writer + round) % 4;
                let commands = [command(streams[index], seen[index], 1), command(stream(), 0, 1)];
                let outcomes = appender.append(&commands).await.expect("appended");
                match &outcomes[0] {
                    Outcome::Committed(receipt) => {
                        committed.insert(commands[0].command_id);
                        seen[index] = receipt.version.0;
                    }
                    Outcome::VersionConflict(current) => seen[index] = current.0,
                    other => panic!("{other:?}"),
                }
                assert!(
                    matches!(outcomes[1], Outcome::Committed(_)),
                    "the neighbour is not harmed"
                );
                committed.insert(commands[1].command_id);
            }
            committed
        })
    });
    let mut acknowledged = HashSet::new();
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.expect("no panic"));
    }
    let events = read_all(&log, P0).await;
    let stored: HashSet<Uuid> = events.iter().map(|event| event.command_id).collect();
    assert_eq!(stored.len(), events.len(), "nothing twice");
    assert_eq!(stored, acknowledged, "all that was acknowledged, and nothing else");
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.position.0, place as u64 + 1);
    }
    for stream in streams.iter() {
        let versions: Vec<u64> =
            events.iter().filter(|e| e.stream == *stream).map(|e| e.version.0).collect();
        assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
    }
}

/// Four partitions take the same claims in different orders at once: one each wins, and nobody
/// deadlocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_unique_across_partitions() {
    let log = fresh_log(4).await;
    let takers = (0..4u16).map(|partition| {
        let log = log.log.clone();
        tokio::spawn(async move {
            let mut appender = log.appender(Partition(partition));
            let mut won = Vec::new();
            for round in 0..30 {
                let mut names: Vec<String> = (0..5).map(|n| format!("{round}/{n}")).collect();
                if partition % 2 == 1 {
                    names.reverse();
                }
                let commands: Vec<Command> = names
                    .iter()
                    .map(|name| with_fact(command(stream(), 0, 1), FactKind::TakeClaim, name))
                    .collect();
                let outcomes = appender.append(&commands).await.expect("no collision, no deadlock");
                for (name, outcome) in names.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Committed(_) => won.push(name),
                        Outcome::FactFailed(0) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            won
        })
    });
    let mut all = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        all.extend(taker.await.expect("no panic"));
    }
    let unique: HashSet<&String> = all.iter().collect();
    assert_eq!((all.len(), unique.len()), (150, 150), "each claim was won once");
}

#[tokio::test]
async fn changed_history_is_noticed() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    for _ in 0..3 {
        append(&mut appender, &[command(stream(), 0, 2)]).await;
    }
    let before = read_all(&log, P0).await;
    assert_eq!(before.len(), 6);
    owner_runs(&log, "UPDATE headwater_log.event SET payload = 'x' WHERE position = 3").await;
    let error = log.read(P0, &Head::START, 100).await.expect_err("tampered");
    let LogError::Corrupt { position, .. } = error else { panic!("{error}") };
    assert_eq!(position, Position(3), "the first append that does not fit");
    owner_runs(&log, "DELETE FROM headwater_log.event WHERE position = 2").await;
    let error = log.read(P0, &Head::START, 100).await.expect_err("a gap");
    assert!(error.to_string().contains("position 2"), "{error}");
}

#[tokio::test]
async fn another_history_is_noticed_from_a_checkpoint() {
    let (one, other) = (fresh_log(1).await, fresh_log(1).await);
    for log in [&one, &other] {
        append(&mut log.appender(P0), &[command(stream(), 0, 2)]).await;
        append(&mut log.appender(P0), &[command(stream(), 0, 1)]).await;
    }
    let checkpoint = Head { position: Position(2), ..one.heads().await.expect("heads").heads[0] };
    let error = other.read(P0, &checkpoint, 100).await.expect_err("another history");
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn the_command_role_cannot_change_events() {
    let log = fresh_log(1).await;
    let restricted = as_role(&log, "headwater_command").await;
    let mut appender = restricted.appender(P0);
    assert_eq!(append(&mut appender, &[command(stream(), 0, 1)]).await, ["committed v1 at 1"]);
    for statement in [
        "UPDATE headwater_log.event SET payload = ''",
        "DELETE FROM headwater_log.event",
        "TRUNCATE headwater_log.event",
        "INSERT INTO headwater_log.event SELECT * FROM headwater_log.event",
        "UPDATE headwater_log.head SET position = 0",
        "DELETE FROM headwater_log.eventless_receipt",
        "DROP TABLE headwater_log.event",
    ] {
        let refusal = role_runs(&restricted, statement).await.expect_err(statement);
        assert!(
            ["permission denied", "must be owner", "cannot update view"]
                .iter()
                .any(|words| refusal.contains(words)),
            "{statement}: {refusal}"
        );
    }
    let feed = as_role(&log, "headwater_feed").await;
    assert_eq!(read_all(&feed, P0).await.len(), 1);
    let refusal =
        feed.appender(P0).append(&[command(stream(), 0, 1)]).await.expect_err("read only");
    assert!(refusal.to_string().contains("refused"), "{refusal}");
}

/// Who may read how far the log goes may read nothing of what is in it.
#[tokio::test]
async fn the_end_of_the_log_is_all_that_its_role_sees() {
    let log = fresh_log(4).await;
    append(&mut log.appender(P0), &[command(stream(), 0, 3)]).await;
    let restricted = as_role(&log, "headwater_end").await;
    let end = restricted.end().await.expect("the end");
    let heads = log.heads().await.expect("heads");
    let positions: Vec<Position> = heads.heads.iter().map(|head| head.position).collect();
    let LogInfo { id, epoch, .. } = log.info();
    assert_eq!(end.token, Token::of_positions(id, epoch, &positions));
    assert_eq!(end.token.position(P0), Position(3));
    assert!(end.now <= heads.now, "{end:?} {heads:?}");
    for statement in [
        "SELECT FROM headwater_log.event",
        "SELECT FROM headwater_log.eventless_receipt",
        "SELECT FROM headwater_log.stream_snapshot",
        "UPDATE headwater_log.log SET epoch = 2",
    ] {
        let refusal = role_runs(&restricted, statement).await.expect_err(statement);
        assert!(refusal.contains("permission denied"), "{statement}: {refusal}");
    }
}

#[tokio::test]
async fn long_streams_load_from_snapshots() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let (long, short) = (stream(), stream());
    for step in 0..10 {
        append(&mut appender, &[command(long, step * 250, 250)]).await;
    }
    append(&mut appender, &[command(short, 0, 3)]).await;
    let loaded = log.load(&[short, long, stream()], true).await.expect("loaded");
    let counts: Vec<usize> = loaded.iter().map(|l| l.events.len()).collect();
    assert_eq!(counts, [3, 2_500, 0], "more than one step's worth comes whole");
    assert!(loaded[1].events.iter().enumerate().all(|(n, e)| e.version.0 == n as u64 + 1));

    let events = loaded[1].events.clone();
    let command_of = |version: u64| {
        let event = events.iter().find(|event| event.version.0 == version);
        event.map_or(Uuid::nil(), |event| event.command_id)
    };
    let saved = |version: u64, position: u64| SavedSnapshot {
        stream: long,
        version: StreamVersion(version),
        position: Position(position),
        epoch: log.info().epoch,
        command_id: command_of(version),
        aggregate: "test".to_owned(),
        snapshot: Snapshot { format: 1, state: vec![1, 2, 3] },
    };
    log.save_snapshots(&[saved(2_000, 2_000)]).await.expect("saved");
    log.save_snapshots(&[saved(1_000, 1_000)]).await.expect("an older one is ignored");
    let loaded = log.load(&[long], true).await.expect("loaded");
    assert_eq!(loaded[0].snapshot, Some(saved(2_000, 2_000)));
    assert_eq!(loaded[0].events.first().map(|e| e.version), Some(StreamVersion(2_001)));
    assert_eq!(loaded[0].events.len(), 500);
    let whole = log.load(&[long], false).await.expect("loaded");
    assert_eq!((whole[0].snapshot.is_none(), whole[0].events.len()), (true, 2_500));
    // One of another format is kept beside it, for the programs that read that.
    let format = |mut snapshot: SavedSnapshot, format| {
        snapshot.snapshot.format = format;
        snapshot
    };
    let other = format(saved(1_500, 1_500), 2);
    log.save_snapshots(std::slice::from_ref(&other)).await.expect("saved");
    let newest = log.load(&[long], true).await.expect("loaded");
    assert_eq!(newest[0].snapshot, Some(saved(2_000, 2_000)));
    let step = LoadStep { stream: long, from: LoadFrom::Snapshot(Some(2)) };
    let max = LoadMax { events: 1, row: Duration::from_secs(3) };
    let mut found = Vec::new();
    log.load_rows(&[step], max, |row| found.push(row.snapshot)).await.expect("loaded");
    assert_eq!(found, [Some(other)]);
    // One that names an event which is not there, or is another command's (the log lost its tail),
    // is not trusted, and is not in the way of an older one that can be.
    let gone = saved(9_000, 9_000);
    let foreign = SavedSnapshot { command_id: Uuid::now_v7(), ..saved(2_400, 2_400) };
    for wrong in [gone, foreign] {
        log.save_snapshots(&[format(wrong, 3)]).await.expect("saved");
        let step = LoadStep { stream: long, from: LoadFrom::Snapshot(Some(3)) };
        let mut found = Vec::new();
        log.load_rows(&[step], max, |row| found.push(row.snapshot)).await.expect("loaded");
        assert_eq!(found, [None]);
        let right = format(saved(1_000, 1_000), 3);
        log.save_snapshots(std::slice::from_ref(&right)).await.expect("saved");
        let mut found = Vec::new();
        log.load_rows(&[step], max, |row| found.push(row.snapshot)).await.expect("loaded");
        assert_eq!(found, [Some(right)]);
    }
}

#[tokio::test]
async fn appends_never_scan_a_table() {
    let log = fresh_log(1).await;
    let scans = || {
        owner_reads(
            &log,
            "SELECT coalesce(sum(seq_scan), 0)::bigint FROM pg_stat_user_tables
              WHERE relname IN ('event', 'eventless_receipt', 'claim', 'mark')",
        )
    };
    // Making the indexes has scanned the tables.
    let before = scans().await;
    let mut appender = log.appender(P0);
    for round in 0..30u64 {
        let commands: Vec<Command> = (0..20)
            .map(|n| {
                let number = u128::from(round * 100 + n);
                let name = format!("{number}");
                let fact = if n % 2 == 0 { FactKind::TakeClaim } else { FactKind::SetMark };
                with_fact(with_key(command(stream(), 0, 1), number + 1, 1), fact, &name)
            })
            .collect();
        append(&mut appender, &commands).await;
    }
    // The server adds a session's scans up when it ends: wait until they are there.
    drop(appender);
    let by_index = || owner_reads(&log, "SELECT sum(idx_scan)::bigint FROM pg_stat_user_tables");
    eventually(Duration::from_secs(10), || async {
        let reported = by_index().await;
        if reported < 1_200 { Err(format!("only {reported} scans are reported")) } else { Ok(()) }
    })
    .await;
    assert_eq!(scans().await, before);
}

/// A proxy cuts the connection after the server has had the append and before its answer comes
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_found_out() {
    let log = fresh_log(1).await;
    let proxy = Proxy::start(&log).await;
    let through = proxy.log().await;
    let mut appender = through.appender(P0);
    let (a, b) = (stream(), stream());
    append(&mut appender, &[command(a, 0, 1)]).await;
    let commands = [command(a, 1, 2), command(b, 0, 0), with_key(command(b, 0, 0), 7, 1)];
    proxy.swallow_replies();
    let error = appender.append(&commands).await.expect_err("the reply is lost");
    assert!(matches!(error, LogError::OutcomeUnknown(_)), "{error}");
    proxy.heal();
    let found = appender.resolve(&commands).await.expect("resolved");
    let found: Vec<_> = found.iter().map(found_in_short).collect();
    let in_short = |text: &str| Some(text.to_owned());
    assert_eq!(found, [in_short("committed v3 at 3"), None, in_short("committed v0 at 3")]);
    // What never reached the server is not there, and stays away.
    proxy.cut();
    let lost = [command(b, 0, 1)];
    appender.append(&lost).await.expect_err("cut");
    proxy.heal();
    assert_eq!(appender.resolve(&lost).await.expect("resolved"), [None]);
    assert_eq!(append(&mut appender, &[command(b, 0, 1)]).await, ["committed v1 at 4"]);
    read_all(&log, P0).await;
}

/// A command that was refused or changed nothing has no event to be found by, only its key; and
/// that may be an earlier command's.
#[tokio::test]
async fn what_a_key_finds_after_an_unknown_outcome_may_be_an_earlier_commands() {
    let log = fresh_log(1).await;
    let mut appender = log.appender(P0);
    let (a, b) = (stream(), stream());
    let first = with_key(command(a, 0, 2), 7, 1);
    append(&mut appender, &[first.clone(), command(b, 0, 1)]).await;
    append(&mut appender, &[command(a, 2, 1)]).await;
    let refused = |payload| {
        let mut command = with_key(command(a, 3, 0), 7, payload);
        command.key = command.key.map(|key| Key { store: false, ..key });
        command
    };
    let other_stream = with_key(command(b, 1, 1), 7, 1);
    let unknown = with_key(command(b, 1, 0), 8, 1);
    let commands = [first, refused(1), refused(2), other_stream, unknown];
    let found = appender.resolve(&commands).await.expect("resolved");
    let found: Vec<_> = found.iter().map(found_in_short).collect();
    let replayed = "replayed v2 at 2".to_owned();
    let expected =
        ["committed v2 at 2".to_owned(), replayed.clone(), "key reused".to_owned(), replayed];
    assert_eq!(found, expected.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
}

fn found_in_short(found: &Option<Outcome>) -> Option<String> {
    found.as_ref().map(|outcome| summary(std::slice::from_ref(outcome)).concat())
}

// ---- the databases of these tests ----

/// A log of its own, with the URL it is reached by.
struct TestLog {
    log: EventLog,
    url: String,
}

impl std::ops::Deref for TestLog {
    type Target = EventLog;
    fn deref(&self) -> &EventLog {
        &self.log
    }
}

async fn open(url: String) -> TestLog {
    TestLog { log: EventLog::connect(&url, 2).await.expect("connected"), url }
}

async fn fresh_log(partitions: u16) -> TestLog {
    let url = fresh_database().await;
    EventLog::migrate(&url, partitions).await.expect("migrated");
    EventLog::migrate(&url, partitions).await.expect("migrated again");
    open(url).await
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("connected")
}

async fn owner_runs(log: &TestLog, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut connect(&log.url).await).await.expect(statement);
}

async fn owner_reads(log: &TestLog, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&mut connect(&log.url).await).await.expect(query)
}

/// The same log through a login of its own that has the rights of one role alone.
async fn as_role(log: &TestLog, role: &str) -> TestLog {
    let login = format!("login_{}", Uuid::new_v4().simple());
    let statement = format!("CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE {role}");
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::raw_sql(statement).execute(&mut connect(&log.url).await).await.expect("created");
    let (_, rest) = log.url.split_once('@').expect("a user");
    open(format!("postgres://{login}:{login}@{rest}")).await
}

async fn role_runs(log: &TestLog, statement: &'static str) -> Result<(), String> {
    let done = sqlx::raw_sql(statement).execute(&mut connect(&log.url).await).await;
    done.map(|_| ()).map_err(|error| error.to_string())
}

/// A TCP proxy in front of the database.
struct Proxy {
    database: String,
    address: std::net::SocketAddr,
    mode: watch::Sender<Mode>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Pass,
    /// What the server answers is thrown away, and then the connection ends.
    SwallowReplies,
    /// Connections end, and new ones too.
    Cut,
}

impl Proxy {
    async fn start(log: &TestLog) -> Self {
        let upstream = host_and_port(&log.url);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.expect("the database is there");
                tokio::spawn(forward(client, server, modes.clone()));
            }
        });
        Self { database: log.url.clone(), address, mode }
    }

    async fn log(&self) -> EventLog {
        let upstream = host_and_port(&self.database);
        let url = self.database.replace(&upstream, &self.address.to_string());
        EventLog::connect(&url, 2).await.expect("connected")
    }

    fn swallow_replies(&self) {
        self.mode.send_replace(Mode::SwallowReplies);
    }

    fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    fn heal(&self) {
        self.mode.send_replace(Mode::Pass);
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, mut modes: watch::Receiver<Mode>) {
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Cut {
            return;
        }
        tokio::select! {
            _ = modes.changed() => {}
            read = client.read(&mut sent) => match read {
                Ok(count) if count > 0 => server.write_all(&sent[..count]).await.expect("sent"),
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                // The answer proves that the server is done with it.
                Ok(count) if count > 0 && mode == Mode::Pass => {
                    if client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

fn host_and_port(url: &str) -> String {
    let after = url.split_once('@').expect("a user").1;
    after.split_once('/').expect("a database").0.to_owned()
}

/// A database of its own on a node that all of these tests share, by the superuser, since a test
/// makes roles.
async fn fresh_database() -> String {
    static NODE: OnceCell<Cluster> = OnceCell::const_new();
    let options = Options { single_database: true, replicas: 0, ..Options::databases_only() };
    let start = || async { Cluster::start(options).await.expect("a node") };
    let node = NODE.get_or_init(start).await;
    let name = format!("t{}", Uuid::new_v4().simple());
    let mut connection = connect(&node.superuser_url(node.log_node())).await;
    let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("created");
    node.plan().superuser_url(node.plan().log_primary(), &name)
}
