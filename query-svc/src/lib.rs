//! The read side: answers queries from a pool of Postgres nodes, and says how fresh each answer is.
//!
//! ```text
//! pick (pure) -> read rows + checkpoint in one statement -> judge (pure) -> reply | wait | primary
//! ```
//! Nothing but `grpc/` and the binaries knows which domain is served.

pub mod config;
pub mod grpc;
pub mod run;

pub mod watch;

pub mod read;
pub mod transaction;

pub mod log_end;
pub mod policy;
pub mod share;

pub mod coalesce;
pub mod pool;

pub mod board;
pub mod meters;
pub mod node;
pub mod node_error;
pub mod page;
pub mod statement;

pub mod applied;
pub mod clock;
pub mod consistency;
pub mod cost;
pub mod judge;
pub mod node_set;
pub mod pick;
pub mod sighting;

pub mod migrate;
pub mod projector;

pub mod primary;
pub mod projection;
pub mod views;
