//! The freshness a query asks for, and the freshness an answer has.

use std::time::Duration;

use time::OffsetDateTime;

use crate::ids::Position;
use crate::token::Token;

/// What a query requires of the state it is answered from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever the node holds that is chosen: the cheaper of two drawn at random.
    #[default]
    Any,
    /// Everything this token proves.
    AtLeast(Token),
    /// Everything recorded longer ago than this.
    MaxStaleness(Duration),
}

/// Kind of a read database node, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeRole {
    /// Takes writes.
    Primary,
    /// Follows the primary.
    Replica,
}

/// The state that rows were read from, read in the same statement as the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Applied position of every partition, in their order from 0.
    pub positions: Vec<Position>,
    /// The write database's time up to which everything recorded has been applied.
    pub as_of: OffsetDateTime,
}

impl Freshness {
    /// Age at `now`; zero if the clocks disagree the other way.
    pub fn staleness(&self, now: OffsetDateTime) -> Duration {
        (now - self.as_of).try_into().unwrap_or(Duration::ZERO)
    }

    /// Whether this state is as fresh as `required` at the time `now`.
    pub fn satisfies(&self, required: &Consistency, now: OffsetDateTime) -> bool {
        match required {
            Consistency::Any => true,
            Consistency::AtLeast(token) => token.is_covered_by(&self.positions),
            Consistency::MaxStaleness(limit) => self.staleness(now) <= *limit,
        }
    }
}
