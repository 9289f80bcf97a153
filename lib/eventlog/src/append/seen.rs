//! How much of a partition an appender has seen. Pure.

use headwater_kernel::Position;

/// Events that are read at once. Of a gap that is larger nothing is read: whoever fills a partition
/// at that pace is not about the same streams.
pub(super) const EVENTS_MAX: u64 = 1_024;

/// How much of the partition an appender has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// All before and at this position has been appended, read or passed over.
    pub until: Position,
    /// A later piece that it appended itself; none if both are the same.
    pub own: (Position, Position),
}

impl Seen {
    /// All up to this position.
    pub fn until(last: Position) -> Self {
        Self { until: last, own: (last, last) }
    }

    /// Takes in a batch of its own: the position before it, and its last one.
    pub fn appended(self, before: Position, last: Position) -> Self {
        let Self { until, own } = self;
        let has_gap = own.1 > own.0;
        if !has_gap && before > until && before.0 - until.0 <= EVENTS_MAX {
            return Self { until, own: (before, last) };
        }
        if has_gap && before == own.1 {
            return Self { until, own: (own.0, last) };
        }
        Self { until: last, own: (last, last) }
    }

    /// Takes in what was read up to this position.
    pub fn read(self, last: Position) -> Self {
        let until = last.max(self.own.1);
        Self { until, own: (until, until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(until: u64, own: (u64, u64)) -> Seen {
        Seen { until: Position(until), own: (Position(own.0), Position(own.1)) }
    }

    #[test]
    fn what_others_append_is_a_gap_until_it_is_read_or_passed_over() {
        let far = EVENTS_MAX + 11;
        let table = [
            // Seen before, position before a batch and its last, seen then.
            (seen(10, (10, 10)), (10, 12), seen(12, (12, 12))),
            (seen(10, (10, 10)), (14, 16), seen(10, (14, 16))),
            (seen(10, (14, 16)), (16, 19), seen(10, (14, 19))),
            (seen(10, (14, 16)), (18, 19), seen(19, (19, 19))),
            (seen(10, (10, 10)), (far, far + 1), seen(far + 1, (far + 1, far + 1))),
            (seen(10, (10, 10)), (far - 1, far), seen(10, (far - 1, far))),
            // Refused as a whole.
            (seen(10, (10, 10)), (10, 10), seen(10, (10, 10))),
            (seen(10, (10, 10)), (12, 12), seen(10, (12, 12))),
            (seen(10, (12, 12)), (12, 15), seen(10, (12, 15))),
        ];
        for (before, (first, last), expected) in table {
            let after = before.appended(Position(first), Position(last));
            assert_eq!(after, expected, "{before:?} {first} {last}");
        }
        assert_eq!(seen(10, (14, 16)).read(Position(13)), seen(16, (16, 16)));
        assert_eq!(seen(10, (14, 16)).read(Position(20)), seen(20, (20, 20)));
    }
}
