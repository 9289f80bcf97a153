//! Programs are asked to stop while they are at work.

use headwater_tests::harness::{Options, eventually};

use super::load::Load;
use super::talk::at_least;
use super::world::{SOON, Stage, World};

static STAGE: Stage = Stage::new(|| Options {
    command_svcs: 2,
    query_svcs: 2,
    projectors: 2,
    replicas: 1,
    ..Options::default()
});

/// What the router logs of a copy that drains.
const COPY_AWAY: &[&str] = &[r#""message":"endpoint","upstream":"#];
/// What a client's library says of requests that it could not send, as there was no router.
const NO_ROUTER: &[&str] = &["Cancelled: operation was canceled", "Unavailable: tcp connect error"];

impl World {
    /// SIGTERM; it must end by itself, in good order, within its deadline.
    async fn drain(&self, program: &str) {
        assert!(self.cluster.stop(program).await, "{program} did not stop within its deadline");
        assert_eq!(self.cluster.exit_code(program).await, Some(0), "{program} did not end well");
    }

    /// Waits until the router knows this many copies that serve: for so long a rollout must wait
    /// before it goes on to the next copy.
    async fn until_routed_to(&self, upstream: &str, copies: f64) {
        let labels = [("upstream", upstream), ("health", "serving")];
        let serving = ("headwater_router_endpoints", &labels[..]);
        self.until_metric("router", serving, |count| count == copies).await;
    }
}

/// Services with two copies behind the router are restarted one after the other, as in an upgrade.
/// No query fails. A sale may be sent again, for UNAVAILABLE and with its key, and is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_goes_unnoticed() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(COPY_AWAY);
            let load = Load::start(world, 32);
            load.more(100).await;
            for (program, upstream) in [
                ("command-svc", "command"),
                ("command-svc-2", "command"),
                ("query-svc", "query"),
                ("query-svc-2", "query"),
            ] {
                world.drain(program).await;
                world.until_routed_to(upstream, 1.0).await;
                load.more(50).await;
                world.start_again(program).await;
                world.until_routed_to(upstream, 2.0).await;
            }
            load.more(50).await;
            let findings = load.stop().await;
            findings.assert_retried_for(UNAVAILABLE);
            findings.assert_every_query_answered();
        })
        .await;
}

/// Why a sale may have to be sent again in a rolling restart: all of them UNAVAILABLE.
const UNAVAILABLE: &[&str] = &["OUTCOME_UNKNOWN", "UPSTREAM_UNAVAILABLE", "SHUTTING_DOWN"];

/// Both projectors are stopped and started under load, one after the other: the one that stays
/// goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projectors_hand_over() {
    STAGE
        .play(async |world| {
            let load = Load::start(world, 16);
            for program in ["projector", "projector-2"] {
                load.more(50).await;
                world.drain(program).await;
                let token = world.sell().await.token;
                eventually(SOON, || world.read(at_least(&token))).await;
                world.start_again(program).await;
            }
            let findings = load.stop().await;
            findings.assert_retried_for(&[]);
            findings.assert_readers_answered();
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
        })
        .await;
}

/// The only router is stopped and started. What it has accepted it finishes; after that clients
/// cannot connect until it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_drains() {
    STAGE
        .play(async |world| {
            let load = Load::start(world, 16);
            load.more(100).await;
            world.drain("router").await;
            world.start_again("router").await;
            load.more(100).await;
            let findings = load.stop().await;
            findings.assert_retried_for(NO_ROUTER);
            for reads in [&findings.own, &findings.any, &findings.fresh] {
                reads.assert_failed_only_for(NO_ROUTER);
            }
        })
        .await;
}
