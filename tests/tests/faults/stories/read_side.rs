//! The read side dies, bit by bit and altogether.

use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::GetItemResponse;
use headwater_proto::headwater::v1::NodeRole;
use headwater_tests::harness::{Options, eventually};
use tonic::Code;

use super::load::Load;
use super::talk::{any, at_least, covers, detail, reason, retry_after};
use super::wires::Waits;
use super::world::{SOON, Stage, World};

static STAGE: Stage = Stage::new(|| Options { partitions: 4, ..Options::default() });

/// What query-svc logs when it loses a node.
const NODE_LOST: &[&str] =
    &[r#""message":"node ejected from load balancing""#, r#""target":"deadpool.postgres""#];
/// What the others log when the read primary is unavailable, or all nodes are.
const READ_DATABASE_AWAY: &[&str] = &[
    r#""message":"the projection starts anew","projection":"retail","error":"the read primary"#,
    r#""message":"endpoint","upstream":"query""#,
];
const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];
const SESSION: &str = "headwater-projector";
/// HEADWATER_WAIT_MS_MAX by default, and time for a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(2);
const BREAKER: &str = "headwater_node_breaker_state";
const READS: &str = "headwater_reads_total";
const TURNS: &str = "headwater_primary_turns_total";

impl World {
    /// Waits until query-svc has taken the node out of the choice.
    async fn until_left_out(&self, node: &str) {
        let address = self.address(node);
        let breaker = (BREAKER, &[("node", address.as_str())][..]);
        self.until_metric("query-svc", breaker, |state| state > 0.0).await;
    }

    /// Waits until it is in the choice, and has answered reads again.
    async fn until_read_again(&self, node: &str) {
        let address = self.address(node);
        let breaker = (BREAKER, &[("node", address.as_str())][..]);
        self.until_metric("query-svc", breaker, |state| state == 0.0).await;
        let answered = (READS, &[("node", address.as_str()), ("outcome", "fresh")][..]);
        let before = self.metric("query-svc", answered.0, answered.1).await.expect("metrics");
        self.until_metric("query-svc", answered, |reads| reads > before).await;
    }

    /// Pauses or resumes a replica's replay of what it receives.
    async fn replay(&self, replica: &str, call: &str) {
        let client = self.superuser(replica).await.expect("a connection");
        client.batch_execute(&format!("SELECT {call}()")).await.expect("done");
    }
}

fn role(reply: &GetItemResponse) -> NodeRole {
    reply.freshness.as_ref().expect("freshness").node_role()
}

/// One replica is killed, and later the other one hangs with its connections open. Reads go on, on
/// the nodes that are left, and not one of them fails: what was under way on the lost node is read
/// elsewhere. Each leaves the choice, and is back in it soon after it works again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_killed_and_another_hangs() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(NODE_LOST);
            let load = Load::start(world, 16);
            load.more(100).await;
            world.kill("replica-1").await;
            world.until_left_out("replica-1").await;
            load.more(100).await;
            world.start_again("replica-1").await;
            world.until_read_again("replica-1").await;
            world.cluster.pause("replica-2").await;
            world.until_left_out("replica-2").await;
            load.more(100).await;
            world.cluster.resume("replica-2").await;
            world.until_read_again("replica-2").await;
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            findings.assert_every_query_answered();
        })
        .await;
}

/// Both replicas are killed. The read primary takes over, as far as its share goes: what it does
/// not is refused for that reason and no other, and nothing else notices. Then replicas answer
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_is_killed() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(NODE_LOST);
            let load = Load::start(world, 16);
            load.more(100).await;
            for replica in REPLICAS {
                world.kill(replica).await;
            }
            for replica in REPLICAS {
                world.until_left_out(replica).await;
            }
            load.more(200).await;
            let turns = world.metric("query-svc", TURNS, &[("outcome", "at_once")]).await;
            assert!(turns.expect("metrics") > 0.0);
            for replica in REPLICAS {
                world.start_again(replica).await;
            }
            for replica in REPLICAS {
                world.until_read_again(replica).await;
            }
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            for reads in [&findings.own, &findings.any, &findings.fresh] {
                assert!(reads.answered > 0, "{reads:?}");
                reads.assert_failed_only_for(&["PRIMARY_SHARE_SPENT"]);
            }
        })
        .await;
}

/// Both replicas stop replaying what they receive: they answer, and answer with the past. Whoever
/// has a token is read to from the primary; when replay goes on, from replicas again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_fall_behind() {
    STAGE
        .play(async |world| {
            for replica in REPLICAS {
                world.replay(replica, "pg_wal_replay_pause").await;
            }
            let load = Load::start(world, 16);
            load.more(100).await;
            let token = world.sell().await.token;
            let reply = world.read(at_least(&token)).await.expect("an answer");
            assert_eq!(role(&reply), NodeRole::Primary);
            for replica in REPLICAS {
                world.replay(replica, "pg_wal_replay_resume").await;
            }
            eventually(SOON, || async {
                let token = world.sell().await.token;
                let reply = world.read(at_least(&token)).await.map_err(anyhow::Error::from)?;
                anyhow::ensure!(role(&reply) == NodeRole::Replica, "still the primary");
                anyhow::Ok(())
            })
            .await;
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            findings.assert_every_query_answered();
        })
        .await;
}

/// Nobody projects. Commands go on as if nothing had happened; who wants to read what he wrote is
/// told within the wait's bound that it cannot be shown, and what could be; who takes what there is
/// gets it. With a projector everything is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_projects() {
    STAGE
        .play(async |world| {
            let before = world.sell().await.token;
            eventually(SOON, || world.read(at_least(&before))).await;
            world.kill("projector").await;
            let token = world.sell().await.token;
            let begun = Instant::now();
            let status = world.read(at_least(&token)).await.expect_err("nobody projects");
            let waited = begun.elapsed();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
            assert!(retry_after(&status).is_some(), "{status:?}");
            assert!((WAIT_MAX..WAIT_MAX + SLACK).contains(&waited), "it waited {waited:?}");
            let best = detail(&status, "best_token").expect("the best on offer");
            assert!(covers(&best, &before) && !covers(&best, &token));
            world.read(at_least(&best)).await.expect("what was offered");
            world.read(any()).await.expect("an answer");
            world.start_again("projector").await;
            eventually(SOON, || world.read(at_least(&token))).await;
        })
        .await;
}

/// Every node of the read side dies. Commands go on; queries say that they cannot be answered, and
/// not for long; and everything is there again when the nodes are, with no program started anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_read_side_is_down() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(NODE_LOST);
            world.cluster.expect_logs(READ_DATABASE_AWAY);
            for node in world.read_nodes() {
                world.kill(&node).await;
            }
            let mut token = String::new();
            for _ in 0..20 {
                token = world.sell().await.token;
            }
            eventually(SOON, || world.is_unready("query-svc")).await;
            for consistency in [any(), at_least(&token)] {
                let begun = Instant::now();
                let status = world.read(consistency).await.expect_err("there is no node");
                let waited = begun.elapsed();
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                let reason = reason(&status);
                let expected = ["DATABASE_UNAVAILABLE", "FRESHNESS_UNAVAILABLE"];
                assert!(expected.contains(&reason.as_str()), "{status:?}");
                assert!(waited < WAIT_MAX + SLACK, "it waited {waited:?}");
            }
            for node in world.read_nodes() {
                world.start_again(&node).await;
            }
            eventually(SOON, || world.is_ready("query-svc")).await;
            eventually(SOON, || world.read(at_least(&token))).await;
            eventually(SOON, || world.is_ready("projector")).await;
        })
        .await;
}

/// The read primary crashes with half of a batch written. It forgets that half; the projector
/// begins the batch again, and replicas go on from where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_primary_crashes_in_the_middle_of_a_batch() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(NODE_LOST);
            world.cluster.expect_logs(READ_DATABASE_AWAY);
            let load = Load::start(world, 16);
            load.more(100).await;
            let lock = world.hold_projections().await;
            world.until_held("read", SESSION, Waits::ForLock).await;
            world.kill("read").await;
            drop(lock);
            load.more(50).await;
            world.start_again("read").await;
            let token = world.sell().await.token;
            eventually(SOON, || world.read(at_least(&token))).await;
            load.more(50).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            findings.assert_readers_answered();
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
            eventually(SOON, || world.is_ready("projector")).await;
        })
        .await;
}
