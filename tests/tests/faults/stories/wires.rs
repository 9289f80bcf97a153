//! Holds a commit at the very moment that matters, so that a fault hits it there and not by chance.

use std::time::Duration;

use headwater_tests::harness::eventually;
use tokio_postgres::Client;

use super::world::{SOON, World};

/// A commit that takes this long waits for something that never comes.
const HELD: Duration = Duration::from_millis(300);

/// What a server process waits for.
#[derive(Clone, Copy, Debug)]
pub enum Waits {
    /// A lock that somebody else holds: it has not committed.
    ForLock,
    /// A standby's word: it has committed to disk, and has not answered.
    ForStandby,
}

impl World {
    /// From now on what is committed on the write primary is on its disk, and nobody is told: as
    /// when the reply is lost.
    pub async fn hold_replies(&self) {
        let node = self.cluster.log_node();
        let client = self.superuser(node).await.expect("a connection");
        let setting = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
        client.batch_execute(setting).await.expect("set");
        client.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
        eventually(SOON, || async {
            // Left hanging if it is held; it ends with the hold.
            let probe = self.superuser(node).await?;
            let commit = probe.batch_execute("SELECT pg_logical_emit_message(true, 'probe', '')");
            let answered = tokio::time::timeout(HELD, commit).await.is_ok();
            anyhow::ensure!(!answered, "replies are not held yet");
            anyhow::Ok(())
        })
        .await;
    }

    /// Undoes it, for the node's next start or also for now.
    pub async fn release_replies(&self, now: bool) {
        let client = self.superuser(self.cluster.log_node()).await.expect("a connection");
        let setting = "ALTER SYSTEM RESET synchronous_standby_names";
        client.batch_execute(setting).await.expect("reset");
        if now {
            client.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
        }
    }

    /// Keeps appends waiting for their partition's lock until the connection is dropped.
    pub async fn hold_appends(&self) -> Client {
        let client = self.superuser(self.cluster.log_node()).await.expect("a connection");
        let lock = "BEGIN; SELECT headwater_log.stop_appends()";
        client.batch_execute(lock).await.expect("locked");
        client
    }

    /// Keeps projectors from writing items until the connection is dropped. Reading goes on.
    pub async fn hold_projections(&self) -> Client {
        let client = self.superuser(self.cluster.view_node()).await.expect("a connection");
        let sql = "SELECT max(table_name::text) FROM information_schema.tables
                    WHERE table_schema = 'headwater_read' AND table_name ~ '^item_v[0-9]+$'";
        let table: String = client.query_one(sql, &[]).await.expect("a row").get(0);
        let lock = format!("BEGIN; LOCK TABLE headwater_read.{table} IN SHARE MODE");
        client.batch_execute(&lock).await.expect("locked");
        client
    }

    /// Waits until a server process of the application is held.
    pub async fn until_held(&self, node: &str, application: &str, waits: Waits) {
        let client = self.superuser(node).await.expect("a connection");
        let held = match waits {
            Waits::ForLock => "wait_event_type = 'Lock'",
            Waits::ForStandby => "wait_event = 'SyncRep'",
        };
        let sql =
            format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND {held}");
        eventually(SOON, || async {
            let count: i64 = client.query_one(&sql, &[&application]).await?.get(0);
            anyhow::ensure!(count > 0, "nothing of {application} waits on {node}: {waits:?}");
            anyhow::Ok(())
        })
        .await;
    }
}
