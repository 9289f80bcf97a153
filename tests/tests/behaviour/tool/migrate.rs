//! `headwater migrate` on databases that hold something already.

use headwater_tests::harness::{Cluster, Shared};
use sqlx::{Connection as _, PgConnection};

/// Exit code, and what was said on standard error.
async fn migrate(cluster: &Cluster, write: &str, read: &str) -> (Option<i32>, String) {
    let args = ["migrate", "--write-owner-url", write, "--read-owner-url", read];
    let output = cluster.headwater(&args).await.expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

async fn has_log(url: &str) -> bool {
    let mut connection = PgConnection::connect(url).await.expect("connected");
    let sql = "SELECT to_regnamespace('headwater_log') IS NOT NULL";
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("an answer")
}

#[tokio::test]
async fn swapped_databases_are_refused() {
    let cluster = Cluster::shared(Shared::Default).await;
    let (write, read) = (cluster.write_owner_url(), cluster.read_owner_url());
    let (code, said) = migrate(cluster, &read, &write).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("swapped") && said.contains("headwater_read"), "{said}");
    assert!(!has_log(&read).await, "nothing was made");
    let (code, said) = migrate(cluster, &write, &read).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn one_database_may_hold_both() {
    let cluster = Cluster::shared(Shared::SingleDatabase).await;
    let (write, read) = (cluster.write_owner_url(), cluster.read_owner_url());
    let (code, said) = migrate(cluster, &write, &read).await;
    assert_eq!(code, Some(0), "{said}");
}
