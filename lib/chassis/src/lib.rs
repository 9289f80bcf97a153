//! Frame of every Headwater process: configuration, telemetry, the gRPC server stack, health,
//! shutdown.
//!
//! Knows nothing of logs, views or routes; a program is a pipeline of its own inside this frame.

mod memory;

pub mod config;
pub mod connection;

pub mod backoff;
pub mod breaker;
pub mod in_flight;
pub mod load;
pub mod shutdown;

pub mod metrics;
pub mod readiness;
pub mod telemetry;
pub mod trace;

pub mod admin;
pub mod server;

pub use backoff::{Backoff, Delays};
pub use breaker::Breaker;
pub use config::{Common, ConfigErrors, Invocation, LogFormat, Secret, Settings};
pub use load::Load;
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use server::{Limits, PAYLOAD_BYTES_MAX, Server, announce, bind, serve};
pub use shutdown::Shutdown;
pub use telemetry::Telemetry;
