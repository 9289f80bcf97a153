//! What a client may ask to wait for: the one reading of `headwater.v1.Acknowledgement`, for the
//! command that carries it and for the query that waits. Pure.

use std::time::Duration;

use headwater_proto::headwater::v1::{AckLevel, Acknowledgement};

use crate::validate::Violations;

/// Unless the client says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// The least that may be asked for.
pub const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// More replicas than a pool can have nodes.
const REPLICAS_MAX: u32 = 64;

/// A wish that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Never unspecified.
    pub level: AckLevel,
    /// How many replicas; 0 for every healthy one.
    pub replicas: u32,
    /// The longest wait: at most nine tenths of the time that the client leaves, since the rest is
    /// for the reply.
    pub wait: Duration,
}

/// Reads a wish; `None` after recording what is wrong with it. `field` is its name in the request,
/// `left` the time that the client leaves.
pub fn wanted(
    asked: &Acknowledgement,
    field: &str,
    left: Option<Duration>,
    violations: &mut Violations,
) -> Option<Wanted> {
    let level = match AckLevel::try_from(asked.level) {
        Ok(AckLevel::Unspecified) => Some(AckLevel::Committed),
        Ok(level) => Some(level),
        Err(_) => None,
    };
    let unknown = "is not a level that this version knows";
    violations.check(level.is_some(), format!("{field}.level"), unknown);
    let few = asked.replicas <= REPLICAS_MAX;
    violations.check(few, format!("{field}.replicas"), "must be at most 64");
    let wait = match asked.wait_max {
        None => Some(WAIT_DEFAULT),
        Some(wait) => Duration::try_from(wait).ok().filter(|w| (WAIT_MIN..=WAIT_MAX).contains(w)),
    };
    violations.check(wait.is_some(), format!("{field}.wait_max"), "must be from 1 ms to 60 s");
    let wait = wait?;
    let wait = left.map_or(wait, |left| wait.min(left.mul_f64(0.9)));
    few.then_some(Wanted { level: level?, replicas: asked.replicas, wait })
}
