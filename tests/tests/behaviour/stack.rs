//! The parts of a stack on real Postgres: the log, a second domain, traces through all programs,
//! and the harness itself.

mod harness;
mod last_release;
mod log;
mod traces;
