//! What a measurement takes of the machine: CPU of each process, the disk, memory, and Postgres'
//! own counters.

mod cpu;
mod disk;
mod memory;
mod meter;
mod storage;

pub use cpu::{Times, Watched, spent};
pub use disk::Disk;
pub use memory::resident;
pub use meter::{Cost, Meter};
pub use storage::Storage;
