//! Reads of whatever kind, each opened with the [`Access`](headwater_kernel::Access) flag that
//! chooses its node, and judged by the checkpoint that was read in the same snapshot.
//!
//! ```text
//! reads: by key, by statement, in a transaction -> pipeline: pick -> ask -> judge -> reply | wait
//! ```
//! Knows no domain.

mod ask;
mod backend;
mod epochs;
mod need;
mod pipeline;
mod progress;
mod reads;
mod waiting;

pub use epochs::{Standing, standing};
pub use need::{Best, ReadError};
pub use progress::LOG_PATIENCE;
pub use reads::{Reads, WAITING_MAX};
