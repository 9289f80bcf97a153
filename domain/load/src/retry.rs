//! Failures that are worth another try. Every command carries an idempotency key, so repeating
//! one is always safe.

use std::error::Error as _;
use std::time::Duration;

use headwater_proto::headwater::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The domain of the platform's own reasons.
const PLATFORM: &str = "headwater";
/// A server's wish for a longer pause than this is not followed.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Decision about a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, after this long at least if the server said so.
    Again(Option<Duration>),
    /// Done already: the effect that the command asks for is there.
    There,
    /// Hopeless: another try would end the same.
    GiveUp,
}

/// Judges a failure.
pub fn judge(status: &Status) -> Verdict {
    let details = status.get_error_details();
    let info = details.error_info();
    let is_ours = |reason: ErrorReason| {
        let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
        info.is_some_and(|info| info.domain == PLATFORM && info.reason == name)
    };
    let pause = details.retry_info().and_then(|info| info.retry_delay);
    let again = Verdict::Again(pause.map(|pause| pause.min(PAUSE_MAX)));
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => again,
        Code::Aborted if is_ours(ErrorReason::Contention) => again,
        // Every command of a load has a key, also where who answered could not see it.
        Code::Unknown if is_ours(ErrorReason::OutcomeUnknown) => again,
        Code::AlreadyExists if info.is_some_and(|info| is_loaded_before(&info.reason)) => {
            Verdict::There
        }
        // No server sent it: the connection broke, and the status only tells how.
        _ if status.source().is_some() => again,
        _ => Verdict::GiveUp,
    }
}

/// Ids follow from names, so the store or the item is the one that another file has made.
fn is_loaded_before(reason: &str) -> bool {
    ["STORE_EXISTS", "ITEM_EXISTS"].contains(&reason)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use headwater_edge::Failure;
    use tonic_types::ErrorDetails;

    use super::*;

    fn of_domain(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "stores", HashMap::new());
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let platform = |reason| Status::from(Failure::new(reason, "no"));
        let pause = |ms| Some(Duration::from_millis(ms));
        let told =
            |ms| Failure::new(ErrorReason::Overloaded, "no").retry_after(Duration::from_millis(ms));
        let broken = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        for (status, verdict) in [
            (platform(ErrorReason::UpstreamUnavailable), Verdict::Again(None)),
            (platform(ErrorReason::OutcomeUnknown), Verdict::Again(None)),
            (Failure::outcome_unknown("no", false).into(), Verdict::Again(None)),
            (platform(ErrorReason::DeadlineExceeded), Verdict::Again(None)),
            (platform(ErrorReason::Contention), Verdict::Again(None)),
            (told(250).into(), Verdict::Again(pause(250))),
            (told(86_400_000).into(), Verdict::Again(pause(30_000))),
            (broken, Verdict::Again(None)),
            (platform(ErrorReason::VersionConflict), Verdict::GiveUp),
            (platform(ErrorReason::IdempotencyKeyReused), Verdict::GiveUp),
            (platform(ErrorReason::InvalidRequest), Verdict::GiveUp),
            (platform(ErrorReason::Internal), Verdict::GiveUp),
            (of_domain(Code::AlreadyExists, "STORE_EXISTS"), Verdict::There),
            (of_domain(Code::AlreadyExists, "ITEM_EXISTS"), Verdict::There),
            (of_domain(Code::AlreadyExists, "SKU_TAKEN"), Verdict::GiveUp),
            (of_domain(Code::Aborted, "CONTENTION"), Verdict::GiveUp),
            (of_domain(Code::FailedPrecondition, "INSUFFICIENT_STOCK"), Verdict::GiveUp),
        ] {
            assert_eq!(judge(&status), verdict, "{status:?}");
        }
    }
}
