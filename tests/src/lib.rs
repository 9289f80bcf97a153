//! headwater-tests

pub mod counter;
