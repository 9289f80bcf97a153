//! Units of a history: moments, and positions of a log.

use std::time::Duration;

use uuid::Uuid;

/// A moment, in microseconds since 1970, by the clock of the machine on which everything runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// A position of each partition, from partition 0 on; those that are left out are at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(pub Vec<u64>);

/// Identity of the log that positions are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogName {
    /// Id of the log.
    pub id: Uuid,
    /// Epoch of the log.
    pub epoch: u32,
}

impl Positions {
    /// The position of a partition.
    pub fn at(&self, partition: u16) -> u64 {
        self.0.get(usize::from(partition)).copied().unwrap_or_default()
    }

    /// Makes the partition's position at least this.
    pub fn raise(&mut self, partition: u16, position: u64) {
        let index = usize::from(partition);
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = self.0[index].max(position);
    }

    /// Makes every position at least the other one's.
    pub fn join(&mut self, other: &Self) {
        for (partition, position) in (0..).zip(&other.0) {
            self.raise(partition, *position);
        }
    }

    /// The first partition in which this is behind the other.
    pub fn behind(&self, other: &Self) -> Option<u16> {
        (0..).zip(&other.0).find(|(at, position)| self.at(*at) < **position).map(|(at, _)| at)
    }
}

impl Moment {
    /// The moment this long before.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_micros() as u64))
    }
}
