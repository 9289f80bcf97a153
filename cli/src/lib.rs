//! The command-line tool, as a library: `headwater up` and the tests run the same stack.

pub mod health;
pub mod local;
mod table;

pub mod migrate;
pub mod start_epoch;

pub mod postgres;
pub mod up;

pub mod call;
pub mod status;
pub mod tail;
pub mod verify;
