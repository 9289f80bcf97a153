//! The log's schema is migrated while programs run: those of the last release (edition 2, the crate
//! `headwater-previous`) beside those of this one, on a log that the last release made.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use headwater_eventlog::Edition;
use headwater_kernel::{Epoch, Query};
use headwater_previous as previous;

use super::*;

const P1: Partition = Partition(1);

/// Hash of a key as programs of edition 2 store it, and as those of this one do.
fn keys(number: u64) -> (Uuid, Uuid) {
    (Uuid::from_u64_pair(2, number), Uuid::from_u64_pair(3, number))
}

const PAYLOAD: Uuid = Uuid::from_u128(9);

pub(super) fn keyed(mut command: Command, number: u64) -> Command {
    let (old_key, key) = keys(number);
    command.key = Some(Key { key, old_key, payload: PAYLOAD, store: true });
    command
}

/// The same command, as a program of edition 2 sends it.
fn as_old(command: &Command) -> previous::Command {
    let kind = |kind| match kind {
        FactKind::TakeClaim => previous::FactKind::TakeClaim,
        FactKind::FreeClaim => previous::FactKind::FreeClaim,
        FactKind::SetMark => previous::FactKind::SetMark,
        FactKind::ClearMark => previous::FactKind::ClearMark,
        FactKind::MarkPresent => previous::FactKind::MarkPresent,
        FactKind::MarkAbsent => previous::FactKind::MarkAbsent,
    };
    let fact = |fact: &Fact| previous::Fact { kind: kind(fact.kind), name: fact.name.clone() };
    previous::Command {
        stream: command.stream,
        expected: command.expected,
        command_id: command.command_id,
        caller: command.caller.clone(),
        traceparent: command.traceparent.clone(),
        key: command.key.map(|Key { old_key, payload, store, .. }| previous::Key {
            key: old_key,
            payload,
            store,
        }),
        events: command.events.clone(),
        facts: command.facts.iter().map(fact).collect(),
    }
}

/// A program that appends, of the last release or of this one.
pub(super) enum Program {
    Old(previous::Appender),
    New(Appender),
}

impl Program {
    async fn append(&mut self, commands: &[Command]) -> Result<Vec<String>, String> {
        match self {
            Self::Old(appender) => {
                let commands: Vec<_> = commands.iter().map(as_old).collect();
                match appender.append(&commands).await {
                    Ok(outcomes) => Ok(outcomes.iter().map(old_summary).collect()),
                    Err(previous::LogError::Collision(_) | previous::LogError::NewEpoch) => {
                        Ok(vec!["again".to_owned(); commands.len()])
                    }
                    Err(error) => Err(format!("old: {error}")),
                }
            }
            Self::New(appender) => match appender.append(commands).await {
                Ok(outcomes) => Ok(summary(&outcomes)),
                Err(LogError::Collision(_) | LogError::NewEpoch | LogError::Migrated) => {
                    Ok(vec!["again".to_owned(); commands.len()])
                }
                Err(error) => Err(format!("new: {error}")),
            },
        }
    }

    pub(super) async fn one(&mut self, command: Command) -> String {
        self.append(&[command]).await.expect("an outcome").concat()
    }
}

fn old_summary(outcome: &previous::Outcome) -> String {
    match outcome {
        previous::Outcome::Committed(r) => format!("committed v{} at {}", r.version, r.position),
        previous::Outcome::Replayed(r) => format!("replayed v{} at {}", r.version, r.position),
        previous::Outcome::KeyReused => "key reused".to_owned(),
        previous::Outcome::VersionConflict(current) => format!("conflict at v{current}"),
        previous::Outcome::FactFailed(index) => format!("fact {index}"),
    }
}

/// A log that the last release made, in its second epoch: 3 events of one stream in each partition
/// before the epoch and 2 after it, the first with the key 1 or 2, a claim and a mark.
pub(super) struct Made {
    pub url: String,
    pub streams: [StreamId; 2],
}

pub(super) async fn made_by_the_last_release() -> Made {
    let url = fresh_database().await;
    previous::EventLog::migrate(&url, 2).await.expect("migrated");
    let log = previous::EventLog::connect(&url, 2).await.expect("connected");
    let streams = [stream(), stream()];
    for (index, stream) in streams.into_iter().enumerate() {
        let mut program = Program::Old(log.appender(Partition(index as u16)));
        let first = keyed(command(stream, 0, 1), index as u64 + 1);
        let first = with_fact(first, FactKind::TakeClaim, &format!("claim {index}"));
        let first = with_fact(first, FactKind::SetMark, "mark");
        assert_eq!(program.one(first).await, "committed v1 at 1");
        assert_eq!(program.one(command(stream, 1, 2)).await, "committed v3 at 3");
    }
    log.close().await;
    previous::EventLog::start_epoch(&url).await.expect("begun");
    let log = previous::EventLog::connect(&url, 2).await.expect("connected");
    for (index, stream) in streams.into_iter().enumerate() {
        let mut program = Program::Old(log.appender(Partition(index as u16)));
        assert_eq!(program.one(command(stream, 3, 2)).await, "committed v5 at 5");
    }
    log.close().await;
    Made { url, streams }
}

pub(super) async fn old(url: &str) -> previous::EventLog {
    previous::EventLog::connect(url, 2).await.expect("the last release connects")
}

/// Both kinds of program, on whatever schema there is, find each other's keys, claims and versions.
async fn understand_each_other(made: &Made, (version, key): (u64, u64)) {
    let [a, _] = made.streams;
    let (old, new) = (old(&made.url).await, open(made.url.clone()).await);
    let mut old_program = Program::Old(old.appender(P0));
    let mut new_program = Program::New(new.appender(P0));
    let again = |stream| keyed(command(stream, 9, 1), 1);
    assert_eq!(old_program.one(again(a)).await, "replayed v1 at 1");
    assert_eq!(new_program.one(again(stream())).await, "replayed v1 at 1");
    let at = |version: u64| format!("committed v{version} at {version}");
    assert_eq!(new_program.one(keyed(command(a, version, 1), key)).await, at(version + 1));
    assert_eq!(old_program.one(keyed(command(a, version, 1), key)).await, {
        format!("replayed v{0} at {0}", version + 1)
    });
    assert_eq!(old_program.one(keyed(command(a, version + 1, 1), key + 1)).await, at(version + 2));
    assert_eq!(new_program.one(keyed(command(a, version, 1), key + 1)).await, {
        format!("replayed v{0} at {0}", version + 2)
    });
    assert_eq!(
        old_program.one(command(a, version, 1)).await,
        format!("conflict at v{}", version + 2)
    );
    let taken = || with_fact(command(stream(), 0, 1), FactKind::TakeClaim, "claim 1");
    assert_eq!(old_program.one(taken()).await, "fact 0");
    assert_eq!(new_program.one(taken()).await, "fact 0");
    // Commands without events keep their keys, too.
    assert_eq!(new_program.one(keyed(command(a, version + 2, 0), key + 2)).await, at(version + 2));
    assert_eq!(old_program.one(keyed(command(a, version + 2, 1), key + 2)).await, {
        format!("replayed v{0} at {0}", version + 2)
    });
    let (old_heads, new_heads) = (old.heads().await, new.heads().await);
    let positions = |heads: &[previous::Head]| heads.iter().map(|h| h.position).collect::<Vec<_>>();
    let new_positions: Vec<_> =
        new_heads.expect("heads").heads.iter().map(|head| head.position).collect();
    assert_eq!(positions(&old_heads.expect("heads").heads), new_positions);
    let chunk =
        old.read(P0, &previous::Head::START, 100).await.expect("verified by the last release");
    assert_eq!(chunk.events, read_all(&new, P0).await);
    let loaded = old.load(&[a], true).await.expect("loaded");
    assert_eq!(loaded[0].events, new.load(&[a], true).await.expect("loaded")[0].events);
    old.close().await;
}

/// A dump reads the events: the end of a migration does not make appends wait behind it.
async fn a_reader_makes_the_migration_give_up(url: &str) {
    let mut dump = connect(url).await;
    let reads = "BEGIN; SELECT FROM headwater_log.event";
    sqlx::raw_sql(reads).execute(&mut dump).await.expect("read");
    let waits = eventually(Duration::from_secs(10), || async {
        match EventLog::finish_migration(url).await {
            Err(LogError::Unavailable(error)) => Ok(error.to_string()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(waits.contains("lock timeout"), "{waits}");
    dump.close().await.expect("closed");
}

#[tokio::test]
async fn programs_of_two_releases_run_side_by_side_until_the_migration_is_finished() {
    let made = made_by_the_last_release().await;
    let [a, b] = made.streams;
    let edition = async || open(made.url.clone()).await.info().edition;
    assert_eq!(edition().await, Edition::Old);
    let from_before = open(made.url.clone()).await;
    let unready = EventLog::finish_migration(&made.url).await.expect_err("not migrated");
    assert!(unready.to_string().contains("run `headwater migrate` first"), "{unready}");
    understand_each_other(&made, (5, 10)).await;

    EventLog::migrate(&made.url, 2).await.expect("migrated");
    EventLog::migrate(&made.url, 2).await.expect("migrated again");
    assert_eq!(edition().await, Edition::Both);
    understand_each_other(&made, (7, 20)).await;

    let still_there = old(&made.url).await;
    let mut appender = Program::Old(still_there.appender(P0));
    assert_eq!(appender.one(command(a, 9, 1)).await, "committed v10 at 10");
    let refused = EventLog::finish_migration(&made.url).await.expect_err("old programs are there");
    assert!(refused.to_string().contains("upgrade those programs first"), "{refused}");
    drop(appender);
    still_there.close().await;
    drop(still_there);

    a_reader_makes_the_migration_give_up(&made.url).await;
    EventLog::finish_migration(&made.url).await.expect("finished");
    EventLog::finish_migration(&made.url).await.expect("nothing is left to do");
    // A program that has run since before the migration loads, and keeps snapshots.
    let loaded = from_before.load(&[a], true).await.expect("loaded");
    assert_eq!(loaded[0].events.len(), 10);
    assert_eq!(edition().await, Edition::Finished);
    let new = open(made.url.clone()).await;
    // What was committed before counts: keys of either release, claims, marks, versions.
    let mut program = Program::New(new.appender(P0));
    for key in [1, 10, 11, 12, 20, 21, 22] {
        let outcome = program.one(keyed(command(stream(), 0, 1), key)).await;
        assert!(outcome.starts_with("replayed"), "{key}: {outcome}");
    }
    assert_eq!(program.one(command(a, 10, 1)).await, "committed v11 at 11");
    let mut program = Program::New(new.appender(P1));
    let taken = with_fact(command(stream(), 0, 1), FactKind::TakeClaim, "claim 0");
    assert_eq!(program.one(taken).await, "fact 0");
    let marked = with_fact(command(b, 5, 1), FactKind::MarkPresent, "mark");
    assert_eq!(program.one(marked).await, "committed v6 at 6");
    assert_eq!((read_all(&new, P0).await.len(), read_all(&new, P1).await.len()), (11, 6));
    // Every event tells its epoch, also those from before there was a column for it.
    let epochs = "SELECT count(*) FROM headwater_log.event e WHERE e.epoch <> (
        SELECT max(s.epoch) FROM headwater_log.epoch_start s
         WHERE s.positions[e.partition + 1] < e.position)";
    assert_eq!(owner_reads(&new, epochs).await, 0);
    assert!(new.info().epoch > Epoch(2));
    let refused = previous::EventLog::connect(&made.url, 1).await.expect_err("too old");
    assert!(refused.to_string().contains("upgrade the program"), "{refused}");
    // Receipts of the last release are forgotten as they were, and then not looked for any more.
    let old_receipts = "SELECT has_old_receipts::int::bigint FROM headwater_log.log";
    assert_eq!(owner_reads(&new, old_receipts).await, 1);
    new.forget_receipts(0, 1_000).await.expect("forgotten");
    assert_eq!(owner_reads(&new, old_receipts).await, 0);
}

/// A program that has run since before the migration uses what came with it, without a new start.
#[tokio::test]
async fn a_program_from_before_the_migration_appends_tags_after_it() {
    let made = made_by_the_last_release().await;
    let [a, _] = made.streams;
    let log = open(made.url.clone()).await;
    let mut program = Program::New(log.appender(P0));
    assert_eq!(program.one(command(a, 5, 1)).await, "committed v6 at 6");
    let mut tagged = command(a, 6, 1);
    tagged.events[0].tags.push("seen:before".to_owned());
    let refused = program.append(slice::from_ref(&tagged)).await.expect_err("no tags yet");
    assert!(refused.contains("edition 3"), "{refused}");
    EventLog::migrate(&made.url, 2).await.expect("migrated");
    assert_eq!(program.one(tagged.clone()).await, "again");
    assert_eq!(program.one(tagged).await, "committed v7 at 7");
}

/// What one of many that load at once finds out of the migration makes none of the others fail.
#[tokio::test]
async fn many_load_at_once_after_a_migration() {
    let made = made_by_the_last_release().await;
    let [a, _] = made.streams;
    let from_before = async || {
        let log = EventLog::connect(&made.url, 8).await.expect("connected");
        let warm = (0..8).map(|_| log.load(slice::from_ref(&a), true));
        assert!(join_all(warm).await.iter().all(Result::is_ok));
        log
    };
    let (reader, loader) = (from_before().await, from_before().await);
    EventLog::migrate(&made.url, 2).await.expect("migrated");
    let query = Query::streams([a]);
    let read = (0..8).map(|_| boundaries::see(&reader, &query, 0, &made.streams[..1]));
    assert!(join_all(read).await.iter().all(|seen| seen.read.events == 5));
    eventually(Duration::from_secs(10), || EventLog::finish_migration(&made.url)).await;
    for loaded in join_all((0..8).map(|_| loader.load(slice::from_ref(&a), true))).await {
        assert_eq!(loaded.expect("loaded")[0].events.len(), 5);
    }
}

/// Adds to streams of its own and to shared ones until it is told to stop, and repeats every
/// command with its key; answers the commands that were acknowledged.
async fn work(
    mut program: Program,
    shared: Arc<Vec<StreamId>>,
    (number, stop): (Arc<AtomicU64>, Arc<AtomicBool>),
) -> HashSet<Uuid> {
    let mut seen: HashMap<StreamId, u64> = HashMap::new();
    let mut acknowledged = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        let own = number.fetch_add(1, Ordering::Relaxed);
        let target = shared[own as usize % shared.len()];
        let version = seen.get(&target).copied().unwrap_or_default();
        let commands = [keyed(command(target, version, 1), 2 * own + 1_000), {
            keyed(command(stream(), 0, 2), 2 * own + 1_001)
        }];
        let outcomes = program.append(&commands).await.expect("no error but those that pass");
        for (command, outcome) in commands.iter().zip(&outcomes) {
            let version_of = |word: &str| {
                let rest = outcome.strip_prefix(word)?;
                rest.split(' ').next()?.parse::<u64>().ok()
            };
            if let Some(version) = version_of("committed v") {
                acknowledged.insert(command.command_id);
                seen.insert(command.stream, version);
                // Sent again, by the same program: it is known, whatever happened to the schema.
                let again = Command { command_id: Uuid::now_v7(), ..command.clone() };
                let outcome = program.one(again).await;
                assert!(outcome.starts_with("replayed") || outcome == "again", "{outcome}");
            } else if let Some(version) = version_of("conflict at v") {
                seen.insert(command.stream, version);
            } else {
                assert_eq!(outcome, "again");
            }
        }
    }
    acknowledged
}

/// Under load: the log is migrated, the old programs stop one by one, the migration is finished,
/// and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_migrated_under_load() {
    let made = made_by_the_last_release().await;
    let (old, new) = (old(&made.url).await, open(made.url.clone()).await);
    let number = Arc::new(AtomicU64::new(0));
    let (old_stop, new_stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut old_programs = Vec::new();
    let mut new_programs = Vec::new();
    for partition in [P0, P1] {
        let shared = Arc::new((0..4).map(|_| stream()).collect::<Vec<_>>());
        let program = Program::Old(old.appender(partition));
        let told = (number.clone(), old_stop.clone());
        old_programs.push(tokio::spawn(work(program, shared.clone(), told)));
        let program = Program::New(new.appender(partition));
        let told = (number.clone(), new_stop.clone());
        new_programs.push(tokio::spawn(work(program, shared, told)));
    }
    let more = async |count: u64| {
        let from = number.load(Ordering::Relaxed);
        eventually(Duration::from_secs(30), || async {
            let done = number.load(Ordering::Relaxed) - from;
            if done < count { Err(format!("{done} of {count}")) } else { Ok(()) }
        })
        .await;
    };
    more(100).await;
    EventLog::migrate(&made.url, 2).await.expect("migrated");
    more(200).await;
    old_stop.store(true, Ordering::Relaxed);
    let mut acknowledged = HashSet::new();
    for program in old_programs {
        acknowledged.extend(program.await.expect("no panic"));
    }
    old.close().await;
    drop(old);
    more(50).await;
    eventually(Duration::from_secs(10), || async {
        EventLog::finish_migration(&made.url).await.map_err(|error| error.to_string())
    })
    .await;
    more(100).await;
    new_stop.store(true, Ordering::Relaxed);
    for program in new_programs {
        acknowledged.extend(program.await.expect("no panic"));
    }
    let mut stored = HashSet::new();
    for partition in [P0, P1] {
        for event in read_all(&new, partition).await {
            stored.insert(event.command_id);
        }
    }
    let missing = acknowledged.difference(&stored).count();
    assert_eq!(missing, 0, "acknowledged and not in the log");
    assert!(acknowledged.len() > 400, "{}", acknowledged.len());
}
