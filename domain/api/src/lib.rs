//! The sample domain on the wire and in tables: what a team replaces along with the model.
//!
//! [`commands`] takes requests to the aggregates, [`queries`] answers from the views, and
//! [`projections`] says which views there are. The programs in `bin/` are a few lines each: they
//! give these, and the contract's descriptor set, to the platform's libraries.

pub mod commands;
pub mod queries;

mod projections;

pub use headwater_domain_proto::FILE_DESCRIPTOR_SET;
pub use projections::{PROJECTION, projections};
