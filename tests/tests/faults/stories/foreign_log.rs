//! The write database is another one than the views were made from.

use headwater_eventlog::EventLog;
use headwater_tests::harness::{Options, eventually};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::shop::Shop;
use super::talk::{any, at_least, reason};
use super::world::{SOON, World};

impl World {
    async fn sync_is(&self, wanted: ServingStatus) -> anyhow::Result<()> {
        let mut health = HealthClient::new(self.cluster.channel("projector"));
        let request = HealthCheckRequest { service: "headwater.sync".to_owned() };
        let status = health.check(request).await?.into_inner().status();
        anyhow::ensure!(status == wanted, "headwater.sync is {status:?}");
        Ok(())
    }
}

/// Somebody makes the write database anew under the same name, and leaves the views. Applied to
/// them the new log would mix two histories: the projector refuses, says so, and is not healthy.
/// Queries that take any state still see the old one; a token of the new log is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_log_is_not_applied() {
    let world = World::start(Options { replicas: 0, ..Options::default() }).await;
    world.sync_is(ServingStatus::Serving).await.expect("all is well");
    for program in ["projector", "command-svc"] {
        assert!(world.cluster.stop(program).await, "{program} stops");
    }
    let owner = world.cluster.write_owner_url();
    let client = headwater_cli::local::connect(&owner).await.expect("a connection");
    client.batch_execute("DROP SCHEMA headwater_log CASCADE").await.expect("dropped");
    let log = EventLog::migrate(&owner, 1).await.expect("made anew");
    world.start_again("command-svc").await;
    world.cluster.launch("projector").await.expect("launched");
    let refused = "the projection has stopped";
    world.cluster.expect_logs(&[refused]);
    eventually(SOON, || async {
        let told = world.cluster.log("projector");
        let lines: Vec<_> = told.lines().filter(|line| line.contains(refused)).collect();
        let names = |line: &&str| line.contains(&log.id.to_string());
        if lines.iter().any(names) { Ok(()) } else { Err("it does not say so") }
    })
    .await;
    eventually(SOON, || world.sync_is(ServingStatus::NotServing)).await;
    eventually(SOON, || world.is_unready("projector")).await;
    world.read(any()).await.expect("what was there before");
    // Straight to it: the router may not have found it again.
    let token = Shop::open(world.cluster.channel("command-svc")).await.token;
    let status = world.read(at_least(&token)).await.expect_err("a token of another log");
    assert_eq!(reason(&status), "TOKEN_FOREIGN", "{status:?}");
}
