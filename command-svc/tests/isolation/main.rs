//! One command's failure never affects another: commands that fail in every way that a team's code
//! or its data can, among neighbours in the same batch.
#![allow(missing_docs, clippy::panic)]

mod data;
mod epochs;
mod loads;
mod many;
mod panics;
mod probe;
