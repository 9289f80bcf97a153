//! Rows that are folded anew while all others stay as they are. Pure: the log comes in as batches,
//! and the rows go out as what differs from the stored ones.

use std::collections::{HashMap, HashSet};

use headwater_kernel::row::Value;
use headwater_kernel::{Partition, Position, RecordedEvent, StreamId, ViewError};

use super::gate::{Gate, ViewRef};
use super::loaded::Loaded;
use super::parked::{Blocked, NO_VIEW, Parked};

/// Rows to fold anew, and what is known about the log meanwhile.
#[derive(Debug)]
pub struct Refold {
    /// By view, in the projection's order.
    targets: Vec<HashMap<Value, Target>>,
    /// Streams whose events are not applied, from these positions on.
    held: HashMap<StreamId, Position>,
    /// The streams that are tried again. One that fails again is parked.
    retried: HashSet<StreamId>,
    parked_streams: Vec<Parked>,
    /// What waits, beside the rows to fold.
    blocked: Blocked,
    dropped: HashSet<Dropped>,
    bound: Option<Bound>,
    /// The last event of every partition that has gone by.
    positions: Vec<Position>,
}

/// An event that is left out for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// The view, or [`NO_VIEW`]: then the event is applied to no row.
    pub view: String,
    /// The row's key; under [`NO_VIEW`] the event's stream.
    pub row_key: String,
    /// The event's partition.
    pub partition: Partition,
    /// The event's position.
    pub position: Position,
}

/// A row to fold anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The last event of every partition that its state has seen.
    pub folded: Vec<Position>,
    /// The state.
    pub row: Option<Vec<Value>>,
    /// Events that were folded into it.
    pub applied: u64,
    /// The event that cannot be folded into it, if there is one.
    pub failed: Option<Parked>,
}

/// The most events to fold into a row, since the database refuses what more of them come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Number of events.
    pub events: u64,
    /// Reason to park the next one.
    pub error: String,
}

/// What is known about events that are not to be applied.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    /// Streams whose events are not applied, from these positions on.
    pub held: HashMap<StreamId, Position>,
    /// Streams that were held, and are tried again.
    pub retried: HashSet<StreamId>,
    /// Rows that wait.
    pub blocked: Blocked,
    /// Events that are left out for good.
    pub dropped: HashSet<Dropped>,
}

impl Refold {
    /// Begins at these positions, one a partition from 0: none of the targets has seen less.
    pub fn new(
        views: usize,
        positions: Vec<Position>,
        targets: impl IntoIterator<Item = (usize, Value, Target)>,
        exceptions: Exceptions,
    ) -> Self {
        let Exceptions { held, retried, blocked, dropped } = exceptions;
        let mut all: Vec<HashMap<Value, Target>> = vec![HashMap::new(); views];
        for (view, key, target) in targets {
            all[view].insert(key, target);
        }
        Self {
            targets: all,
            held,
            retried,
            parked_streams: Vec::new(),
            blocked,
            dropped,
            bound: None,
            positions,
        }
    }

    /// Folds no more than so many events into each row.
    pub fn bind(&mut self, bound: Option<Bound>) {
        self.bound = bound;
    }

    /// The last event of every partition that has gone by.
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The rows, by view.
    pub fn targets(&self) -> &[HashMap<Value, Target>] {
        &self.targets
    }

    /// The most events that were folded into one row.
    pub fn applied(&self) -> u64 {
        let rows = self.targets.iter().flat_map(HashMap::values);
        rows.map(|target| target.applied).max().unwrap_or(0)
    }

    /// What cannot be applied: to rows, and streams as a whole.
    pub fn parked(&self) -> impl Iterator<Item = &Parked> {
        let rows = self.targets.iter().flat_map(HashMap::values);
        rows.filter_map(|target| target.failed.as_ref()).chain(&self.parked_streams)
    }

    /// Takes note of a row, or a stream, that has come to wait meanwhile behind an event of this
    /// stream.
    pub fn wait(&mut self, view: &str, row_key: &str, stream: StreamId, position: Position) {
        if view == NO_VIEW {
            self.held.insert(stream, position);
        } else {
            self.blocked.insert(view, row_key);
        }
    }

    /// Gives those of the rows that have been folded before the state that is stored.
    pub fn start_from(&mut self, stored: Loaded) {
        for (targets, rows) in self.targets.iter_mut().zip(stored) {
            for row in rows {
                let Some(target) = row.first().and_then(|key| targets.get_mut(key)) else {
                    continue;
                };
                // The others begin without a row.
                if target.folded.iter().any(|position| *position > Position(0)) {
                    target.row = Some(row);
                }
            }
        }
    }

    /// True if the row is folded anew.
    pub fn has(&self, view: usize, key: &Value) -> bool {
        self.targets[view].contains_key(key)
    }

    /// True if any row of the view is folded anew.
    pub(super) fn has_view(&self, view: usize) -> bool {
        !self.targets[view].is_empty()
    }

    /// The rows as they are, with the index of their view.
    pub(super) fn rows(&self) -> Vec<(Vec<Value>, usize)> {
        let of_view = |(view, targets): (usize, &HashMap<Value, Target>)| {
            let rows: Vec<_> = targets.values().filter_map(|t| t.row.clone()).collect();
            rows.into_iter().map(move |row| (row, view))
        };
        self.targets.iter().enumerate().flat_map(of_view).collect()
    }

    /// Takes the rows as a batch has left them.
    pub(super) fn take(&mut self, mut row: impl FnMut(usize, &Value) -> Option<Vec<Value>>) {
        for (view, targets) in self.targets.iter_mut().enumerate() {
            for (key, target) in targets {
                target.row = row(view, key);
            }
        }
    }

    fn is_dropped(&self, view: &str, row_key: &str, event: &RecordedEvent) -> bool {
        // Usually nothing is: then nothing is rendered.
        !self.dropped.is_empty()
            && self.dropped.contains(&Dropped {
                view: view.to_owned(),
                row_key: row_key.to_owned(),
                partition: event.partition,
                position: event.position,
            })
    }

    /// Before an event.
    fn before(&self, event: &RecordedEvent) -> Vec<Position> {
        let mut before = self.positions.clone();
        before[usize::from(event.partition.0)] = Position(event.position.0 - 1);
        before
    }
}

impl Gate for Refold {
    fn next(&mut self, event: &RecordedEvent) -> bool {
        self.positions[usize::from(event.partition.0)] = event.position;
        let is_held = self.held.get(&event.stream).is_some_and(|from| event.position >= *from);
        !is_held && !self.is_dropped(NO_VIEW, &event.stream.to_string(), event)
    }

    fn folds(&mut self, view: ViewRef, key: &Value, event: &RecordedEvent) -> bool {
        let Some(target) = self.targets[view.index].get(key) else { return false };
        let is_new = target.folded[usize::from(event.partition.0)] < event.position;
        let applied = target.applied;
        if !is_new || target.failed.is_some() || self.is_dropped(view.name, &key.to_string(), event)
        {
            return false;
        }
        if let Some(Bound { error, .. }) = self.bound.clone().filter(|b| applied >= b.events) {
            self.park(view, key, event, error);
            return false;
        }
        if let Some(target) = self.targets[view.index].get_mut(key) {
            target.applied += 1;
        }
        true
    }

    fn is_blocked(&self, view: ViewRef, key: &Value) -> bool {
        match self.targets[view.index].get(key) {
            Some(target) => target.failed.is_some(),
            None => self.blocked.has_row(view.name, key),
        }
    }

    fn park(&mut self, view: ViewRef, key: &Value, event: &RecordedEvent, error: String) {
        let mut folded = self.before(event);
        if let Some(target) = self.targets[view.index].get_mut(key) {
            let seen = folded.iter_mut().zip(&target.folded);
            seen.for_each(|(position, seen)| *position = (*position).max(*seen));
            let row_key = key.to_string();
            target.failed =
                Some(Parked { view: view.name, row_key, event: event.clone(), error, folded });
        }
    }

    fn park_stream(&mut self, event: &RecordedEvent, error: String) -> Result<(), ViewError> {
        if !self.retried.contains(&event.stream) {
            let RecordedEvent { partition, position, type_name, .. } = event;
            return Err(ViewError(format!(
                "event {position} of partition {partition} ({type_name}) was applied, but not by a \
                 program like this one: {error}"
            )));
        }
        self.held.insert(event.stream, event.position);
        let folded = self.before(event);
        let row_key = event.stream.to_string();
        self.parked_streams.push(Parked {
            view: NO_VIEW,
            row_key,
            event: event.clone(),
            error,
            folded,
        });
        Ok(())
    }
}
