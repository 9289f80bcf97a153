//! A whole stack on this machine: Postgres nodes and programs as child processes, from the data
//! folder to supervision. `headwater up` and the tests run the same.
//!
//! Bottom up: `system` (processes, ports, accounts), `data`, `secrets` and `progress` (the folder
//! and the words to the user), `postgres` (one node), `plan` (what a stack consists of), `run_file`
//! (what runs now), `stack` (all processes of a plan), `supervise` (keeps them running).

#![warn(unreachable_pub)]

mod data;
mod plan;
mod postgres;
mod progress;
mod run_file;
mod secrets;
mod stack;
mod supervise;
mod system;

pub(crate) use data::{DataFolder, Layout, usual_root, write_private};
pub(crate) use plan::REPLICAS_MAX;
pub(crate) use supervise::{Signals, rotate_logs, stop, stop_nodes, stop_orphans, until_told};
pub(crate) use system::must_be_free;

pub use data::default_root;
pub use plan::{Kind, Plan, Program, Shape, Variable, logins};
pub use postgres::init::{copy_primary, mark_standby};
pub use postgres::leftovers::free_memory;
pub use postgres::users::{DATABASE, OWNER, SUPERUSER, Slot, make_slot, slot};
pub use postgres::{Host, Node, Role, Size, Tool, connect};
pub use progress::Progress;
pub use run_file::{RunFile, Running};
pub use secrets::Secrets;
pub use stack::Stack;
pub use system::{Account, PortBlock, Process, Watchman, inspect, is_root, keep_watch};
