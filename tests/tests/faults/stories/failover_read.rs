//! The read primary dies for good, and a replica is promoted in its place. No program is told.

use std::time::{Duration, Instant};

use headwater_proto::headwater::v1::{AckLevel, Acknowledgement, NodeRole};
use headwater_tests::harness::{Options, eventually};

use super::load::Load;
use super::talk::{at_least, covers};
use super::world::{SOON, World};

/// What programs log while a node of the read side is unreachable, or is not what it was.
const READ_SIDE_LOST: &[&str] = &[
    r#""message":"node ejected from load balancing""#,
    r#""target":"deadpool.postgres""#,
    r#""message":"the projection starts anew","projection":"retail","error":"the read primary"#,
];
const REPLACED: &str = r#""message":"takes writes, but was replaced; it is not used""#;
const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];
/// So soon after a promotion everything that was written before can be read again
/// (docs/failures.md), with time for a busy machine.
const READABLE_AGAIN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);

impl World {
    /// How far the views on a node are, and how many projectors are connected to it.
    async fn applied_on(&self, node: &str) -> (Vec<i64>, i64) {
        let client = self.superuser(node).await.expect("a connection");
        let positions = "SELECT positions FROM headwater_read.checkpoint";
        let positions = client.query_one(positions, &[]).await.expect("a checkpoint").get(0);
        let sessions = "SELECT count(*) FROM pg_stat_activity
                         WHERE application_name = 'headwater-projector'";
        let sessions = client.query_one(sessions, &[]).await.expect("a count").get(0);
        (positions, sessions)
    }

    /// Whether a node takes writes.
    async fn takes_writes(&self, node: &str) -> bool {
        let client = self.superuser(node).await.expect("a connection");
        let row = client.query_one("SELECT NOT pg_is_in_recovery()", &[]).await;
        row.expect("an answer").get(0)
    }
}

/// Under load the read primary loses its power, and the replica that has received the most is
/// promoted; the other one follows it. Commands never notice. Queries go on, those for what was
/// projected by replicas; whoever wants to read what he has just written waits until the projector
/// has found the new primary and gone on from the checkpoint that it found there.
///
/// Then the old primary comes back, takes writes as if nothing had happened, and stands first in
/// the projector's list. The projector leaves it alone, also one that is started just then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_becomes_the_read_primary() {
    let world = World::start(Options { partitions: 2, ..Options::default() }).await;
    let cluster = &world.cluster;
    cluster.expect_logs(READ_SIDE_LOST);
    let load = Load::start(&world, 16);
    load.more(100).await;
    let old = world.sell().await.token;
    eventually(SOON, || async {
        let reply = world.read(at_least(&old)).await?;
        let role = reply.freshness.expect("freshness").node_role();
        anyhow::ensure!(role == NodeRole::Replica, "no replica shows it yet");
        anyhow::Ok(())
    })
    .await;

    world.kill("read").await;
    load.more(100).await;
    world.read(at_least(&old)).await.expect("what was projected is served by replicas");
    let next = cluster.furthest(&REPLICAS).await.expect("replicas");
    let other = REPLICAS.into_iter().find(|name| *name != next).expect("the other one");
    cluster.promote(next).await.expect("promoted");
    let promoted = Instant::now();
    cluster.follow(other, next).await.expect("it follows");
    let token = world.sell().await.token;
    eventually(READABLE_AGAIN + SLACK, || world.read(at_least(&token))).await;
    println!("readable again {:?} after the promotion", promoted.elapsed());
    cluster.until_streaming(other).await;
    load.more(100).await;
    eventually(SOON, || world.is_ready("projector")).await;

    // The old primary comes back.
    cluster.expect_logs(&[REPLACED]);
    world.start_again("read").await;
    assert!(world.takes_writes("read").await);
    let (left_at, _) = world.applied_on("read").await;
    load.more(100).await;
    cluster.expect_logs(&[r#""message":"the projection starts anew""#]);
    cluster.restart("projector").await.expect("a projector without a memory");
    load.more(100).await;
    let projected = wish(AckLevel::Projected);
    let receipt = world.send_and_wait(&world.new_sale(), projected).await.expect("sold");
    assert_eq!(receipt.acknowledged(), AckLevel::Projected);
    assert!(covers(&receipt.token, &token));
    assert_eq!(world.applied_on("read").await, (left_at, 0), "the old primary was written to");

    // It is taken back as a replica of the new one.
    cluster.rejoin("read", next).await.expect("it follows");
    cluster.until_streaming("read").await;
    assert!(!world.takes_writes("read").await);
    let receipt = eventually(SOON, || async {
        let receipt = world.send_and_wait(&world.new_sale(), wish(AckLevel::Replicated)).await?;
        let all = receipt.acknowledged() == AckLevel::Replicated && receipt.replicas == 2;
        if all { Ok(receipt) } else { anyhow::bail!("not on both replicas: {receipt:?}") }
    })
    .await;
    world.read(at_least(&receipt.token)).await.expect("it is everywhere");

    let findings = load.stop().await;
    findings.assert_retried_for(&[]);
    findings.any.assert_failed_only_for(&[]);
    for reads in [&findings.own, &findings.fresh] {
        reads.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
    }
    super::audit::audit(&world).await;
}

/// The read primary hangs with the projector's connection open, and is replaced. The projector does
/// not wait for it; when it wakes up, the batch that it had in its hands may still be committed
/// there, and that is the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_primary_hangs_and_is_replaced() {
    let world = World::start(Options { replicas: 1, ..Options::default() }).await;
    let cluster = &world.cluster;
    cluster.expect_logs(READ_SIDE_LOST);
    let load = Load::start(&world, 16);
    load.more(100).await;
    cluster.pause("read").await;
    load.more(50).await;
    cluster.promote("replica-1").await.expect("promoted");
    let token = world.sell().await.token;
    eventually(READABLE_AGAIN + SLACK, || world.read(at_least(&token))).await;
    cluster.expect_logs(&[REPLACED]);
    cluster.resume("read").await;
    eventually(SOON, || async {
        let (_, sessions) = world.applied_on("read").await;
        anyhow::ensure!(sessions == 0, "the projector is still connected to it");
        anyhow::Ok(())
    })
    .await;
    let left_at = world.applied_on("read").await;
    load.more(50).await;
    assert_eq!(world.applied_on("read").await, left_at, "the old primary was written to");
    world.kill("read").await;
    let findings = load.stop().await;
    findings.assert_retried_for(&[]);
    for reads in [&findings.own, &findings.fresh] {
        reads.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
    }
    super::audit::audit(&world).await;
}

fn wish(level: AckLevel) -> Acknowledgement {
    let wait_max = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    Acknowledgement { level: level.into(), replicas: 0, wait_max }
}
