//! The write database is restored from a backup that lacks its last events.

use std::path::Path;
use std::process::Command;

use headwater_tests::harness::{Cluster, Options, eventually};

use super::shop::Shop;
use super::talk::{any, at_least, reason};
use super::world::{SOON, World};

const PROGRAMS: [&str; 2] = ["projector", "command-svc"];

async fn stop(cluster: &Cluster, names: &[&str]) {
    for name in names {
        assert!(cluster.stop(name).await, "{name} stops");
    }
}

/// With its owner, who is not the one who runs the tests if that is root.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}

/// A disk is lost, and with it what was written since last night's backup. The views and the
/// clients' tokens know of events that are gone. The projector must not mix the two histories, and
/// after the documented procedure (docs/recovery.md) tokens of what is gone are refused, those of
/// what the backup has count, the views show exactly what the restored log has, and everything goes
/// on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_log_starts_a_new_epoch() {
    let world = World::start(Options { replicas: 1, ..Options::default() }).await;
    let cluster = &world.cluster;
    let refused = "the projection has stopped";
    cluster.expect_logs(&[refused, "write database", "cannot be reached", "not well"]);
    // Seen where a program took longer to go than the router waits for an answer.
    cluster.expect_logs(&[r#""message":"endpoint","upstream":"command""#]);
    let kept = world.sell().await;

    // The backup: of a stopped node, which needs no more than a copy.
    let node = cluster.plan().nodes.iter().find(|node| node.name == "write").expect("a node");
    let backup = node.folder.with_file_name("backup");
    stop(cluster, &PROGRAMS).await;
    stop(cluster, &["write"]).await;
    copy(&node.folder, &backup);
    for name in ["write", "command-svc", "projector"] {
        world.start_again(name).await;
    }

    let lost = eventually(SOON, || world.send_unrecorded()).await;
    let seen = eventually(SOON, || world.read(at_least(&lost.token))).await;
    let version_lost = seen.item.expect("an item").version;
    assert_eq!(version_lost, lost.version);

    stop(cluster, &PROGRAMS).await;
    stop(cluster, &["write"]).await;
    std::fs::remove_dir_all(&node.folder).expect("the disk is gone");
    copy(&backup, &node.folder);
    world.start_again("write").await;

    // Without the procedure: another history is noticed, or at least nothing is applied.
    cluster.launch("projector").await.expect("launched");
    eventually(SOON, || async {
        let told = cluster.log("projector");
        let found = told.lines().any(|line| line.contains(refused));
        if found { Ok(()) } else { Err("the projector does not say so") }
    })
    .await;
    stop(cluster, &["projector"]).await;

    // The procedure. Not while somebody may still append.
    world.start_again("command-svc").await;
    let (write, read) = (cluster.write_owner_url(), cluster.read_owner_url());
    let command = ["start-epoch", "--write-owner-url", &write, "--read-owner-url", &read];
    let early = cluster.headwater(&command).await.expect("it runs");
    let words = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(!early.status.success() && words.contains("stop command-svc first"), "{words}");
    stop(cluster, &["command-svc"]).await;
    let done = cluster.headwater(&command).await.expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for name in ["command-svc", "projector"] {
        world.start_again(name).await;
    }

    // The views are what the restored log makes of them.
    eventually(SOON, || async {
        let shown = world.read(any()).await.map_err(|status| status.to_string())?;
        let version = shown.item.map(|item| item.version);
        if version == Some(kept.version) { Ok(()) } else { Err(format!("{version:?}")) }
    })
    .await;
    let status = world.read(at_least(&lost.token)).await.expect_err("what it proves is gone");
    assert_eq!(reason(&status), "TOKEN_LOST", "{status:?}");
    let shown = world.read(at_least(&kept.token)).await.expect("what it proves is in the backup");
    assert_eq!(shown.item.expect("an item").version, kept.version);
    // And everything goes on.
    let shop = Shop::open(world.router()).await;
    let fresh = world.read(at_least(&shop.token)).await.expect("its own write");
    assert_eq!(fresh.item.expect("an item").version, kept.version);
}
