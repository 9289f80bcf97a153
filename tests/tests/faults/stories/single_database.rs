//! Both sides in one database.

use headwater_tests::harness::{Options, eventually};

use super::audit::audit;
use super::load::Load;
use super::talk::at_least;
use super::world::{SOON, Stage, World};

static STAGE: Stage =
    Stage::new(|| Options { single_database: true, replicas: 1, ..Options::default() });

/// What programs log while the database is unavailable.
const DATABASE_AWAY: &[&str] = &[
    r#""message":"the outcome of an append is unknown""#,
    r#""message":"the write database is unavailable""#,
    r#""message":"streams could not be loaded""#,
    r#""message":"the projection starts anew""#,
    r#""message":"node ejected from load balancing""#,
    r#""message":"endpoint","upstream":"command""#,
    r#""message":"error occurred while testing the connection on-release""#,
    r#""target":"deadpool.postgres""#,
];

/// The one primary is killed under load, with appends and projections in its hands. It comes back,
/// and log and views still agree. Its replica has answered meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_of_both_sides_is_killed_under_load() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(DATABASE_AWAY);
            let load = Load::start(world, 16);
            load.more(100).await;
            world.kill("primary").await;
            eventually(SOON, || world.is_unready("command-svc")).await;
            world.start_again("primary").await;
            load.more(100).await;
            let token = world.sell().await.token;
            eventually(SOON, || world.read(at_least(&token))).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
            findings.assert_readers_answered();
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
        })
        .await;
}

/// A commit waits for one of two replicas. The primary of both sides dies for good, and the replica
/// that has the most is promoted: log and views go on there, with nothing told to any program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_becomes_the_primary_of_both_sides() {
    const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];
    let options = Options { single_database: true, replicas: 2, ..Options::default() };
    let world = World::start(options).await;
    let cluster = &world.cluster;
    cluster.expect_logs(DATABASE_AWAY);
    world.commit_on("ANY 1 (replica_1, replica_2)").await;
    let load = Load::start(&world, 16);
    load.more(100).await;
    world.kill("primary").await;
    let next = cluster.furthest(&REPLICAS).await.expect("replicas");
    cluster.promote(next).await.expect("promoted");
    for other in REPLICAS.into_iter().filter(|name| *name != next) {
        cluster.follow(other, next).await.expect("it follows");
        cluster.until_streaming(other).await;
    }
    load.more(100).await;
    let token = world.sell().await.token;
    eventually(SOON, || world.read(at_least(&token))).await;
    eventually(SOON, || world.is_ready("projector")).await;
    let findings = load.stop().await;
    findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
    findings.any.assert_failed_only_for(&[]);
    audit(&world).await;
}
