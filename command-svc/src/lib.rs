//! The write side: from a command to its receipt.
//!
//! One pipeline, read top to bottom in [`execute`]: load -> fold -> decide -> append -> receipt.
//! Everything else is a leaf of it.

pub mod call;
pub mod execute;
pub mod grpc;
pub mod run;

mod acks;
mod appender;
mod config;
mod decide;
mod gate;
mod housekeeping;
mod loader;
mod measure;
mod plan;
mod reply;
mod seen;
mod settle;
mod states;

pub use acks::{Acked, Acks, Wish};
pub use call::{Call, CallOptions, Envelope};
pub use config::Config;
pub use execute::{Committed, Executor};
pub use run::run;
