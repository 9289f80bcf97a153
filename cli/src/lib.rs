//! The command-line tool, as a library: `headwater up` and the tests run the same stack.

mod domain;
pub mod health;
pub mod local;
mod table;

pub mod migrate;
pub mod rebuild;
pub mod start_epoch;

pub mod postgres;
pub mod up;

pub mod call;
pub mod parked;
pub mod status;
pub mod tail;
pub mod verify;

mod new;
mod program;

pub use domain::Domain;
pub use program::run;

/// What the code that [`domain!`] makes names.
#[doc(hidden)]
pub mod parts {
    pub use headwater_command_svc::{AggregateType, Executor};
    pub use headwater_edge::include_contract;
    pub use headwater_projector::projection::Projection;
    pub use headwater_query_svc::Reads;
    pub use tonic::service::Routes;
}
