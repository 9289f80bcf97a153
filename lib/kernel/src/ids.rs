//! Newtypes for everything that is counted or named.

use std::fmt;

use uuid::Uuid;

/// One of the log's partitions, numbered from 0. Their number is fixed when the log is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// Place of an event in its partition, from 1 and without gaps; 0 is the place before the first
/// event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Number of events in a stream, and so the version of its aggregate; 0 is a stream that does not
/// exist yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamVersion(pub u64);

/// Names a stream: the events of one aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub Uuid);

/// Key that decides the partition of a stream: by default its own id; streams that guard each other
/// share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey(pub Uuid);

/// Identity of a log, made once when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub Uuid);

/// A time in which a log lost nothing: a failover or a restore begins another one. Positions of
/// different epochs are compared by the log's [`Lineage`](crate::Lineage) only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// The most partitions a log can have.
pub const PARTITIONS_MAX: u16 = 64;

impl PartitionKey {
    /// The partition, of `partitions` (at least 1), in which streams with this key live: FNV-1a of
    /// the key's bytes, modulo their number. Stored data depends on it; it never changes.
    pub fn partition(self, partitions: u16) -> Partition {
        let hash = self.0.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The low bits of FNV are the weaker ones; fold the high half in.
        Partition(((hash ^ (hash >> 32)) % u64::from(partitions.max(1))) as u16)
    }
}

impl From<StreamId> for PartitionKey {
    fn from(id: StreamId) -> Self {
        Self(id.0)
    }
}

impl Position {
    /// The position `count` places further on.
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// Number of events after `earlier` up to here; 0 if `earlier` is further on.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl StreamVersion {
    /// The version after `count` more events.
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(Partition, Position, StreamVersion, StreamId, PartitionKey, LogId, Epoch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_a_key_never_changes() {
        // Frozen: stored streams live where these say.
        let key = PartitionKey(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc));
        let of = |n| key.partition(n).0;
        assert_eq!([of(1), of(2), of(4), of(64)], FROZEN);
    }
    const FROZEN: [u16; 4] = [0, 1, 3, 43];

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0u32; 4];
        for i in 0..40_000u128 {
            counts[usize::from(PartitionKey(Uuid::from_u128(i << 64 | i)).partition(4).0)] += 1;
        }
        assert!(counts.iter().all(|c| (9_000..11_000).contains(c)), "{counts:?}");
    }
}
