//! The nodes of the read database: their connections, what is sent on them, and the pool of all.
//!
//! ```text
//! pool -> node -> connection            statement: SQL, and how its rows are decoded
//!           probe: role and checkpoints        transaction: several statements, one snapshot
//!           single_flight: point reads that share one statement
//! ```

mod connection;
mod node;
mod pool;
mod probe;
mod single_flight;
mod statement;
mod transaction;

pub use connection::{Address, CONNECTED_MAX, Params};
pub use node::{LANES, Node};
pub use pool::{PoolConfig, READY_CHECK, ReadPool};
pub use single_flight::{Key, PointReader, RETRY_AFTER};
pub use statement::{ColumnError, Columns, Statement};
pub use transaction::Transaction;
