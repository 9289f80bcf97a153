//! A view's changes in pages. Pure.

use super::change::{Change, Seen};

/// A place in the changes of a view, which are ordered by commit and then by key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Events that had been applied with the commit.
    pub applied: i64,
    /// The key, as text; empty before the first.
    pub key: String,
}

impl Place {
    /// After everything that there can be.
    pub const END: Self = Self { applied: i64::MAX, key: String::new() };

    /// True if a change comes after it.
    pub fn is_before<R>(&self, seen: &Seen<R>) -> bool {
        (self.applied, self.key.as_str()) < (seen.applied, seen.key.to_string().as_str())
    }

    /// After all changes of this commit.
    pub fn after(applied: i64) -> Self {
        Self { applied: applied.saturating_add(1), key: String::new() }
    }
}

/// Changes that follow on a place.
pub struct Page<R> {
    /// Ordered by commit and key.
    pub changes: Vec<Change<R>>,
}

impl<R> Page<R> {
    /// Changes of a page at most.
    pub const ROWS_MAX: i32 = 500;

    /// Everything that was found.
    pub fn new(changes: Vec<Change<R>>) -> Self {
        Self { changes }
    }

    /// Place where to go on, if there may be more.
    pub fn next(&self) -> Option<Place> {
        let last = self.changes.last()?;
        let is_full = self.changes.len() >= Self::ROWS_MAX as usize;
        is_full.then(|| Place { applied: last.applied, key: last.key.to_string() })
    }
}
