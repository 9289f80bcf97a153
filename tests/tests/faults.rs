//! What is killed, paused and cut off under load, and what must hold afterwards: the seven
//! invariants of ARCHITECTURE.md, each checked on real processes against real Postgres nodes.
//!
//! Every test opens with the story that it reproduces. A stage is a cluster that several stories
//! share, one after the other: each undoes its damage. After each of them the whole log is read,
//! compared with what clients were told, and the views with the log.

#[path = "faults/talk.rs"]
mod talk;

#[path = "faults/audit.rs"]
mod audit;
#[path = "faults/ledger.rs"]
mod ledger;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/shop.rs"]
mod shop;
#[path = "faults/wires.rs"]
mod wires;
#[path = "faults/world.rs"]
mod world;

#[path = "faults/drain.rs"]
mod drain;
#[path = "faults/failover_read.rs"]
mod failover_read;
#[path = "faults/failover_write.rs"]
mod failover_write;
#[path = "faults/foreign_log.rs"]
mod foreign_log;
#[path = "faults/fork.rs"]
mod fork;
#[path = "faults/full_queue.rs"]
mod full_queue;
#[path = "faults/moving_name.rs"]
mod moving_name;
#[path = "faults/projection.rs"]
mod projection;
#[path = "faults/read_side.rs"]
mod read_side;
#[path = "faults/restore.rs"]
mod restore;
#[path = "faults/single_database.rs"]
mod single_database;
#[path = "faults/watch.rs"]
mod watch;
#[path = "faults/write_side.rs"]
mod write_side;
