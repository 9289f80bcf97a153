//! Last observations of each node, in one place.
//!
//! ```text
//! probe or answer -> NodeState -> NodeStateTable (one a projection) -> WaitList wakes reads
//! ```
//! The lowest room: knows no pool, no choice and no connection.

mod applied;
mod meters;
mod node_error;
mod node_set;
mod node_state;
mod node_state_table;
mod node_state_tables;
mod probe_demand;
mod wait_list;

pub use applied::{Applied, Level, applied, showing};
pub use meters::{FallbackMeters, NodeMeters, WaitMeters, batch_keys, role_name, watchers};
pub use node_error::{NodeError, is_stale_plan};
pub use node_set::{NODES_MAX, NodeSet};
pub use node_state::{Answer, Checkpoint, NodeSeen, NodeState, Shown};
pub use node_state_table::NodeStateTable;
pub use node_state_tables::NodeStateTables;
pub use probe_demand::Pace;
pub use wait_list::Awaited;
