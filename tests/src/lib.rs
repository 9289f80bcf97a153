//! What the tests stand on: a stack of real processes to test, and a second domain.

pub mod bench;
pub mod counter;
pub mod harness;
