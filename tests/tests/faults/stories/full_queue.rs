//! More commands than there is room for.

use std::time::Duration;

use headwater_tests::harness::{Kind, Options, eventually};

use super::load::Load;
use super::talk::{reason, retry_after};
use super::world::{SOON, Stage};

/// Room for one command beside the one that is being appended.
fn tiny() -> Options {
    Options { replicas: 0, ..Options::default() }
        .set(Kind::CommandSvc, "HEADWATER_QUEUE_MAX", "1")
        .set(Kind::CommandSvc, "HEADWATER_BATCH_MAX", "1")
}

/// A refusal comes at once.
const PROBE: Duration = Duration::from_millis(300);

static STAGE: Stage = Stage::new(tiny);

/// The write primary hangs, and the command service has no room. Clients are turned away with a
/// delay, instead of piling up; when the primary goes on, each sale is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_loses_nothing() {
    STAGE
        .play(async |world| {
            let load = Load::start(world, 8);
            load.more(20).await;
            world.cluster.pause("write").await;
            let sale = world.new_sale();
            let refused = eventually(SOON, || async {
                // The one place there is may be this sale's: then its wait times out.
                let status = world.send_within(PROBE, &sale).await.expect_err("it hangs");
                anyhow::ensure!(reason(&status) == "OVERLOADED", "{status:?}");
                anyhow::Ok(status)
            })
            .await;
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
            assert!(retry_after(&refused).is_some(), "{refused:?}");
            world.cluster.resume("write").await;
            eventually(SOON, || world.send(&sale)).await;
            load.more(20).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&["OVERLOADED"]);
            assert!(findings.retries["OVERLOADED"] > 0);
            findings.assert_every_query_answered();
        })
        .await;
}
