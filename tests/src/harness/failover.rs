//! Failover of Postgres nodes, as a tool for high availability does it: promotes one, lets the
//! others follow it, and takes one that was replaced back as a standby. Nothing is told to the
//! programs.

use std::time::Duration;

use anyhow::{Context, ensure};
use headwater_cli::local::{Role, Slot, connect, copy_primary, make_slot, slot};

use super::cluster::Cluster;
use super::eventually;

/// A promotion takes a tenth of a second.
const PROMOTED: Duration = Duration::from_secs(30);

impl Cluster {
    /// Name of the node that holds the log.
    pub fn log_node(&self) -> &str {
        &self.plan().nodes[self.primaries().log()].name
    }

    /// Name of the primary that holds the views.
    pub fn view_node(&self) -> &str {
        &self.plan().nodes[self.primaries().views()].name
    }

    /// Makes a standby the primary, and waits until it takes writes. The one that was must be dead
    /// or cut off.
    pub async fn promote(&self, node: &str) -> anyhow::Result<()> {
        let client = connect(&self.superuser_url(node)).await?;
        let row = client.query_one("SELECT pg_promote(true, 30)", &[]).await?;
        ensure!(row.get::<_, bool>(0), "{node} was not promoted in time");
        let nodes = &self.plan().nodes;
        let place = nodes.iter().position(|n| n.name == node).context("it is in the plan")?;
        let is_single = self.plan().log_primary().role == Role::SinglePrimary;
        if is_single || nodes[place].role == Role::WriteStandby {
            self.primaries().holds_log(place);
        }
        if nodes[place].role.shows_views() {
            self.primaries().holds_views(place);
        }
        Ok(())
    }

    /// Of standbys the one that has received the most: the one to promote, since the others can
    /// follow it.
    pub async fn furthest<'n>(&self, standbys: &[&'n str]) -> anyhow::Result<&'n str> {
        let mut furthest = None;
        for standby in standbys {
            let client = connect(&self.superuser_url(standby)).await?;
            let sql = "SELECT coalesce(pg_last_wal_receive_lsn(), '0/0') - '0/0'::pg_lsn";
            let sql = format!("SELECT ({sql})::bigint");
            let received: i64 = client.query_one(&sql, &[]).await?.get(0);
            furthest = furthest.max(Some((received, *standby)));
        }
        Ok(furthest.context("some standby")?.1)
    }

    /// Lets a standby that runs follow another node.
    pub async fn follow(&self, standby: &str, primary: &str) -> anyhow::Result<()> {
        let upstream = self.plan().upstream(self.node(primary).address(), standby);
        self.make_slot(primary, &upstream.slot).await?;
        let client = connect(&self.superuser_url(standby)).await?;
        for (setting, value) in
            [("primary_conninfo", upstream.conninfo()), ("primary_slot_name", upstream.slot)]
        {
            client.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await?;
        }
        client.batch_execute("SELECT pg_reload_conf()").await?;
        Ok(())
    }

    /// Takes a primary that was replaced back as a standby: a new copy of the one that replaced it.
    pub async fn rejoin(&self, node: &str, primary: &str) -> anyhow::Result<()> {
        self.kill(node).await;
        let upstream = self.plan().upstream(self.node(primary).address(), node);
        self.make_slot(primary, &upstream.slot).await?;
        let folder = &self.node(node).folder;
        std::fs::remove_dir_all(folder)?;
        copy_primary(&self.plan().host, folder, &upstream).await?;
        // Its settings file, which `start_again` writes, still has it as it was in the plan.
        self.start_again(node).await?;
        self.follow(node, primary).await
    }

    /// Waits until a standby streams from whatever it follows.
    pub async fn until_streaming(&self, standby: &str) {
        eventually(PROMOTED, || async {
            let client = connect(&self.superuser_url(standby)).await?;
            let sql = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            let count: i64 = client.query_one(sql, &[]).await?.get(0);
            ensure!(count == 1, "{standby} does not stream");
            anyhow::Ok(())
        })
        .await;
    }

    async fn make_slot(&self, primary: &str, name: &str) -> anyhow::Result<()> {
        let client = connect(&self.superuser_url(primary)).await?;
        if slot(&client, name).await? == Slot::Missing {
            make_slot(&client, name).await?;
        }
        Ok(())
    }
}
