//! The history checker: from the record of what clients did and were told, and from the log as it
//! stands in the end, it proves that no promise was broken. Pure: it starts nothing, asks nobody
//! and has no clock, so a history can be written by hand.
//!
//! It knows the log's format and what rows mean, and shares nothing with the product's own folds:
//! what it says about a view is a second opinion.

pub mod terms;

pub mod log;
pub mod record;

mod model;
mod violation;

mod check;

pub use check::check;
pub use violation::{Kind, Violation};

#[cfg(test)]
mod tests;
