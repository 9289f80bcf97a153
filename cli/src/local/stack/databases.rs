//! Brings the Postgres nodes of a plan up: makes those that are missing, recovers those that
//! crashed, and ends with both schemas migrated, every login made and every replica streaming.

use std::sync::Arc;

use anyhow::Context;
use futures_util::future::try_join_all;
use headwater_projector::rebuild::History;
use tokio_postgres::Client;

use crate::local::plan::Plan;
use crate::local::postgres::init;
use crate::local::postgres::leftovers::{self, Found};
use crate::local::postgres::users::{self, DATABASE, Login, OWNER, REPLICATION, Slot};
use crate::local::postgres::{Node, Role, accepting, connect};
use crate::local::progress::Progress;
use crate::local::system::{Process, Watchman};
use crate::migrate;

/// Nodes to start, and how.
pub(super) struct Databases<'a> {
    /// Plan of the nodes.
    pub plan: &'a Plan,
    /// Told of every process.
    pub watchman: &'a Arc<Watchman>,
    /// Told of every step.
    pub progress: &'a Progress,
    /// True if schemas are migrated and the logins made that depend on them; the tests' template
    /// does without.
    pub with_schemas: bool,
}

impl Databases<'_> {
    /// Starts all nodes; gives their processes in the order of the plan.
    pub(super) async fn start(&self) -> anyhow::Result<Vec<Process>> {
        let (standbys, primaries): (Vec<&Node>, Vec<&Node>) =
            self.plan.nodes.iter().partition(|node| node.role.is_standby());
        let mut processes = try_join_all(primaries.iter().map(|node| self.primary(node))).await?;
        if self.with_schemas {
            self.migrate(&primaries).await?;
        }
        self.free_unused_slots().await?;
        processes.extend(try_join_all(standbys.iter().map(|node| self.standby(node))).await?);
        Ok(processes)
    }

    async fn primary(&self, node: &Node) -> anyhow::Result<Process> {
        self.recover(node).await?;
        if !node.exists() {
            let step = self.progress.step(format!("{}: making a new cluster", node.name));
            init::new_cluster(&self.plan.host, &node.folder, &self.plan.secrets.superuser).await?;
            step.done();
        }
        let (process, client) = self.launch(node).await?;
        users::ensure(&client, &self.own_logins()).await?;
        users::ensure_database(&client).await?;
        Ok(process)
    }

    /// Logins that need no schema: the owner, who makes it, and the replicas.
    fn own_logins(&self) -> [Login; 2] {
        let secrets = &self.plan.secrets;
        let login = |name, password: &String, options| {
            let password = password.clone();
            Login { name, password, options, groups: &[], is_read_only: false }
        };
        [
            login(OWNER, &secrets.owner, "CREATEROLE"),
            login(REPLICATION, &secrets.replication, "REPLICATION"),
        ]
    }

    /// Schemas first, then the logins that are granted their groups.
    async fn migrate(&self, primaries: &[&Node]) -> anyhow::Result<()> {
        let plan = self.plan;
        let step = self.progress.step("schemas and users");
        let (write_url, read_url) = (plan.write_owner_url(), plan.read_owner_url());
        let migrated = migrate::both(&write_url, &read_url, plan.partitions).await?;
        // Nobody else runs here, so no program of an older version does.
        migrate::finish_the_log(&write_url).await?;
        for node in primaries {
            let client = connect(&plan.superuser_url(node, DATABASE)).await?;
            users::ensure(&client, &node.logins).await?;
        }
        step.done();
        if !migrated.to_rebuild.is_empty() {
            let step = self.progress.step("rebuilding views, which are live in another version");
            let projections = &migrated.to_rebuild;
            migrate::rebuild(&write_url, &read_url, projections, History::Same).await?;
            step.done();
        }
        Ok(())
    }

    async fn free_unused_slots(&self) -> anyhow::Result<()> {
        let upstreams = self.plan.nodes.iter().filter_map(|node| node.settings.upstream.as_ref());
        let wanted: Vec<String> = upstreams.map(|upstream| upstream.slot.clone()).collect();
        let primary = connect(&self.plan.superuser_url(self.plan.view_primary(), DATABASE)).await?;
        users::drop_slots_except(&primary, &wanted).await
    }

    async fn standby(&self, node: &Node) -> anyhow::Result<Process> {
        let upstream = node.settings.upstream.as_ref().context("a standby has a primary")?;
        self.recover(node).await?;
        let followed = match node.role {
            Role::WriteStandby => self.plan.log_primary(),
            _ => self.plan.view_primary(),
        };
        let primary = connect(&self.plan.superuser_url(followed, DATABASE)).await?;
        let slot = users::slot(&primary, &upstream.slot).await?;
        if slot == Slot::Lost {
            users::drop_slots_except(&primary, &self.slots_but(&upstream.slot)).await?;
        }
        if slot != Slot::Holds {
            users::make_slot(&primary, &upstream.slot).await?;
            if node.exists() {
                let word = "its primary no longer has the WAL that it needs; made anew";
                self.progress.say(&format!("  {}: {word}", node.name));
                std::fs::remove_dir_all(&node.folder)?;
            }
        }
        if !node.exists() {
            let step = self.progress.step(format!("{}: copying its primary", node.name));
            init::copy_primary(&self.plan.host, &node.folder, upstream).await?;
            step.done();
        }
        Ok(self.launch(node).await?.0)
    }

    fn slots_but(&self, slot: &str) -> Vec<String> {
        let upstreams = self.plan.nodes.iter().filter_map(|node| node.settings.upstream.as_ref());
        upstreams.map(|upstream| upstream.slot.clone()).filter(|other| other != slot).collect()
    }

    async fn recover(&self, node: &Node) -> anyhow::Result<()> {
        let found = leftovers::clear(&self.plan.host, &node.folder).await?;
        let word = match found {
            Found::Nothing => return Ok(()),
            Found::Orphan => "still ran without its headwater; stopped it",
            Found::Crash => "had crashed; it recovers from its WAL",
        };
        self.progress.say(&format!("  {}: {word}", node.name));
        Ok(())
    }

    async fn launch(&self, node: &Node) -> anyhow::Result<(Process, Client)> {
        let step = self.progress.step(format!("{}: starting", node.name));
        let process = self.spawn(node)?;
        let (process, client) = self.await_answer(node, process).await?;
        step.done();
        Ok((process, client))
    }

    fn spawn(&self, node: &Node) -> anyhow::Result<Process> {
        let plan = self.plan;
        node.configure(&plan.host)?;
        Process::spawn(&node.launch(&plan.host, &plan.logs()), self.watchman)
    }

    async fn await_answer(
        &self,
        node: &Node,
        mut process: Process,
    ) -> anyhow::Result<(Process, Client)> {
        // Not our database: on the very first start it is not there yet.
        let url = self.plan.superuser_url(node, "postgres");
        let client = accepting(&mut process, &url).await?;
        Ok((process, client))
    }
}
