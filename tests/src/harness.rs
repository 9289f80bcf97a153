//! A whole stack of real processes and real Postgres nodes for tests: the same code that `headwater
//! up` runs, on free ports, with temporary data, and with handles to break every part of it.
//!
//! Needs the binaries of the same profile: `make test` builds them first.

mod cluster;
mod disks;
mod eventually;
mod failover;
mod last_release;
mod links;
mod logs;
mod options;
mod primaries;
mod standby;
mod template;
mod urls;

pub use cluster::{Cluster, Shared, binaries};
pub use disks::Disk;
pub use eventually::eventually;
pub use headwater_cli::local::Kind;
pub use last_release::restore;
pub use links::Line;
pub use options::Options;
pub use standby::Standby;
pub use template::temporary_folder;
