//! Measures: load that real clients make, and what it costs every process.

pub mod fill;
pub mod load;
pub mod machine;
pub mod peers;
pub mod report;
pub mod retail;
