//! Probes: one statement that reads a node's role and the checkpoints of all projections.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::Row;

use super::node::Node;
use super::statement::{CHECKPOINT, lineage, projection_of, state};
use crate::seen::{NodeError, NodeState, NodeStateTable};

const LINEAGE: &str = include_str!("../../sql/queries/lineage.sql");

impl Node {
    /// Asks the node for its role and its checkpoints, unless its circuit breaker is open, and
    /// notes the answer.
    pub async fn probe(&self) {
        if !self.admits_probe() {
            return;
        }
        let begun = Instant::now();
        let rows = self.probes.run(&self.shared, CHECKPOINT, &[&self.tables.projections()]).await;
        let states = match rows.and_then(|rows| self.states(&rows)) {
            Ok(states) => states,
            Err(error) => return self.failed(&error),
        };
        self.load.answered(Instant::now().into_std(), begun.elapsed());
        // Only when a new one was just to be had: an old connection is better than none.
        if self.probes.take_renewed() {
            self.lent.retain(|_, lent| lent.age() < self.connected_max);
        }
        if let Some(role) = states.iter().flatten().map(|state| state.role).next() {
            self.succeeded(role, self.tables.role(self.index).is_none());
        }
        self.note(&states).await;
    }

    /// What the node shows, by projection. None of them at all means that its database has not been
    /// set up.
    fn states(&self, rows: &[Row]) -> Result<Vec<Option<NodeState>>, NodeError> {
        if rows.is_empty() {
            return Err(NodeError::Schema("there is no checkpoint of any projection".into()));
        }
        let shown = |(name, table): (&String, &Arc<NodeStateTable>)| {
            for row in rows {
                if projection_of(row).map_err(NodeError::defect)? == name {
                    return state(row, table.checkpoint(self.index)).map(Some);
                }
            }
            Ok(None)
        };
        self.tables.projections().iter().zip(self.tables.all()).map(shown).collect()
    }

    async fn note(&self, states: &[Option<NodeState>]) {
        let mut strays = false;
        let tables = self.tables.projections().iter().zip(self.tables.all());
        for ((projection, table), state) in tables.zip(states) {
            let Some(state) = state else {
                table.absent(self.index);
                continue;
            };
            table.corrected(self.index, state);
            strays |= table.is_stray(&state.checkpoint);
            let age = state.checkpoint.freshness.staleness(self.clock.read().now);
            self.meters().staleness(projection, age);
            self.learn_lineage(projection, table, state).await;
        }
        self.strays(strays);
    }

    /// Asks for the epochs of the log that the node shows, if they are not known: once for each
    /// epoch and projection, by the first node that is seen in it.
    async fn learn_lineage(&self, projection: &str, table: &NodeStateTable, state: &NodeState) {
        let shown = &state.checkpoint;
        if table.lineage(shown.log, shown.epoch).is_some() {
            return;
        }
        let rows = self.probes.run(&self.shared, LINEAGE, &[&projection]).await;
        match rows.and_then(|rows| lineage(&rows).map_err(NodeError::defect)) {
            Ok(Some(lineage)) => table.learned(lineage),
            Ok(None) => {}
            // Tried again with the next probe; the node is judged by what it is asked for.
            Err(error) => tracing::debug!(node = self.name, %error, "its epochs are not known"),
        }
    }
}
