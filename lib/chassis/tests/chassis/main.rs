//! The chassis, seen from the programs that are built on it.
#![allow(clippy::unwrap_used)]

mod admin;
mod config;
mod delays;
mod metrics;
mod server;
mod shutdown;
