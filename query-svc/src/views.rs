//! Views as a domain serves them: by key, in batches, in pages of lists, and watched. What is asked
//! of the database follows from the view's columns and lists; statements written by hand stand
//! beside these, for what a list cannot say (search, joins).
//!
//! ```text
//! View: columns, lists -> sql (pure) -> ViewReader: get, batch, list, watch
//! ```

mod filters;
mod reader;
mod served;
mod service;
mod sql;
mod value;

pub use filters::{Filters, Listing, Watched};
pub use reader::ViewReader;
pub use served::{ServedView, by_key, statements};
