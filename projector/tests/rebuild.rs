//! A projection is rebuilt beside the live one: each test opens with what it reproduces.

mod common_pg;
mod counters;
mod projector_rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common_pg::sql;
use counters::{BucketRow, CounterRow, Event, OwnerRow};
use headwater_chassis::{Metrics, Readiness};
use headwater_eventlog::EventLog;
use headwater_kernel::{About, FoldResult, Touch, View, row};
use headwater_projector::audit::{Audit, Node};
use headwater_projector::migrate::{check, migrate};
use headwater_projector::projection::Projection;
use headwater_projector::rebuild::{History, Rebuild, Switched};
use headwater_projector::retry::Retry;
use headwater_projector::stop::Stop;
use projector_rig::{OWNERS, Rig, connect, eventually};
use tokio_postgres::Client;
use uuid::Uuid;

row! {
    /// Owners with a column more.
    struct WiderOwnerRow {
        owner_id: Uuid,
        name: String,
        version: i64,
        letters: i64,
    }
}

impl View for WiderOwnerRow {
    const NAME: &'static str = "owner";
    const VERSION: u32 = 2;
    const INDEXES: &'static [&'static str] = &["(name)"];
    const WATCHED: bool = true;
    type Event = Event;

    fn touches(event: &Event, about: &About) -> Vec<Touch> {
        OwnerRow::touches(event, about)
    }

    fn fold(row: Option<Self>, event: &Event, about: &About) -> FoldResult<Self> {
        let Event::Named(name) = event else { return Ok(row) };
        let (owner_id, version) = (about.stream.0, about.version.0 as i64);
        let letters = name.chars().count() as i64;
        Ok(Some(Self { owner_id, name: name.clone(), version, letters }))
    }
}

/// Version 1 of a projection: no buckets.
fn before() -> Projection {
    Projection::of::<Event>("counters").view::<OwnerRow>().view::<CounterRow>().build()
}

/// Version 2: one view has a column more, and one is new.
fn after() -> Projection {
    let after = Projection::of::<Event>("counters").view::<WiderOwnerRow>().view::<CounterRow>();
    after.view::<BucketRow>().build()
}

/// The programs of another version on the same databases.
fn program(rig: &Rig, projection: Projection) -> Rig {
    Rig {
        server: Arc::clone(&rig.server),
        write_url: rig.write_url.clone(),
        read_url: rig.read_url.clone(),
        partitions: rig.partitions,
        projection,
        metrics: Metrics::new(),
        readiness: Readiness::new(&["sync"]),
        pace: rig.pace,
    }
}

/// A rig whose read database holds version 1.
async fn of_version_1(partitions: u16) -> Rig {
    let rig = Rig::new(partitions).await;
    let read_url = rig.server.database().await;
    let old = Rig { read_url, projection: before(), ..rig };
    migrate(&old.read_url, &[before()]).await.expect("migrated");
    old
}

async fn log(rig: &Rig) -> EventLog {
    EventLog::connect(&rig.write_url, 2).await.expect("a log")
}

async fn begin(rig: &Rig) -> Result<Rebuild, Stop> {
    let (url, projection) = (&rig.read_url, &rig.projection);
    Rebuild::begin(url, log(rig).await, projection, History::Same, |_, _| {}).await
}

async fn rebuild(rig: &Rig) -> Switched {
    begin(rig).await.expect("folded").switch().await.expect("switched")
}

async fn back(rig: &Rig) -> Result<Switched, Stop> {
    let back = Rebuild::back(&rig.read_url, log(rig).await, &rig.projection, |_, _| {}).await?;
    back.switch().await
}

/// All rows are what the fold of the log says.
async fn assert_verified(rig: &Rig) {
    let audit = Audit::begin(&rig.read_url, log(rig).await, &rig.projection, |_, _| {}).await;
    let mut audit = audit.expect("folded");
    let node = Node { name: "primary".to_owned(), url: rig.read_url.clone() };
    let report = audit.compare(&node).await.expect("compared");
    assert_eq!((report.outcome.different, report.outcome.differences), (0, Vec::new()));
    audit.end().await.expect("removed");
}

async fn number(rig: &Rig, query: &str) -> i64 {
    rig.read(query).await[0].get(0)
}

/// In both forms in which queries read: one statement, and several on one snapshot.
async fn counts_agree(client: &Client, is_snapshot: bool) {
    const APPLIED: &str = "SELECT headwater_read.applied(positions) FROM headwater_read.checkpoint";
    const COUNTED: &str = "SELECT coalesce(sum(events), 0)::bigint FROM headwater_read.bucket";
    if is_snapshot {
        let begin = include_str!("../sql/audit/snapshot.sql");
        client.batch_execute(begin).await.expect("begun");
    }
    let (applied, counted): (i64, i64) = match is_snapshot {
        true => {
            let applied = client.query_one(APPLIED, &[]).await.expect("read").get(0);
            // A switch that does not wait for this transaction has its time now.
            client.query_one("SELECT pg_sleep(0.2)", &[]).await.expect("waited");
            (applied, client.query_one(COUNTED, &[]).await.expect("read").get(0))
        }
        false => {
            let both = format!("SELECT ({APPLIED}), ({COUNTED})");
            let row = client.query_one(&both, &[]).await.expect("read");
            (row.get(0), row.get(1))
        }
    };
    if is_snapshot {
        client.batch_execute("COMMIT").await.expect("ended");
    }
    assert_eq!(applied, counted, "rows of another moment than the checkpoint");
}

/// Events, queries of both forms and rebuilds, all at once. Every event is counted in a bucket, so
/// that any row that is not of the checkpoint's moment is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_query_fails_and_none_is_stale() {
    let rig = Arc::new(Rig::new(2).await);
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1)), (8, Event::Added(1))]).await;
    let running = rig.run();
    rig.wait_applied(2).await;
    let ended = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU32::new(0));
    let queries: Vec<_> = [false, false, true, true]
        .map(|is_snapshot| {
            let rig = Arc::clone(&rig);
            let (ended, reads) = (Arc::clone(&ended), Arc::clone(&reads));
            tokio::spawn(async move {
                let client = connect(&rig.read_url).await.expect("connected");
                while !ended.load(Ordering::Relaxed) {
                    counts_agree(&client, is_snapshot).await;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .into();
    let written = {
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let n = writer.facts.len() as u128 % 40;
                writer.append(&[(n, Event::Added(1)), (n + 1, Event::Added(2))]).await;
            }
            writer
        })
    };
    let watched = "SELECT watched_revision FROM headwater_read.checkpoint";
    for _ in 0..5 {
        let seen = (rig.applied().await, reads.load(Ordering::Relaxed));
        let switched = rebuild(&rig).await;
        assert_eq!((switched.told, switched.parked), (Some(0), 0), "nothing differed");
        assert!(switched.queries_waited < Duration::from_secs(1), "{switched:?}");
        let goes_on =
            async || rig.applied().await > seen.0 && reads.load(Ordering::Relaxed) > seen.1;
        eventually("events and queries go on", goes_on).await;
    }
    assert_eq!(number(&rig, watched).await, 0, "watches went on");
    ended.store(true, Ordering::Relaxed);
    let writer = written.await.expect("no panic");
    for query in queries {
        query.await.expect("no query failed, none was stale");
    }
    rig.wait_applied(writer.facts.len() as u64).await;
    running.stop().await;
    rig.assert_rows(&writer.facts).await;
    assert_verified(&rig).await;
}

/// Rows are damaged: afterwards they are right, and whoever watches is told of just those.
#[tokio::test]
async fn damaged_rows_are_right_and_told() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    writer.append_many(400, 20).await;
    let running = rig.run();
    rig.wait_applied(400).await;
    let id = |n: u128| Uuid::from_u128(n).to_string();
    let damage = format!(
        "SET search_path = headwater_read;
         UPDATE counter_v1 SET total = total + 1 WHERE counter_id = '{}';
         DELETE FROM counter_v1 WHERE counter_id = '{}';
         INSERT INTO counter_v1 (counter_id, total, even, changed_at) VALUES ('{}', 2, true, now());
         UPDATE bucket_v1 SET total = 7",
        id(1),
        id(2),
        id(999),
    );
    sql(&rig.read_url, &damage).await;
    let switched = rebuild(&rig).await;
    assert_eq!(switched.told, Some(3));
    let told = "SELECT unnest(keys) FROM headwater_read.change WHERE revised ORDER BY 1";
    let told: Vec<String> = rig.read(told).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, [id(1), id(2), id(999)]);
    rig.assert_rows(&writer.facts).await;
    writer.append_many(100, 20).await;
    rig.wait_applied(500).await;
    running.stop().await;
    rig.assert_rows(&writer.facts).await;
    assert_verified(&rig).await;
}

/// A new column and a new view, while the programs of the version before run: they go on until the
/// switch, and those of the new version from then on, without a restart. And back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_takes_over_and_gives_back() {
    let old = of_version_1(1).await;
    let new = program(&old, after());
    let mut writer = old.writer().await;
    writer.append_many(100, 10).await;
    let (_old_runs, _) = (old.run(), old.wait_applied(100).await);
    let migrated = migrate(&new.read_url, &[after()]).await.expect("migrated");
    assert_eq!(migrated.to_rebuild, ["counters"]);
    let _new_runs = new.run();
    let says = async |rig: &Rig, what: &str| {
        eventually(what, async || rig.sync().1.contains(what)).await;
    };
    says(&new, "run `headwater rebuild views`").await;
    writer.append_many(100, 10).await;
    old.wait_applied(200).await;

    let switched = rebuild(&new).await;
    assert_eq!((switched.applied, switched.told), (200, None));
    let expired = "SELECT count(*) FROM headwater_read.checkpoint
                    WHERE watched_from = positions AND watched_revision = revision";
    assert_eq!(number(&new, expired).await, 1, "whoever watches reads anew");
    writer.append_many(100, 10).await;
    new.wait_applied(300).await;
    says(&old, "upgrade this program").await;
    eventually("it is well", async || new.sync().0).await;
    new.assert_rows(&writer.facts).await;
    let wider = "SELECT count(*) FROM headwater_read.owner WHERE letters = length(name)";
    assert_eq!(number(&new, wider).await, 2);
    let may = "SELECT count(*) FROM unnest(ARRAY['owner', 'owner_v2', 'counter', 'bucket']) t
                WHERE has_table_privilege('headwater_query', 'headwater_read.' || t, 'SELECT')";
    assert_eq!(number(&new, may).await, 4);
    assert_verified(&new).await;
    check(&connect(&new.read_url).await.expect("connected"), &[after()]).await.expect("fits");

    let refused = back(&new).await.expect_err("they are of version 1");
    assert!(refused.to_string().contains("needs version 2"), "{refused}");
    let switched = back(&old).await.expect("it is put back");
    assert_eq!(switched.applied, 300, "with what has happened since");
    writer.append_many(100, 10).await;
    old.wait_applied(400).await;
    says(&new, "run `headwater rebuild views`").await;
    assert_verified(&old).await;
    let gone = new.try_read("SELECT FROM headwater_read.bucket").await;
    assert!(gone.is_err(), "version 1 has no such view");
    assert_eq!(back(&new).await.expect("once more").applied, 400);
    new.assert_rows(&writer.facts).await;
    assert_verified(&new).await;
}

/// A program that knows fewer views than the projection has would not keep all of them up.
#[tokio::test]
async fn a_program_without_a_view_does_not_go_on() {
    let rig = Rig::new(1).await;
    let client = connect(&rig.read_url).await.expect("connected");
    let refused = check(&client, &[before()]).await.expect_err("it lacks the buckets");
    assert!(refused.to_string().contains("the view bucket"), "{refused}");
    let fewer = program(&rig, before());
    rebuild(&fewer).await;
    check(&client, &[before()]).await.expect("it fits");
}

/// Killed while it folds, and at moments within the switch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_the_views_are_whole() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    writer.append_many(300, 20).await;
    let running = rig.run();
    rig.wait_applied(300).await;
    drop(begin(&rig).await.expect("folded"));
    let mut switches = 0;
    for milliseconds in (0..).map(|n| n * 15) {
        let again = async || match begin(&rig).await {
            // The server has not noticed yet that the other one is gone.
            Err(Stop::AuditUnderWay) => None,
            begun => Some(begun.expect("folded")),
        };
        let mut begun = None;
        eventually("it begins anew", async || {
            begun = again().await;
            begun.is_some()
        })
        .await;
        let switch = begun.expect("begun").switch();
        let switched = tokio::time::timeout(Duration::from_millis(milliseconds), switch).await;
        writer.append_many(20, 20).await;
        rig.wait_applied(writer.facts.len() as u64).await;
        rig.assert_rows(&writer.facts).await;
        if switched.is_ok() {
            switches += 1;
        }
        if switches == 3 {
            break;
        }
    }
    running.stop().await;
    assert_verified(&rig).await;
}

/// Before the first event, two at once, and a rebuild that has nothing to go back to.
#[tokio::test]
async fn of_two_at_once_the_second_is_refused() {
    let rig = Rig::new(1).await;
    let nothing = back(&rig).await.expect_err("no rebuild was there");
    assert!(matches!(nothing, Stop::NothingKept), "{nothing}");
    let one = begin(&rig).await.expect("folded");
    let other = begin(&rig).await.err().expect("refused");
    assert!(matches!(other, Stop::AuditUnderWay), "{other}");
    let other = back(&rig).await.expect_err("refused");
    assert!(matches!(other, Stop::AuditUnderWay), "{other}");
    assert_eq!(one.switch().await.expect("switched").applied, 0);
    let mut writer = rig.writer().await;
    writer.append_many(20, 10).await;
    let running = rig.run();
    rig.wait_applied(20).await;
    running.stop().await;
    rig.assert_rows(&writer.facts).await;
}

/// What is parked is that of the tables that are live: also an event that was dropped is tried
/// again by a rebuild, and is out again once the tables without it are put back.
#[tokio::test]
async fn what_is_parked_goes_along_with_the_tables() {
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    let facts = [
        (7, Event::Poison),
        (8, Event::Poison),
        (8, Event::Added(5)),
        (OWNERS, Event::Named("Ann".into())),
    ];
    writer.append(&facts).await;
    let running = rig.run();
    rig.wait_applied(4).await;
    let retry = Retry::open(&rig.write_url, &rig.read_url, rig.projection.clone()).await;
    let row = Uuid::from_u128(8).to_string();
    retry.expect("connected").drop_event("counter", &row, "the test").await.expect("dropped");
    let state = async || {
        let query = "SELECT (SELECT count(*) FROM headwater_read.parked),
                            (SELECT count(*) FROM headwater_read.dropped WHERE in_force),
                            (SELECT count(*) FROM headwater_read.counter WHERE total = 5)";
        let row = &rig.read(query).await[0];
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2))
    };
    assert_eq!(state().await, (1, 1, 1));
    assert_eq!(rebuild(&rig).await.parked, 2);
    assert_eq!(state().await, (2, 0, 0));
    writer.append(&[(7, Event::Added(1)), (8, Event::Added(1))]).await;
    rig.wait_applied(6).await;
    assert_eq!(state().await, (2, 0, 0), "the projector knows what waits");
    assert_eq!(back(&rig).await.expect("put back").parked, 1);
    assert_eq!(number(&rig, "SELECT total FROM headwater_read.counter").await, 6);
    writer.append(&[(8, Event::Added(1))]).await;
    rig.wait_applied(7).await;
    assert_eq!(number(&rig, "SELECT total FROM headwater_read.counter").await, 7);
    running.stop().await;
    let state = state().await;
    assert_eq!((state.0, state.1), (1, 1));
}

/// The write database holds another history than the rows are of: nothing is mixed, and nobody sees
/// a state that grows.
#[tokio::test]
async fn of_another_history_only_if_that_is_said() {
    let lost = Rig::new(1).await;
    let mut writer = lost.writer().await;
    writer.append_many(100, 10).await;
    let running = lost.run();
    lost.wait_applied(100).await;
    running.stop().await;
    let found = Rig::new(1).await;
    let rig = Rig { read_url: lost.read_url.clone(), ..found };
    let mut writer = rig.writer().await;
    writer.append_many(60, 10).await;
    let refused = begin(&rig).await.err().expect("it is another log");
    assert!(matches!(refused, Stop::Mismatch(_)), "{refused}");
    assert_eq!(rig.applied().await, 100, "nothing was touched");
    let (url, log_found) = (&rig.read_url, log(&rig).await);
    let begun = Rebuild::begin(url, log_found, &rig.projection, History::Any, |_, _| {}).await;
    let switched = begun.expect("folded").switch().await.expect("switched");
    assert_eq!((switched.applied, switched.told), (60, None));
    let old_changes = "SELECT count(*) FROM headwater_read.change WHERE applied > 60";
    assert_eq!(number(&rig, old_changes).await, 0);
    rig.assert_rows(&writer.facts).await;
    writer.append_many(40, 10).await;
    let running = rig.run();
    rig.wait_applied(100).await;
    running.stop().await;
    rig.assert_rows(&writer.facts).await;
    assert_verified(&rig).await;
    let refused = back(&rig).await.expect_err("they are of the history that is gone");
    assert!(matches!(refused, Stop::Mismatch(_)), "{refused}");
}
