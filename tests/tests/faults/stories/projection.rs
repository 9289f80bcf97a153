//! The projector dies, and another one takes over.

use std::time::Duration;

use headwater_proto::headwater::v1::{AckLevel, Acknowledgement};
use headwater_tests::harness::{Options, eventually};

use super::load::Load;
use super::talk::at_least;
use super::wires::Waits;
use super::world::{SOON, Stage, World};

static STAGE: Stage = Stage::new(|| Options { projectors: 2, partitions: 4, ..Options::default() });

const PROJECTORS: [&str; 2] = ["projector", "projector-2"];
const SESSION: &str = "headwater-projector";
/// How long a projection may stand still when its projector dies.
const TAKEOVER_MAX: Duration = Duration::from_secs(10);

/// The projector that applies the projection, and the one that waits.
async fn leader_and_follower(world: &World) -> [&'static str; 2] {
    eventually(SOON, || async {
        let mut leaders = Vec::new();
        for name in PROJECTORS {
            let leads = world.metric(name, "headwater_projection_leader", &[]).await;
            leaders.push(leads.unwrap_or_default() == 1.0);
        }
        match leaders[..] {
            [true, false] => Ok(PROJECTORS),
            [false, true] => Ok([PROJECTORS[1], PROJECTORS[0]]),
            _ => Err(format!("{leaders:?}")),
        }
    })
    .await
}

/// The projector that applies the projection is killed under load while a second one stands by.
/// The second takes over within seconds; whoever reads his own write meanwhile waits, or is told
/// that it cannot be shown yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projector_is_killed_under_load() {
    STAGE
        .play(async |world| {
            let [leader, follower] = leader_and_follower(world).await;
            let load = Load::start(world, 32);
            load.more(200).await;
            world.kill(leader).await;
            let token = world.sell().await.token;
            eventually(TAKEOVER_MAX, || world.read(at_least(&token))).await;
            load.more(200).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            findings.assert_readers_answered();
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
            world.start_again(leader).await;
            assert_eq!(leader_and_follower(world).await, [follower, leader]);
        })
        .await;
}

/// No projector is left, and a client wants its command answered only when it is projected. It is
/// told in time that the command is committed and no more; nothing invites it to send it again, and
/// if it does, that has no second effect and is answered as projected once one is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_in_vain_for_dead_projectors() {
    STAGE
        .play(async |world| {
            let [leader, follower] = leader_and_follower(world).await;
            for projector in [leader, follower] {
                world.kill(projector).await;
            }
            let sale = world.new_sale();
            let wish = |seconds| {
                let wait_max = Some(prost_types::Duration { seconds, nanos: 0 });
                Acknowledgement { level: AckLevel::Projected.into(), replicas: 0, wait_max }
            };
            let first = world.send_and_wait(&sale, wish(1)).await.expect("committed");
            assert_eq!((first.acknowledged(), first.replayed), (AckLevel::Committed, false));
            for projector in [leader, follower] {
                world.cluster.launch(projector).await.expect("launched");
            }
            let again = world.send_and_wait(&sale, wish(15)).await.expect("replayed");
            assert_eq!((again.acknowledged(), again.replayed), (AckLevel::Projected, true));
            assert_eq!(again.version, first.version);
            for projector in [leader, follower] {
                eventually(SOON, || world.is_ready(projector)).await;
            }
        })
        .await;
}

/// The projector is killed while its commit waits for a lock: the server process that it leaves
/// behind goes on, and commits the batch when nobody expects it any more. The next projector starts
/// where that one ended, and nothing is applied twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projector_is_killed_in_the_middle_of_a_commit() {
    STAGE
        .play(async |world| {
            let [leader, follower] = leader_and_follower(world).await;
            let lock = world.hold_projections().await;
            world.sell().await;
            world.until_held(world.cluster.view_node(), SESSION, Waits::ForLock).await;
            world.kill(leader).await;
            let token = world.sell().await.token;
            drop(lock);
            eventually(TAKEOVER_MAX, || world.read(at_least(&token))).await;
            world.start_again(leader).await;
            assert_eq!(leader_and_follower(world).await, [follower, leader]);
        })
        .await;
}
