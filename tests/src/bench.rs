//! Measures: load that real clients make, and what it costs every process.

pub mod cpu;
pub mod load;
pub mod pgbench;
pub mod report;
pub mod retail;
