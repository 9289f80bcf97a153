//! A view's changes in pages. Pure.

use super::change::{Change, FoundChange, Point, Seen};

/// A place in the changes of a view, which are ordered by commit or revision, and then by key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The commit or revision.
    pub at: Point,
    /// The key, as text; empty before the first.
    pub key: String,
}

impl Place {
    /// Before everything.
    pub const BEGINNING: Self = Self { at: Point { applied: 0, revision: 0 }, key: String::new() };
    /// After everything that there can be.
    pub const END: Self = Self { at: Point { applied: i64::MAX, revision: 0 }, key: String::new() };

    /// True if a change comes after it.
    pub fn is_before<R>(&self, seen: &Seen<R>) -> bool {
        (self.at, self.key.as_str()) < (seen.at, seen.key.to_string().as_str())
    }

    /// After all changes of this commit or revision.
    pub fn after(at: Point) -> Self {
        let revision = at.revision.saturating_add(1);
        Self { at: Point { revision, ..at }, key: String::new() }
    }
}

/// Changes that follow on a place.
pub struct Page<R> {
    /// Ordered by commit or revision, and key.
    pub changes: Vec<Change<R>>,
    /// True if all changes after the place are kept: otherwise these are only some of them.
    pub kept: bool,
}

impl<R> Page<R> {
    /// Changes of a page at most.
    pub const ROWS_MAX: i32 = 500;

    /// Everything that was found.
    pub fn new(found: Vec<FoundChange<R>>) -> Self {
        let kept = found.iter().all(|found| found.kept);
        let changes = found.into_iter().filter_map(|found| found.change).collect();
        Self { changes, kept }
    }

    /// Place where to go on, if there may be more.
    pub fn next(&self) -> Option<Place> {
        let last = self.changes.last()?;
        let is_full = self.changes.len() >= Self::ROWS_MAX as usize;
        is_full.then(|| Place { at: last.at, key: last.key.to_string() })
    }
}
