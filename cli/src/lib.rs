//! The command-line tool, as a library: `headwater up` and the tests run the same stack.

pub mod account;
pub mod data;
pub mod health;
pub mod inspect;
pub mod logins;
pub mod plan;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod secrets;
pub mod watchman;
pub mod words;

pub mod databases;
pub mod migrate;
pub mod run_file;
pub mod stack;

pub mod up;
pub mod where_is_postgres;

pub mod call;
pub mod start_epoch;
pub mod status;
pub mod tail;
pub mod verify;
