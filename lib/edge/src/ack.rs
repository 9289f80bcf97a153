//! Acknowledgement that a client may wait for: the one reading of `headwater.v1.Acknowledgement`,
//! for the command that carries it and for the query that waits. Pure.

use std::time::Duration;

use headwater_proto::headwater::v1::{AckLevel, Acknowledgement};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::deadline::time_to_wait;
use crate::failure::Failure;
use crate::validate::Violations;

/// The metadata that asks for a level.
const ACK: &str = "headwater-ack";

/// Unless the client says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// The least that may be asked for.
pub const ACK_WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Time to be told what was reached, where the client's deadline leaves more.
const TELL_MAX: Duration = Duration::from_secs(1);
/// More replicas than a pool can have nodes.
const REPLICAS_MAX: u32 = 64;

/// A wish that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedAck {
    /// Never unspecified.
    pub level: AckLevel,
    /// Number of replicas; 0 for every healthy one.
    pub replicas: u32,
    /// The longest wait: at most nine tenths of the time that the client leaves, since the rest is
    /// for the reply.
    pub wait: Duration,
}

/// Reads a wish; `None` after recording what is wrong with it. `field` is its name in the request,
/// `left` the time that the client leaves.
pub fn requested_ack(
    asked: &Acknowledgement,
    field: &str,
    left: Option<Duration>,
    violations: &mut Violations,
) -> Option<RequestedAck> {
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
        Some(wait) => {
            Duration::try_from(wait).ok().filter(|w| (ACK_WAIT_MIN..=WAIT_MAX).contains(w))
        }
    };
    violations.check(wait.is_some(), format!("{field}.wait_max"), "must be from 1 ms to 60 s");
    let wait = wait?;
    let wait = left.map_or(wait, |left| wait.min(time_to_wait(left)));
    few.then_some(RequestedAck { level: level?, replicas: asked.replicas, wait })
}

/// Acknowledgement that a client waits for before its command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRequest {
    /// Above `committed`.
    pub level: AckLevel,
    /// Number of replicas; 0 for every healthy one.
    pub replicas: u32,
    /// Time at which the wait is over.
    pub until: Instant,
    /// Time until which what was reached by then can still be told: in the middle of what is left
    /// of the client's time after that.
    pub told_by: Instant,
}

impl AckRequest {
    /// Reads the field, or else the metadata; `None` for `committed`. `left` is the time that the
    /// client leaves for the reply, of which a tenth is kept for the way back.
    ///
    /// # Errors
    /// A level, a number or a wait that there is not.
    pub fn read(
        metadata: &MetadataMap,
        field: Option<Acknowledgement>,
        left: Option<Duration>,
        now: Instant,
    ) -> Result<Option<Self>, Failure> {
        let asked = match (field, metadata.get(ACK)) {
            (Some(field), _) => field,
            (None, None) => return Ok(None),
            (None, Some(text)) => {
                let known = text.to_str().ok().and_then(from_text);
                known.ok_or_else(|| {
                    Failure::invalid(
                        ACK,
                        "must be committed, projected, replicated or replicated=1 to 64",
                    )
                })?
            }
        };
        let mut violations = Violations::new();
        let wanted = requested_ack(&asked, "options.acknowledgement", left, &mut violations);
        let RequestedAck { level, replicas, wait } = violations.finish(wanted)?;
        let rest = left.map_or(TELL_MAX, |left| left.saturating_sub(wait) / 2).min(TELL_MAX);
        let until = now + wait;
        let told_by = until + rest;
        Ok((level != AckLevel::Committed).then_some(Self { level, replicas, until, told_by }))
    }
}

fn from_text(text: &str) -> Option<Acknowledgement> {
    let (level, replicas) = match text {
        "committed" => (AckLevel::Committed, 0),
        "projected" => (AckLevel::Projected, 0),
        "replicated" => (AckLevel::Replicated, 0),
        _ => {
            let replicas = text.strip_prefix("replicated=")?.parse().ok().filter(|n| *n > 0)?;
            (AckLevel::Replicated, replicas)
        }
    };
    Some(Acknowledgement { level: level.into(), replicas, wait_max: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wishes() {
        let now = Instant::now();
        let read = |text: &str, field: Option<Acknowledgement>, left: Option<u64>| {
            let mut metadata = MetadataMap::new();
            if !text.is_empty() {
                metadata.insert(ACK, text.parse().expect("ascii"));
            }
            let wish = AckRequest::read(&metadata, field, left.map(Duration::from_millis), now);
            if let Ok(Some(wish)) = &wish {
                let rest = left.map_or(1_000, |left| left - (wish.until - now).as_millis() as u64);
                let expected = if left.is_some() { rest / 2 } else { rest };
                assert_eq!((wish.told_by - wish.until).as_millis(), u128::from(expected));
            }
            wish.map_err(|failure| failure.reason().to_owned())
                .map(|wish| wish.map(|w| (w.level, w.replicas, (w.until - now).as_millis())))
        };
        let field = |level: AckLevel, replicas, seconds: i64| {
            let wait_max = Some(prost_types::Duration { seconds, nanos: 0 });
            Some(Acknowledgement { level: level.into(), replicas, wait_max })
        };
        let invalid = Err("INVALID_REQUEST".to_owned());
        assert_eq!(read("", None, None), Ok(None));
        assert_eq!(read("committed", None, None), Ok(None));
        assert_eq!(read("projected", None, None), Ok(Some((AckLevel::Projected, 0, 5_000))));
        assert_eq!(read("replicated", None, Some(100)), Ok(Some((AckLevel::Replicated, 0, 90))));
        assert_eq!(read("replicated=2", None, None), Ok(Some((AckLevel::Replicated, 2, 5_000))));
        for wrong in ["all", "replicated=0", "replicated=x", "replicated=65", "Projected"] {
            assert_eq!(read(wrong, None, None), invalid, "{wrong}");
        }
        let asked = field(AckLevel::Replicated, 1, 60);
        assert_eq!(read("all", asked, None), Ok(Some((AckLevel::Replicated, 1, 60_000))));
        assert_eq!(read("projected", field(AckLevel::Committed, 0, 1), None), Ok(None));
        assert_eq!(read("", field(AckLevel::Projected, 0, 61), None), invalid);
        assert_eq!(read("", field(AckLevel::Projected, 65, 1), None), invalid);
        let unknown = Acknowledgement { level: 9, replicas: 0, wait_max: None };
        assert_eq!(read("", Some(unknown), None), invalid);
    }
}
