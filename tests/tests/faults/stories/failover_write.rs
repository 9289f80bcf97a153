//! The write primary dies for good, and its standby is promoted. No program is told.

use std::time::{Duration, Instant};

use headwater_tests::harness::{Options, eventually};
use tonic::Code;

use super::audit::audit;
use super::load::Load;
use super::talk::{any, at_least, reason};
use super::wires::Waits;
use super::world::{SOON, World};

/// What programs log while the write database is unavailable.
const WRITE_DATABASE_AWAY: &[&str] = &[
    r#""message":"the outcome of an append is unknown""#,
    r#""message":"the write database is unavailable""#,
    r#""message":"streams could not be loaded""#,
    r#""message":"snapshots were not written;"#,
    r#""message":"the projection starts anew","projection":"retail","error":"the write database"#,
    r#""message":"endpoint","upstream":"command""#,
    // The driver's own words for a connection that broke in use.
    r#""message":"error occurred while testing the connection on-release""#,
];
const OUTCOME_NOT_FOUND: &str = "the outcome of an append could not be found out in time";
const REPLACED: &str = r#""message":"takes writes, but was replaced; it is not used""#;
const STANDBY: &str = "write-standby-1";
/// As it tells its primary.
const STANDBY_SLOT: &str = "write_standby_1";
const APPENDER: &str = headwater_eventlog::APPLICATION_NAME;
const SELLERS: usize = 32;
/// So soon after a promotion commands are taken again (docs/failures.md), with time for a busy
/// machine.
const TAKEN_AGAIN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);
/// An append is waited for, and then its outcome is looked for, so long at most.
const OUTCOME_MAX: Duration = Duration::from_secs(45);

impl World {
    async fn with_a_standby() -> World {
        let options = Options { write_standbys: 1, replicas: 1, ..Options::default() };
        let world = World::start(options).await;
        world.cluster.expect_logs(WRITE_DATABASE_AWAY);
        world.cluster.until_streaming(STANDBY).await;
        world
    }

    /// From now on a commit of the log waits for the disks of standbys, too: those that
    /// `synchronous_standby_names` names.
    pub async fn commit_on(&self, standbys: &str) {
        let client = self.superuser(self.cluster.log_node()).await.expect("a connection");
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'");
        client.batch_execute(&set).await.expect("set");
        client.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
        eventually(SOON, || async {
            let sql = "SELECT count(*) FROM pg_stat_replication
                        WHERE sync_state IN ('sync', 'quorum')";
            let count: i64 = client.query_one(sql, &[]).await?.get(0);
            anyhow::ensure!(count > 0, "no standby is synchronous yet");
            anyhow::Ok(())
        })
        .await;
    }

    /// Waits until the standby has all that the primary has, with nobody writing.
    async fn until_the_standby_has_it_all(&self) {
        let client = self.superuser("write").await.expect("a connection");
        let end = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn";
        let end = format!("SELECT ({end})::bigint");
        let end: i64 = client.query_one(&end, &[]).await.expect("a place").get(0);
        let standby = self.superuser(STANDBY).await.expect("a connection");
        eventually(SOON, || async {
            let sql = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint";
            let replayed: i64 = standby.query_one(sql, &[]).await?.get(0);
            anyhow::ensure!(replayed >= end, "it lacks {} bytes", end - replayed);
            anyhow::Ok(())
        })
        .await;
    }

    async fn fail_over(&self) {
        self.kill("write").await;
        self.cluster.promote(STANDBY).await.expect("promoted");
    }

    /// How far the log goes on a node.
    async fn log_on(&self, node: &str) -> i64 {
        let client = self.superuser(node).await.expect("a connection");
        let sql = "SELECT sum(position)::bigint FROM headwater_log.head";
        client.query_one(sql, &[]).await.expect("heads").get(0)
    }
}

/// Each commit waits for the standby. The primary loses its power while 32 clients sell; queries go
/// on meanwhile. The standby is promoted, and everything goes on there by itself: what was
/// acknowledged is in its log, what was under way is found out, and nothing is there twice.
///
/// Then the old primary comes back and takes writes, and stands first in everybody's list. Nobody
/// sends it anything, also no program that is started just then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_under_load() {
    let world = World::with_a_standby().await;
    let cluster = &world.cluster;
    world.commit_on(STANDBY_SLOT).await;
    let load = Load::start(&world, SELLERS);
    load.more(150).await;
    let old = world.sell().await.token;
    eventually(SOON, || world.read(at_least(&old))).await;
    world.kill("write").await;
    eventually(SOON, || world.is_unready("command-svc")).await;
    for consistency in [any(), at_least(&old)] {
        world.read(consistency).await.expect("queries go on");
    }
    let sale = world.new_sale();
    let status = world.send_within(SOON, &sale).await.expect_err("there is no primary");
    let expected = ["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"];
    assert!(expected.contains(&reason(&status).as_str()), "{status:?}");
    cluster.promote(STANDBY).await.expect("promoted");
    let promoted = Instant::now();
    eventually(TAKEN_AGAIN + SLACK, || world.send(&sale)).await;
    println!("commands are taken again {:?} after the promotion", promoted.elapsed());
    load.more(150).await;
    eventually(SOON, || world.is_ready("command-svc")).await;
    let token = world.sell().await.token;
    eventually(SOON, || world.read(at_least(&token))).await;

    cluster.expect_logs(&[REPLACED]);
    world.start_again("write").await;
    let left_at = world.log_on("write").await;
    load.more(50).await;
    cluster.expect_logs(&[r#""message":"endpoint","upstream":"command""#]);
    cluster.restart("command-svc").await.expect("a command service without a memory");
    cluster.restart("projector").await.expect("a projector without a memory");
    load.more(50).await;
    assert_eq!(world.log_on("write").await, left_at, "the old primary was written to");
    world.kill("write").await;

    let findings = load.stop().await;
    let reasons = ["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN", "UPSTREAM_UNAVAILABLE"];
    findings.assert_retried_for(&reasons);
    findings.any.assert_failed_only_for(&[]);
    for reads in [&findings.own, &findings.fresh] {
        reads.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
    }
    audit(&world).await;
}

/// The primary hangs, with every connection open and every byte acknowledged, and its standby is
/// promoted. Nobody waits for the old one's answers any longer; when it wakes up, nobody talks to
/// it, and what was under way on it is never committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_hangs_and_is_replaced() {
    let world = World::with_a_standby().await;
    let cluster = &world.cluster;
    world.commit_on(STANDBY_SLOT).await;
    let load = Load::start(&world, SELLERS);
    load.more(100).await;
    cluster.pause("write").await;
    let sale = world.new_sale();
    let (answer, ()) = tokio::join!(world.send(&sale), async {
        cluster.promote(STANDBY).await.expect("promoted");
    });
    answer.expect("the client need not know");
    load.more(100).await;
    cluster.expect_logs(&[REPLACED]);
    cluster.resume("write").await;
    let client = world.superuser("write").await.expect("a connection");
    eventually(SOON, || async {
        // What looks after it now and then does nothing else.
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE usename IN ('headwater_command_svc', 'headwater_projector_svc')
                      AND wait_event IS DISTINCT FROM 'SyncRep' AND query NOT LIKE '%walfile%'";
        let count: i64 = client.query_one(sql, &[]).await?.get(0);
        anyhow::ensure!(count == 0, "{count} sessions are left on it");
        anyhow::Ok(())
    })
    .await;
    let left_at = world.log_on("write").await;
    load.more(50).await;
    assert_eq!(world.log_on("write").await, left_at, "the old primary was written to");
    world.kill("write").await;
    let findings = load.stop().await;
    findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
    findings.any.assert_failed_only_for(&[]);
    audit(&world).await;
}

/// Commits do not wait for the standby, but it has everything when the primary dies: nothing is
/// lost, and everything goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_had_caught_up_takes_over() {
    let world = World::with_a_standby().await;
    let load = Load::start(&world, SELLERS);
    load.more(100).await;
    load.stop().await.assert_every_query_answered();
    let old = world.sell().await;
    world.until_the_standby_has_it_all().await;
    world.fail_over().await;
    let load = Load::start(&world, SELLERS);
    load.more(100).await;
    let findings = load.stop().await;
    findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
    eventually(SOON, || world.is_ready("projector")).await;
    let new = world.sell().await;
    assert!(new.version > old.version);
    eventually(SOON, || world.read(at_least(&new.token))).await;
    audit(&world).await;
}

/// A sale is on both disks when the primary dies, and the reply was never sent. The command service
/// finds it on the promoted standby, and answers with its receipt; the client who sends it again
/// gets the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_whose_reply_was_lost_is_found_on_the_standby() {
    let world = World::with_a_standby().await;
    let sale = world.new_sale();
    world.hold_replies().await;
    let crash = async {
        world.until_held("write", APPENDER, Waits::ForStandby).await;
        world.until_the_standby_has_it_all().await;
        world.fail_over().await;
    };
    let (answer, ()) = tokio::join!(world.send(&sale), crash);
    let receipt = answer.expect("the client need not know");
    assert!(!receipt.replayed);
    let again = world.send_again(&sale).await.expect("the first receipt");
    assert!(again.replayed);
    assert_eq!((again.version, &again.recorded_time), (receipt.version, &receipt.recorded_time));
    audit(&world).await;
}

/// A sale is on the primary's disk, and its standby hangs. The command service gives the append up,
/// and must neither say that it is committed nor let anybody see it: the primary dies then, and the
/// standby, which is promoted, has never heard of it. The client was told that the outcome is
/// unknown, sends the sale again, and it is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_dead_primary_had_was_not_acknowledged() {
    let world = World::with_a_standby().await;
    world.cluster.expect_logs(&[OUTCOME_NOT_FOUND]);
    world.commit_on(STANDBY_SLOT).await;
    world.cluster.pause(STANDBY).await;
    let sale = world.new_sale();
    let status = world.send_within(OUTCOME_MAX, &sale).await.expect_err("nobody may know");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "OUTCOME_UNKNOWN"));
    world.kill("write").await;
    world.cluster.resume(STANDBY).await;
    world.cluster.promote(STANDBY).await.expect("promoted");
    let receipt = eventually(SOON, || world.send(&sale)).await;
    assert!(!receipt.replayed, "the standby had it after all");
    audit(&world).await;
}

/// The same, but the primary crashes and is started again before it dies for good: now the sale can
/// be seen in its log, and the command service finds it there. (The projector would, too: it is
/// down.) It still must not say that it is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crashed_primary_has_alone_is_not_acknowledged() {
    let world = World::with_a_standby().await;
    world.cluster.expect_logs(&[OUTCOME_NOT_FOUND]);
    world.commit_on(STANDBY_SLOT).await;
    world.kill("projector").await;
    world.cluster.pause(STANDBY).await;
    let (sale, before) = (world.new_sale(), world.log_on("write").await);
    let crash = async {
        world.until_held("write", APPENDER, Waits::ForStandby).await;
        world.kill("write").await;
        world.start_again("write").await;
        assert_eq!(world.log_on("write").await, before + 1, "it can be seen");
    };
    let (answer, ()) = tokio::join!(world.send_within(OUTCOME_MAX, &sale), crash);
    let status = answer.expect_err("nobody may know");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "OUTCOME_UNKNOWN"));
    world.kill("write").await;
    world.cluster.resume(STANDBY).await;
    world.cluster.promote(STANDBY).await.expect("promoted");
    assert_eq!(world.log_on(STANDBY).await, before, "the standby had it after all");
    world.start_again("projector").await;
    eventually(SOON, || world.send(&sale)).await;
    audit(&world).await;
}
