//! The read side: answers queries from a pool of Postgres nodes, and says how fresh each answer is.
//!
//! ```text
//! pick (pure) -> read rows + checkpoint in one statement -> judge (pure) -> reply | wait | primary
//! ```
//! Knows no domain. Its rooms, bottom up; each is a folder with one face:
//!
//! ```text
//! seen  <-  choice, write_side  <-  nodes  <-  read  <-  watch  <-  grpc  <-  views
//! ```

mod choice;
mod config;
mod grpc;
mod nodes;
mod read;
mod run;
mod seen;
mod views;
mod watch;
mod write_side;

pub use choice::RECOVERY;
pub use config::Config;
pub use grpc::{Changes, Query, failure, found, in_order, sync_service, watch};
pub use nodes::{
    Address, CONNECTED_MAX, ColumnError, Columns, Params, PointReader, PoolConfig, READY_CHECK,
    ReadPool, Statement, Transaction,
};
pub use read::{ReadError, Reads};
pub use run::{run, run_program};
pub use seen::{Answer, NodeError, Shown};
pub use views::{Filters, Listing, ServedView, ViewReader, Watched, by_key, statements};
// Macros name it.
pub use headwater_kernel::View;
pub use watch::{FoundChange, Hub, Seen, Selector, Source, found_change};
