//! The write side: from a command to its receipt. Knows no domain.
//!
//! One pipeline, read top to bottom in [`execute`]: load -> fold -> decide -> append -> receipt.
//! Everything else is a leaf of it.

mod acks;
mod across;
mod ahead;
mod appender;
mod boundaries;
mod config;
mod decide;
mod execute;
mod execute_many;
mod folding;
mod grpc;
mod housekeeping;
mod loader;
mod measure;
mod places;
mod plan;
mod recent;
mod reply;
mod run;
mod seen;
mod settle;
mod states;
mod supervisor;
mod write_breaker;

pub use acks::{Acked, Acks};
pub use config::Config;
pub use execute::{Committed, Executor};
pub use execute_many::{CommittedMany, CommittedOne};
pub use grpc::{CommandOf, Commands, ReadFields, ReplyStream};
// The macro names it.
pub use headwater_kernel::AggregateType;
pub use run::{run, run_program};
