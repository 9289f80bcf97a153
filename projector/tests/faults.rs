//! The projector when things break: each test opens with what it reproduces.

mod common_pg;
mod counters;
mod projector_rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common_pg::{Postgres, sql};
use counters::Event;
use headwater_chassis::Shutdown;
use headwater_eventlog::EventLog;
use headwater_projector::migrate::empty;
use headwater_projector::session::Session;
use headwater_projector::stop::Stop;
use projector_rig::{Rig, connect, eventually};
use tokio_postgres::Row;

/// A projector is killed at arbitrary moments and started again; a killed one may have a commit on
/// its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    writer.append_many(2_000, 20).await;
    let mut seen = 0;
    while seen < 2_000 {
        let running = rig.run();
        eventually("it goes on", async || rig.applied().await > seen).await;
        drop(running);
        seen = rig.applied().await;
    }
    rig.wait_applied(2_000).await;
    rig.assert_rows(&writer.facts).await;
}

/// Two projectors both believe that they hold the lock (a lock service that was wrong, a pause of
/// the whole machine).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_without_the_lock() {
    let rig = Arc::new(Rig::new(2).await);
    let shutdown = Shutdown::new();
    let applying: Vec<_> = (0..2)
        .map(|_| {
            let (rig, shutdown) = (Arc::clone(&rig), shutdown.clone());
            tokio::spawn(async move { apply_without_lock(&rig, &shutdown).await })
        })
        .collect();
    let mut writer = rig.writer().await;
    writer.append_many(3_000, 10).await;
    rig.wait_applied(3_000).await;
    shutdown.trigger();
    let mut overtaken = 0;
    for task in applying {
        overtaken += task.await.expect("no panic");
    }
    rig.assert_rows(&writer.facts).await;
    assert!(overtaken > 0, "they never met");
}

async fn apply_without_lock(rig: &Rig, shutdown: &Shutdown) -> u32 {
    let mut overtaken = 0;
    while !shutdown.is_requested() {
        let engine = rig.engine().await.expect("started");
        match engine.run(shutdown).await {
            Ok(()) => {}
            Err(Stop::Overtaken) => overtaken += 1,
            Err(stop) => panic!("{stop}"),
        }
    }
    overtaken
}

/// The projector that applies dies; one that waited takes over.
#[tokio::test]
async fn another_takes_over() {
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    let first = rig.run();
    writer.append(&[(7, Event::Added(1))]).await;
    rig.wait_applied(1).await;
    let holders = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                   WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted";
    let _second = rig.run();
    assert_eq!(rig.read(holders).await[0].get::<_, i64>(0), 1);
    writer.append(&[(7, Event::Added(1))]).await;
    rig.wait_applied(2).await;
    drop(first);
    let begun = Instant::now();
    writer.append(&[(7, Event::Added(1))]).await;
    rig.wait_applied(3).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    rig.assert_rows(&writer.facts).await;
}

/// The read primary and the write database crash and come back, while events are waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restarts() {
    let server = Arc::new(Postgres::start());
    let rig = Rig::on(Arc::clone(&server), 2).await;
    let mut facts = Vec::new();
    let running = rig.run();
    for round in 1..=2 {
        let mut writer = rig.writer().await;
        let counters = (0..300).map(|n| (round * 1_000 + n % 30, Event::Added(n as i64)));
        let counters: Vec<_> = counters.collect();
        for some in counters.chunks(10) {
            writer.append(some).await;
        }
        facts.extend(counters);
        if round == 1 {
            eventually("it has begun", async || rig.applied().await > 0).await;
            server.crash();
            eventually("it is noticed", async || !rig.sync().0).await;
            server.up();
        }
    }
    rig.wait_applied(600).await;
    rig.assert_rows(&facts).await;
    eventually("it is well again", async || rig.sync().0).await;
    running.stop().await;
}

/// A checkpoint row as text, and all rows: what must not change.
async fn state(rig: &Rig) -> Vec<String> {
    let query = "SELECT epoch::text || positions::text || digests::text || as_of::text \
                   FROM headwater_read.checkpoint \
                 UNION ALL SELECT c::text FROM headwater_read.counter c ORDER BY 1";
    rig.read(query).await.iter().map(|row| row.get(0)).collect()
}

async fn refuses(rig: &Rig, why: &str) {
    let before = state(rig).await;
    let running = rig.run();
    eventually("it is refused", async || rig.sync().1.contains(why)).await;
    assert!(!rig.sync().0);
    assert_eq!(state(rig).await, before);
    drop(running);
}

async fn applied_rig() -> Rig {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    let running = rig.run();
    writer.append_many(60, 10).await;
    rig.wait_applied(60).await;
    running.stop().await;
    rig
}

/// The projector is pointed at the write database of another deployment.
#[tokio::test]
async fn a_foreign_log_is_refused() {
    let rig = applied_rig().await;
    let write_url = rig.server.database().await;
    EventLog::migrate(&write_url, 2).await.expect("a log");
    let rig = Rig { write_url, ..rig };
    rig.writer().await.append_many(100, 10).await;
    refuses(&rig, "the rows are of log").await;
}

/// The write database was restored from a backup that is older than the epoch which was applied.
#[tokio::test]
async fn a_log_restored_to_an_earlier_epoch_is_refused() {
    let rig = applied_rig().await;
    EventLog::start_epoch(&rig.write_url).await.expect("begun");
    let running = rig.run();
    eventually("it is applied", async || epochs(&rig).await.len() == 2).await;
    running.stop().await;
    sql(&rig.write_url, "UPDATE headwater_log.log SET epoch = 1").await;
    refuses(&rig, "in epoch").await;
}

/// The epochs that queries know of, with where they began; the last one is the checkpoint's.
async fn epochs(rig: &Rig) -> Vec<(i32, Vec<i64>)> {
    let query = "SELECT s.epoch, s.positions FROM headwater_read.epoch_start s \
                   JOIN headwater_read.checkpoint c USING (projection) \
                  WHERE s.epoch <= c.epoch ORDER BY s.epoch";
    rig.read(query).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The log begins a new epoch while the projector runs, and has lost nothing of what was applied:
/// the projector goes on by itself, and queries learn where the epoch began along with its first
/// state. A projector that has not noticed cannot commit any more.
#[tokio::test]
async fn a_new_epoch_of_the_same_history_is_gone_on_with() {
    let rig = applied_rig().await;
    assert_eq!(epochs(&rig).await, [(1, vec![0, 0])]);
    let running = rig.run();
    let append = async |counters: std::ops::Range<u128>| {
        let mut writer = rig.writer().await;
        for counter in counters {
            writer.append(&[(counter, Event::Added(1))]).await;
        }
    };
    append(5_000..5_010).await;
    rig.wait_applied(70).await;
    let late = rig.engine().await.expect("started");
    let begun = EventLog::start_epoch(&rig.write_url).await.expect("begun");
    let fork: i64 = 70;
    append(6_000..6_040).await;
    rig.wait_applied(110).await;
    let found = epochs(&rig).await;
    let (epoch, positions) = found.last().expect("two");
    assert_eq!((found.len(), *epoch), (2, begun.epoch.0 as i32));
    assert_eq!(positions.iter().sum::<i64>(), fork);
    assert!(rig.sync().0, "{}", rig.sync().1);
    running.stop().await;
    let stop = late.run(&Shutdown::new()).await.expect_err("it is of the old epoch");
    assert!(matches!(stop, Stop::NewEpoch | Stop::Overtaken), "{stop}");
    assert_eq!(
        rig.read("SELECT revision FROM headwater_read.checkpoint").await[0].get::<_, i64>(0),
        1
    );
}

/// A failover lost events that were applied, others took their places, and the log is in a new
/// epoch: the views stay in the old one, so that no token of the new one is taken for shown.
#[tokio::test]
async fn a_new_epoch_of_another_history_is_refused() {
    let rig = applied_rig().await;
    sql(&rig.write_url, LOSE_EVENTS).await;
    EventLog::start_epoch(&rig.write_url).await.expect("begun");
    let mut writer = rig.writer().await;
    for n in 0..100 {
        writer.append(&[(5_000 + n, Event::Added(1))]).await;
    }
    refuses(&rig, "of the log has another history").await;
    assert_eq!(epochs(&rig).await.len(), 1);
}

const LOSE_EVENTS: &str = "
    DELETE FROM headwater_log.event WHERE position > (
        SELECT max(e.position) FROM headwater_log.event e
         WHERE e.partition = event.partition AND e.digest IS NOT NULL AND e.position <= 20);";

/// An asynchronous failover of the write database lost the last events.
#[tokio::test]
async fn a_log_that_lost_events_is_refused() {
    let rig = applied_rig().await;
    sql(&rig.write_url, LOSE_EVENTS).await;
    refuses(&rig, "the log has lost events").await;
}

/// The same, noticed only after new events have taken the place of the lost ones.
#[tokio::test]
async fn a_log_with_another_history_is_refused() {
    let rig = applied_rig().await;
    sql(&rig.write_url, LOSE_EVENTS).await;
    let mut writer = rig.writer().await;
    for n in 0..100 {
        writer.append(&[(5_000 + n, Event::Added(1))]).await;
    }
    refuses(&rig, "partition").await;
    assert!(rig.sync().1.contains("history"), "{}", rig.sync().1);
}

/// The views are emptied while a batch of the projector is being committed: nothing of it is left,
/// which the projector would meet again at the same positions.
#[tokio::test]
async fn what_commits_while_the_views_are_emptied_is_forgotten_too() {
    let rig = applied_rig().await;
    let batch = connect(&rig.read_url).await.expect("connected");
    let commit = "BEGIN;
        UPDATE headwater_read.checkpoint SET as_of = now();
        INSERT INTO headwater_read.change (projection, applied, view, positions, keys, former)
        VALUES ('counters', 61, 'counter', '{31,30}', '{}', '{}');";
    batch.batch_execute(commit).await.expect("under way");
    let (read_url, projection) = (rig.read_url.clone(), rig.projection.clone());
    let emptied = tokio::spawn(async move { empty(&read_url, &[projection]).await });
    let waits = "SELECT FROM pg_stat_activity \
                  WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("it waits", async || !rig.read(waits).await.is_empty()).await;
    batch.batch_execute("COMMIT").await.expect("committed");
    emptied.await.expect("no panic").expect("emptied");
    assert!(rig.read("SELECT FROM headwater_read.change").await.is_empty());
    let running = rig.run();
    rig.wait_applied(60).await;
    running.stop().await;
}

/// Somebody with the owner's rights repairs rows beside the projector, and says so by the revision.
#[tokio::test]
async fn a_raised_revision_makes_it_start_anew() {
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    let shutdown = Shutdown::new();
    let engine = rig.engine().await.expect("started");
    sql(&rig.read_url, "UPDATE headwater_read.checkpoint SET revision = revision + 1").await;
    writer.append(&[(7, Event::Added(1))]).await;
    let stop = engine.run(&shutdown).await.expect_err("the revision is another");
    assert!(matches!(stop, Stop::Overtaken), "{stop}");
    assert_eq!(rig.applied().await, 0);
}

/// Rows are changed beside the projector by the function that is there for it: watchers find it
/// after the commit at whose positions it was done, and the projector goes on from it.
#[tokio::test]
async fn a_revision_is_recorded_after_the_commit_that_it_came_upon() {
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1))]).await;
    let running = rig.run();
    rig.wait_applied(1).await;
    let repair = "
        BEGIN;
        SELECT FROM headwater_read.checkpoint WHERE projection = 'counters' FOR UPDATE;
        UPDATE headwater_read.counter_v1 SET total = 40;
        SELECT headwater_read.revise('counters', 'counter', array_agg(counter_id::text), '{NULL}')
          FROM headwater_read.counter;
        COMMIT";
    sql(&rig.read_url, repair).await;
    writer.append(&[(7, Event::Added(2))]).await;
    rig.wait_applied(2).await;
    running.stop().await;
    let totals = rig.read("SELECT total FROM headwater_read.counter").await;
    assert_eq!(totals[0].get::<_, i64>(0), 42);
    let changes = async || {
        let sql = "SELECT applied, revision, revised FROM headwater_read.change \
                   WHERE view = 'counter' ORDER BY applied, revision";
        let row = |row: &Row| (row.get(0), row.get(1), row.get(2));
        rig.read(sql).await.iter().map(row).collect::<Vec<(i64, i64, bool)>>()
    };
    assert_eq!(changes().await, [(1, 0, false), (1, 1, true), (2, 1, false)]);
    // What is forgotten ends between the two at the same positions.
    let session = Session::open(&rig.read_url, &rig.projection).await.expect("opened");
    session.prune(2).await.expect("pruned");
    assert_eq!(changes().await, [(1, 1, true), (2, 1, false)]);
    let kept = "SELECT watched_from, watched_revision FROM headwater_read.checkpoint";
    let kept = rig.read(kept).await;
    assert_eq!((kept[0].get::<_, Vec<i64>>(0), kept[0].get::<_, i64>(1)), (vec![1], 0));
}
