//! What is killed, paused and cut off under load, and what must hold afterwards: the seven
//! invariants of ARCHITECTURE.md, each checked on real processes against real Postgres nodes.
//!
//! Every test opens with the story that it reproduces. A stage is a cluster that several stories
//! share, one after the other: each undoes its damage. After each of them the whole log is read,
//! compared with what clients were told, and the views with the log.

pub mod talk;

mod audit;
pub mod ledger;
mod load;
pub mod shop;
pub mod wires;
pub mod world;

mod drain;
mod failover_read;
mod failover_write;
mod foreign_log;
mod fork;
mod full_queue;
mod moving_name;
mod projection;
mod read_side;
mod restore;
mod single_database;
mod watch;
mod write_side;
