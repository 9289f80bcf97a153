//! What the tests stand on: a stack of real processes to test, a second domain, and the checker of
//! histories.

pub mod bench;
pub mod harness;
pub mod history;
pub mod talk;
