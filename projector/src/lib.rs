//! The projector: turns the log into rows.
//!
//! ```text
//! worker (elects one) -> engine: feed -> plan (pure) -> commit rows + checkpoint -> again
//! watchdog: heads of the log, checkpoint -> lag
//! ```
//! Rows and checkpoint commit together, and the checkpoint moves only from where the batch began:
//! no crash, lost connection or second projector can apply an event twice or lose it. Knows nothing
//! of any domain.

pub mod audit;
pub mod config;
pub mod engine;
pub mod feed;
pub mod health;
pub mod lag;
pub mod meters;
pub mod migrate;
pub mod parked;
pub mod projection;
pub mod rebuild;
pub mod retry;
pub mod session;
pub mod statements;
pub mod stop;
pub mod watchdog;
pub mod worker;

mod columns;
mod commit;
mod parked_columns;
mod pieces;
mod primary;
mod run;
mod selection;
mod span;
mod stored;
mod traces;

pub use run::{run, run_program};
