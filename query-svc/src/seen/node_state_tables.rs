//! Everything that was last seen of each node, by projection: the views of one projection may lag
//! behind those of another on the same node, so each has a table of its own.

use std::sync::Arc;

use futures_util::future::select_all;
use headwater_kernel::{LogId, NodeRole};
use tokio::sync::watch;

use super::node_state::NodeSeen;
use super::node_state_table::{NodeStateTable, Waiter};
use super::probe_demand::ProbeDemand;
use super::wait_list::Awaited;

/// The tables of a pool's nodes, one for each projection that is served.
pub struct NodeStateTables {
    names: Vec<String>,
    tables: Vec<Arc<NodeStateTable>>,
    demand: Arc<ProbeDemand>,
}

impl NodeStateTables {
    /// Nothing has been seen of any node.
    pub fn new(nodes: usize, projections: &[String]) -> Self {
        let demand = Arc::new(ProbeDemand::default());
        let table = |_| Arc::new(NodeStateTable::new(nodes, Arc::clone(&demand)));
        let tables = projections.iter().map(table).collect();
        Self { names: projections.to_vec(), tables, demand }
    }

    /// The projections, in the order of [`NodeStateTables::all`].
    pub fn projections(&self) -> &[String] {
        &self.names
    }

    /// The table of a projection, if it is served.
    pub fn of(&self, projection: &str) -> Option<&Arc<NodeStateTable>> {
        // One or a few: quicker than hashing the name.
        let index = self.names.iter().position(|name| name == projection)?;
        Some(&self.tables[index])
    }

    /// The tables of all projections.
    pub fn all(&self) -> &[Arc<NodeStateTable>] {
        &self.tables
    }

    /// Reads that wait on any of the tables.
    pub fn demand(&self) -> &ProbeDemand {
        &self.demand
    }

    /// Notes whether a node can be read from.
    pub fn usable(&self, node: usize, usable: bool) {
        self.tables.iter().for_each(|table| table.usable(node, usable));
    }

    /// Notes which log the write database holds.
    pub fn log_is(&self, log: LogId) {
        self.tables.iter().for_each(|table| table.log_is(log));
    }

    /// The role in which a node was last seen.
    pub fn role(&self, node: usize) -> Option<NodeRole> {
        self.tables.iter().find_map(|table| table.role(node))
    }

    /// Follows every change of any table.
    pub fn subscribe(&self) -> TablesReceiver {
        TablesReceiver(self.tables.iter().map(|table| table.subscribe()).collect())
    }

    /// Begins to wait on all tables for what is awaited of each; probes are hurried until the
    /// waiter is dropped.
    pub fn wait(&self, awaited: impl Fn(&NodeStateTable) -> Awaited) -> TablesWaiter<'_> {
        TablesWaiter(self.tables.iter().map(|table| table.wait(awaited(table))).collect())
    }
}

/// The changes of all tables.
pub struct TablesReceiver(Vec<watch::Receiver<Vec<NodeSeen>>>);

impl TablesReceiver {
    /// Copies of all tables, by projection; what they hold counts as seen.
    pub fn look(&mut self) -> Vec<Vec<NodeSeen>> {
        self.0.iter_mut().map(|table| table.borrow_and_update().clone()).collect()
    }

    /// Resolves at the next change; false if there will be none.
    pub async fn changed(&mut self) -> bool {
        let changes = self.0.iter_mut().map(|table| Box::pin(table.changed()));
        select_all(changes).await.0.is_ok()
    }
}

/// A call that waits on all tables.
pub struct TablesWaiter<'t>(Vec<Waiter<'t>>);

impl TablesWaiter<'_> {
    /// Resolves once one of the waiters is woken.
    pub async fn changed(&self) {
        select_all(self.0.iter().map(|waiter| Box::pin(waiter.changed()))).await;
    }
}
