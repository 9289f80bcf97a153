//! The read models: tables folded from the log. They stand in the projection `retail` in this
//! order, since a view may look only at those before it.

pub mod user;

pub mod item;
pub mod store;

pub mod store_overview;

use headwater_kernel::{About, ViewError};
use uuid::Uuid;

pub use item::ItemRow;
pub use store::StoreRow;
pub use store_overview::StoreOverviewRow;
pub use user::UserRow;

/// The id that an event names as text. Commands write nothing else than UUIDs; should an event hold
/// anything else, it names no row at all, and the fold parks it.
fn id(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_default()
}

/// The row an event changes, which must be there.
fn existing<R>(row: Option<R>, about: &About) -> Result<R, ViewError> {
    row.ok_or_else(|| {
        ViewError(format!("no row for {} at version {}", about.stream, about.version))
    })
}

/// The row an event makes, if there is none yet.
fn fresh<R>(row: Option<R>, about: &About, new: R) -> Result<R, ViewError> {
    match row {
        None => Ok(new),
        Some(_) => Err(ViewError(format!("{} has a row before its first event", about.stream))),
    }
}

/// The aggregate's version as a column. Versions count events of one stream and stay far below
/// 2^63.
fn version(about: &About) -> i64 {
    about.version.0 as i64
}

/// `total + change`, in range.
fn sum(total: i64, change: Option<i64>) -> Result<i64, ViewError> {
    change
        .and_then(|change| total.checked_add(change))
        .ok_or_else(|| ViewError("a total leaves the range of a bigint".to_owned()))
}
