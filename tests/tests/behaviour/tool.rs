//! The tool `headwater`, as people use it.

mod cli;
mod load;
mod migrate;
mod parked;
mod up;
mod views;
