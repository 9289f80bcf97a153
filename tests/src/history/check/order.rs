//! Order of events in time: which part of the log was acknowledged at a moment, and which part of
//! it can have been there.

use std::collections::HashMap;

use super::super::log::Log;
use super::super::record::{Moment, Operation, Outcome, Positions, What};
use super::stored::Index;

/// The log against time.
pub struct Order {
    /// The last position of each partition, in the end.
    pub heads: Positions,
    /// Rising; from that moment on at least these positions had been acknowledged to somebody.
    acknowledged: Vec<(Moment, Positions)>,
    /// By partition and position: the first moment at which all events up to there can have been.
    possible: HashMap<(u16, u64), Moment>,
}

impl Order {
    /// Of a history.
    pub fn new(log: &Log, index: &Index<'_>, operations: &[Operation]) -> Self {
        let (mut told, mut begun) = (Vec::new(), Vec::new());
        for operation in operations {
            let What::Command(command) = &operation.what else { continue };
            let Some(event) = index.of(command).first() else { continue };
            begun.push((event.partition, event.position, operation.began));
            if matches!(command.outcome, Outcome::Acknowledged(_)) {
                told.push((operation.ended, event.partition, event.position));
            }
        }
        told.sort_unstable();
        let mut known = Positions::default();
        let acknowledged = told.into_iter().map(|(moment, partition, position)| {
            known.raise(partition, position);
            (moment, known.clone())
        });
        begun.sort_unstable();
        let mut latest: HashMap<u16, Moment> = HashMap::new();
        let possible = begun.into_iter().map(|(partition, position, began)| {
            let latest = latest.entry(partition).or_default();
            *latest = began.max(*latest);
            ((partition, position), *latest)
        });
        Self {
            heads: log.heads(),
            acknowledged: acknowledged.collect(),
            possible: possible.collect(),
        }
    }

    /// Positions that had been acknowledged, to whomever, before the moment.
    pub fn known(&self, at: Moment) -> Positions {
        let count = self.acknowledged.partition_point(|(moment, _)| *moment < at);
        self.acknowledged[..count].last().map(|(_, known)| known.clone()).unwrap_or_default()
    }

    /// True if everything up to the position can have been there at the moment: each of its
    /// commands had been sent.
    pub fn is_possible(&self, partition: u16, position: u64, at: Moment) -> bool {
        self.possible.get(&(partition, position)).is_none_or(|began| *began <= at)
    }
}
