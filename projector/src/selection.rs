//! Which rows a retry folds anew, and from where on.

use std::collections::{HashMap, HashSet};

use headwater_eventlog::EventLog;
use headwater_kernel::Position;
use headwater_kernel::row::Value;
use thiserror::Error;

use crate::parked::Waiting;
use crate::projection::checkpoint::Checkpoint;
use crate::projection::loaded::Need;
use crate::projection::piece::Piece;
use crate::projection::refold::{Dropped, Exceptions, Refold, Target};
use crate::projection::{Projection, key_of};
use crate::session::Session;
use crate::span::Span;
use crate::stop::Stop;

/// The most rows that are folded anew at once.
pub(super) const ROWS_MAX: usize = 100_000;
/// Rows and streams to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that wait.
    All,
    /// One of them, by view and key.
    One(String, String),
}

/// Reason why nothing was done.
#[derive(Debug, Error)]
pub enum RetryError {
    /// Nothing of that name waits.
    #[error("no such row waits: see `headwater parked list`")]
    NotParked,
    /// It would be too much.
    #[error("{0} rows would have to be folded anew, more than {ROWS_MAX}: rebuild the projection")]
    TooMany(usize),
    /// A key that the view cannot have.
    #[error("{1} is not a key of the view {0}")]
    Key(String, String),
    /// A database failed, or somebody else changed the rows all the time.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// Finds the rows to fold.
pub(super) struct Selection {
    pub projection: Projection,
}

impl Selection {
    /// The rows to fold: those that wait, from where they stopped; and those that events of waiting
    /// streams touch, which have gone on without them, from the beginning.
    pub async fn targets(
        &self,
        log: &EventLog,
        session: &mut Session,
        checkpoint: &Checkpoint,
        selected: &[Waiting],
    ) -> Result<HashMap<(usize, Value), Vec<Position>>, RetryError> {
        let partitions = checkpoint.heads.len();
        let beginning = vec![Position(0); partitions];
        let mut targets = HashMap::new();
        for row in selected.iter().filter(|waiting| !waiting.is_stream()) {
            let place = self.place(&row.view, &row.row_key)?;
            targets.insert(place, row.folded.clone().unwrap_or_else(|| beginning.clone()));
        }
        let needs = self.touched(log, checkpoint, selected).await?;
        let matching = session.load(&needs, ROWS_MAX).await?;
        for (view, (need, rows)) in needs.into_iter().zip(matching).enumerate() {
            let keys = rows.into_iter().filter_map(|row| row.into_iter().next());
            for key in need.keys.into_iter().chain(keys) {
                targets.insert((view, key), beginning.clone());
            }
        }
        match targets.len() {
            rows if rows > ROWS_MAX => Err(RetryError::TooMany(rows)),
            _ => Ok(targets),
        }
    }

    /// The view and the key of a row.
    ///
    /// # Errors
    /// There is no such view, or it cannot have such a key.
    pub fn place(&self, view: &str, row_key: &str) -> Result<(usize, Value), RetryError> {
        let found = self.projection.views().iter().position(|v| v.name == view);
        let key = found.and_then(|index| {
            let kind = self.projection.views()[index].columns[0].kind;
            Some((index, key_of(kind, row_key)?))
        });
        key.ok_or_else(|| RetryError::Key(view.to_owned(), row_key.to_owned()))
    }

    /// What the events of the selected streams name, up to the checkpoint.
    async fn touched(
        &self,
        log: &EventLog,
        checkpoint: &Checkpoint,
        selected: &[Waiting],
    ) -> Result<Vec<Need>, Stop> {
        let mut needs = vec![Need::default(); self.projection.views().len()];
        let streams: Vec<&Waiting> = selected.iter().filter(|w| w.is_stream()).collect();
        let mut from: Vec<Position> = checkpoint.heads.iter().map(|head| head.position).collect();
        for stream in &streams {
            let first = &mut from[usize::from(stream.partition.0)];
            *first = (*first).min(Position(stream.position.0 - 1));
        }
        let mut span = Span::open(log, &from, checkpoint).await?;
        while let Some(events) = span.next(log).await? {
            let plan = self.projection.plan(Piece::of(events));
            for stream in &streams {
                let touched = plan.touched(stream.stream, stream.position);
                needs.iter_mut().zip(touched).for_each(|(need, more)| need.merge(more));
            }
        }
        Ok(needs)
    }

    /// What is folded, and with which exceptions.
    pub fn refold(
        &self,
        checkpoint: &Checkpoint,
        waiting: &[Waiting],
        selected: &[Waiting],
        targets: HashMap<(usize, Value), Vec<Position>>,
        dropped: HashSet<Dropped>,
    ) -> Refold {
        let mut exceptions = Exceptions { dropped, ..Exceptions::default() };
        let mut from: Vec<Position> = checkpoint.heads.iter().map(|head| head.position).collect();
        let selected: HashSet<_> = selected.iter().map(Waiting::place).collect();
        for each in waiting {
            let is_selected = selected.contains(&each.place());
            if is_selected && each.is_stream() {
                exceptions.retried.insert(each.stream);
                let first = &mut from[usize::from(each.partition.0)];
                *first = (*first).min(Position(each.position.0 - 1));
            } else if each.is_stream() {
                exceptions.held.insert(each.stream, each.position);
            } else if !is_selected {
                exceptions.blocked.insert(&each.view, &each.row_key);
            }
        }
        for folded in targets.values() {
            from.iter_mut().zip(folded).for_each(|(first, seen)| *first = (*first).min(*seen));
        }
        let target = |((view, key), folded)| {
            (view, key, Target { folded, row: None, applied: 0, failed: None })
        };
        let views = self.projection.views().len();
        Refold::new(views, from, targets.into_iter().map(target), exceptions)
    }
}
