//! A checkpoint before replicas stop, so that their next start is short.
//!
//! A replica begins with a replay of all that follows the last checkpoint of its primary which it
//! has taken in: up to five minutes of writes, or a gigabyte. One made just before leaves nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::local::plan::Plan;
use crate::local::postgres::users::DATABASE;
use crate::local::postgres::{Node, Role, connect};

/// A primary that does not write what it holds within this time is stopped without; its replicas
/// only take longer to start.
const CHECKPOINT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Makes a checkpoint on the primary of each of these standbys, and waits until they have it. What
/// fails is left out: it is no reason not to stop.
pub(super) async fn before_stop(plan: &Plan, standbys: &[String]) {
    let followed = |node: &Node| match node.role {
        Role::WriteStandby => plan.log_primary(),
        _ => plan.view_primary(),
    };
    let nodes = plan.nodes.iter().filter(|node| standbys.contains(&node.name));
    let mut primaries: Vec<&Node> = nodes.map(followed).collect();
    primaries.sort_by_key(|node| &node.name);
    primaries.dedup_by_key(|node| &node.name);
    join_all(primaries.into_iter().map(|primary| async {
        match timeout(CHECKPOINT_MAX, checkpoint(plan, primary)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, node = primary.name, "no checkpoint"),
            Err(_) => tracing::debug!(node = primary.name, "no checkpoint in time"),
        }
    }))
    .await;
}

async fn checkpoint(plan: &Plan, primary: &Node) -> anyhow::Result<()> {
    let client = connect(&plan.superuser_url(primary, DATABASE)).await?;
    client.batch_execute("CHECKPOINT").await?;
    let end = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await?;
    let end: &str = end.get(0);
    let sql = include_str!("../postgres/sql/replicas_behind.sql");
    while client.query_one(sql, &[&end]).await?.get::<_, i64>(0) > 0 {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
