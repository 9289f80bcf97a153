//! The router through real connections: real clients, real upstreams, everything in one process.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

mod copy;
mod echo;
mod raw;
mod rig;

mod calls;
mod endings;
mod limits;
mod upstreams;
