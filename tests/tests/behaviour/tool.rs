//! The tool `headwater`, as people use it.

mod cli;
mod load;
mod migrate;
mod parked;
mod rebuild;
mod up;
mod views;
