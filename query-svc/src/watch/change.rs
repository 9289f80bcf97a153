//! What changed, and whom it concerns. Pure.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use headwater_kernel::{Epoch, Token};
use uuid::Uuid;

use crate::nodes::{ColumnError, Columns};
use crate::seen::{Checkpoint, NodeState};

/// What the columns of `View::WATCHED_BY` hold, as texts; `None` is NULL.
pub type Watched = Vec<Option<String>>;

/// Which of those columns a filter looks at.
pub type Shape = Vec<bool>;

/// What somebody watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The row with this key.
    Key(Uuid),
    /// The rows whose watched columns hold these values; `None` is any value.
    Rows(Vec<Option<String>>),
}

impl Selector {
    /// The columns that its filter looks at; none for a single row.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Self::Key(_) => None,
            Self::Rows(filter) => Some(filter.iter().map(Option::is_some).collect()),
        }
    }

    /// The filter of this shape that a row with these values passes; none if it looks at a NULL.
    fn passed(watched: &Watched, shape: &Shape) -> Option<Self> {
        let column = |(value, looked_at): (&Option<String>, &bool)| match (looked_at, value) {
            (false, _) => Some(None),
            (true, Some(value)) => Some(Some(value.clone())),
            (true, None) => None,
        };
        watched.iter().zip(shape).map(column).collect::<Option<_>>().map(Self::Rows)
    }
}

/// Order of the states of a projection, and of its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Events that had been applied, over all partitions.
    pub applied: i64,
    /// Revision of the rows, raised when they change without an event.
    pub revision: i64,
}

/// A row that changed, at its last change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<R> {
    /// The row's key.
    pub key: Uuid,
    /// The commit or revision of that change.
    pub at: Point,
    /// All that the watched columns held before, as far as they changed; `None` if there was no
    /// row.
    pub former: Vec<Option<Watched>>,
    /// The row after its last change; `None` if it was deleted.
    pub now: Option<(Watched, Arc<R>)>,
}

impl<R> Change<R> {
    /// Whom it concerns: those who watch the row, and those with filters of these shapes that it
    /// passes, or passed before. With each, whether the row passes now.
    pub fn concerns<'s>(
        &self,
        shapes: impl Iterator<Item = &'s Shape> + Clone,
    ) -> HashMap<Selector, bool> {
        let mut concerned = HashMap::from([(Selector::Key(self.key), self.now.is_some())]);
        for watched in self.former.iter().flatten() {
            let passed = shapes.clone().filter_map(|shape| Selector::passed(watched, shape));
            concerned.extend(passed.map(|selector| (selector, false)));
        }
        if let Some((watched, _)) = &self.now {
            let passes = shapes.filter_map(|shape| Selector::passed(watched, shape));
            concerned.extend(passes.map(|selector| (selector, true)));
        }
        concerned
    }

    /// What it is to whoever watches this; `None` if nothing.
    pub fn seen_by(&self, selector: &Selector) -> Option<Seen<R>> {
        let shape = selector.shape();
        self.concerns(shape.iter()).get(selector).map(|there| self.seen(*there))
    }

    /// The change as it is told.
    pub fn seen(&self, there: bool) -> Seen<R> {
        let row = self.now.as_ref().filter(|_| there).map(|(_, row)| Arc::clone(row));
        Seen { key: self.key, at: self.at, row }
    }
}

/// A change as a watcher sees it.
#[derive(Debug, PartialEq)]
pub struct Seen<R> {
    /// The row's key.
    pub key: Uuid,
    /// The commit or revision of the change.
    pub at: Point,
    /// The row; `None` if it is not there any more, or passes the filter no more.
    pub row: Option<Arc<R>>,
}

impl<R> Clone for Seen<R> {
    fn clone(&self) -> Self {
        Self { key: self.key, at: self.at, row: self.row.clone() }
    }
}

/// A state of the view, and the proof of it.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Place in the order of states.
    pub point: Point,
    /// Place where it was seen.
    pub node_state: NodeState,
}

/// Age of a state, compared with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Something has been applied or revised since, or the epoch is an earlier one.
    Older,
    /// The same rows.
    Same,
    /// It shows all that the other one shows, and more.
    Newer,
    /// Of a later epoch, or of views that were made anew: places in the changes of the one say
    /// nothing of the other.
    OtherHistory,
}

impl Mark {
    /// The state that a statement showed.
    pub fn of(node_state: &NodeState) -> Self {
        let Checkpoint { freshness, revision, .. } = &*node_state.checkpoint;
        let applied = freshness.positions.iter().map(|position| position.0 as i64).sum();
        let point = Point { applied, revision: *revision };
        Self { point, node_state: node_state.clone() }
    }

    /// Proof of it.
    pub fn token(&self) -> Token {
        let Checkpoint { log, epoch, freshness, .. } = &*self.node_state.checkpoint;
        Token::of_positions(*log, *epoch, &freshness.positions)
    }

    /// The log's epoch.
    pub fn epoch(&self) -> Epoch {
        self.node_state.checkpoint.epoch
    }

    /// Age, compared with another state.
    pub fn age(&self, other: &Self) -> Age {
        let log = |mark: &Self| mark.node_state.checkpoint.log;
        let (point, than) = (self.point, other.point);
        // A revision is never taken back.
        let made_anew = point.applied > than.applied && point.revision < than.revision;
        match self.epoch().cmp(&other.epoch()) {
            _ if log(self) != log(other) => Age::OtherHistory,
            Ordering::Less => Age::Older,
            Ordering::Equal if !made_anew => match point.cmp(&than) {
                Ordering::Less => Age::Older,
                Ordering::Equal => Age::Same,
                Ordering::Greater => Age::Newer,
            },
            Ordering::Equal | Ordering::Greater => Age::OtherHistory,
        }
    }

    /// True if more had been applied, or the rows were revised since, or the same holds later.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let age = |mark: &Self| (mark.point, mark.node_state.checkpoint.freshness.as_of);
        age(self) > age(other)
    }
}

/// A row of a statement on changes.
#[derive(Debug)]
pub struct FoundChange<R> {
    /// True if all changes after the place that was asked from are kept.
    pub kept: bool,
    /// A change, if there is any.
    pub change: Option<Change<R>>,
}

/// Reads the columns of a statement on changes, and with `row` those of the view's row.
///
/// # Errors
/// They are not what they should be.
pub fn found_change<R>(
    columns: &mut Columns<'_>,
    row: fn(&mut Columns<'_>) -> Result<(Uuid, R), ColumnError>,
) -> Result<FoundChange<R>, ColumnError> {
    let kept = columns.take()?;
    if columns.is_null()? {
        return Ok(FoundChange { kept, change: None });
    }
    let key = columns.take()?;
    let at = Point { applied: columns.take()?, revision: columns.take()? };
    let former: Option<Vec<&str>> = columns.take()?;
    let former = former.unwrap_or_default().into_iter().map(read_former);
    let former = former.collect::<Result<_, _>>()?;
    let watched: Watched = columns.take()?;
    let now = if columns.is_null()? { None } else { Some((watched, Arc::new(row(columns)?.1))) };
    Ok(FoundChange { kept, change: Some(Change { key, at, former, now }) })
}

fn read_former(text: &str) -> Result<Option<Watched>, ColumnError> {
    serde_json::from_str(text).map_err(|_| ColumnError::Value(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(values: &[&str]) -> Watched {
        values.iter().map(|value| (*value != "-").then(|| (*value).to_owned())).collect()
    }

    fn change(former: &[Option<&[&str]>], now: Option<&[&str]>) -> Change<u8> {
        Change {
            key: Uuid::nil(),
            at: Point::default(),
            former: former.iter().map(|state| state.map(watched)).collect(),
            now: now.map(|now| (watched(now), Arc::new(7))),
        }
    }

    #[test]
    fn whoever_saw_the_row_or_sees_it_now_is_told() {
        let key = || Selector::Key(Uuid::nil());
        // "-" is any value in a filter, and NULL in a row.
        let rows = |filter: &[&str]| Selector::Rows(watched(filter));
        let (lyon, paris) = (&["Lyon", "open"][..], &["Paris", "open"][..]);
        let opened = change(&[None], Some(lyon));
        let renamed = change(&[], Some(lyon));
        let moved = change(&[Some(lyon)], Some(paris));
        let there_and_back = change(&[Some(lyon), Some(paris)], Some(lyon));
        let deleted = change(&[Some(lyon)], None);
        let nowhere = change(&[Some(lyon)], Some(&["-", "open"]));
        type Case<'a> = (&'a Change<u8>, Selector, Option<bool>);
        let table: [Case<'_>; 19] = [
            (&opened, key(), Some(true)),
            (&opened, rows(&["Lyon", "-"]), Some(true)),
            (&opened, rows(&["Paris", "-"]), None),
            (&opened, rows(&["-", "-"]), Some(true)),
            (&renamed, rows(&["Lyon", "open"]), Some(true)),
            (&renamed, rows(&["Lyon", "closed"]), None),
            (&moved, key(), Some(true)),
            (&moved, rows(&["Lyon", "-"]), Some(false)),
            (&moved, rows(&["Paris", "-"]), Some(true)),
            (&moved, rows(&["-", "open"]), Some(true)),
            (&there_and_back, rows(&["Lyon", "-"]), Some(true)),
            (&there_and_back, rows(&["Paris", "-"]), Some(false)),
            (&deleted, key(), Some(false)),
            (&deleted, rows(&["Lyon", "-"]), Some(false)),
            (&deleted, rows(&["-", "-"]), Some(false)),
            (&deleted, rows(&["Paris", "-"]), None),
            (&nowhere, rows(&["Lyon", "-"]), Some(false)),
            (&nowhere, rows(&["-", "open"]), Some(true)),
            (&nowhere, Selector::Key(Uuid::max()), None),
        ];
        for (change, selector, expected) in table {
            let seen = change.seen_by(&selector).map(|seen| seen.row.is_some());
            assert_eq!(seen, expected, "{change:?} {selector:?}");
        }
    }
}
