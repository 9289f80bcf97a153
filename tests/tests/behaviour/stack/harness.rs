//! The harness itself: a stack comes up whole, and what a test breaks is broken and mends.

use std::time::Duration;

use headwater_tests::harness::{Cluster, Kind, Options, Shared, eventually};

const SOON: Duration = Duration::from_secs(30);

async fn is_streaming(cluster: &Cluster, replica: &str) -> anyhow::Result<()> {
    let url = cluster.superuser_url(replica);
    let client = headwater_cli::local::connect(&url).await?;
    let sql = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    let count: i64 = client.query_one(sql, &[]).await?.get(0);
    anyhow::ensure!(count == 1, "{replica} does not stream");
    Ok(())
}

#[tokio::test]
async fn tests_share_a_cluster_that_works() {
    let cluster = Cluster::shared(Shared::Default).await;
    let again = Cluster::shared(Shared::Default).await;
    assert!(std::ptr::eq(cluster, again));
    for program in &cluster.plan().programs {
        let answer = cluster.admin(&program.name, "/readyz").await.expect("an answer");
        assert_eq!(answer.status, 200, "{}: {}", program.name, answer.body);
    }
    for replica in ["replica-1", "replica-2"] {
        eventually(SOON, || is_streaming(cluster, replica)).await;
    }
    cluster.assert_quiet();
}

#[tokio::test]
async fn a_killed_replica_comes_back_and_streams() {
    let cluster = Cluster::start(Options::databases_only()).await.expect("a cluster");
    cluster.kill("replica-1").await;
    assert!(!cluster.is_running("replica-1").await);
    assert!(is_streaming(&cluster, "replica-1").await.is_err());
    cluster.start_again("replica-1").await.expect("it starts again");
    eventually(SOON, || is_streaming(&cluster, "replica-1")).await;
}

#[tokio::test]
async fn a_paused_node_hangs_until_it_is_resumed() {
    let options = Options { replicas: 0, single_database: true, ..Options::databases_only() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    let url = cluster.owner_url(cluster.log_node());
    let client = headwater_cli::local::connect(&url).await.expect("a connection");
    cluster.pause("primary").await;
    let hanging = tokio::time::timeout(Duration::from_millis(300), client.simple_query("SELECT 1"));
    assert!(hanging.await.is_err(), "a paused node answered");
    cluster.resume("primary").await;
    client.simple_query("SELECT 1").await.expect("an answer after all");
}

#[tokio::test]
async fn copies_of_a_program_and_a_third_replica() {
    let options = Options { replicas: 3, command_svcs: 2, ..Options::default() };
    let options = options.set(Kind::CommandSvc, "HEADWATER_QUEUE_MAX", "77");
    let cluster = Cluster::start(options).await.expect("a cluster");
    for program in ["command-svc", "command-svc-2"] {
        assert!(cluster.is_running(program).await);
    }
    eventually(SOON, || is_streaming(&cluster, "replica-3")).await;
    assert!(cluster.stop("command-svc-2").await, "it drains when asked to");
    assert!(!cluster.is_running("command-svc-2").await);
    cluster.restart("command-svc").await.expect("it starts again");
}

#[tokio::test]
async fn a_warning_that_was_not_declared_is_found() {
    let options = Options { replicas: 0, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    assert!(cluster.alarming_logs().is_empty(), "{:?}", cluster.alarming_logs());
    cluster.kill("read").await;
    let alarmed = || async {
        let lines = cluster.alarming_logs();
        if lines.is_empty() { Err("nobody complains") } else { Ok(lines) }
    };
    eventually(SOON, alarmed).await;
    cluster.expect_logs(&[""]);
}
