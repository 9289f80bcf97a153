//! Everything that a running stack does: one program, since linking is what takes the time. A part
//! of it: `cargo test -p headwater-tests --test behaviour tool::up`.
//!
//! Tests run in as many threads as there are cores, and that is how many clusters of their own are
//! at work at once; the shared ones (`Cluster::shared`) are there for all of them. Nothing here
//! changes what belongs to the whole process: its environment, its folder, its signals.

mod contract;
mod k8s;
mod operations;
mod scenarios;
mod stack;
mod tool;
