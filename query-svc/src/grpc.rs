//! What every query has in common on the wire: what it asks for is read, replies say how fresh they
//! are, and errors are told. A domain's adapters are written on it.

mod query;
mod reply;
mod sync;
mod watching;

pub use query::Query;
pub use reply::{failure, found, in_order};
pub use sync::sync_service;
pub use watching::{Changes, watch};
