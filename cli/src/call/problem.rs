//! A failed call, put so that a person can act on it.

use std::fmt::Write as _;

use tonic::Status;
use tonic_types::StatusExt as _;

/// The stable reason of a failure; empty if it has none.
pub(super) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Code, message and every detail, a line each.
pub(super) fn render(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut line = |what: String| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {what}");
    };
    if let Some(info) = details.error_info() {
        line(format!("reason: {} ({})", info.reason, info.domain));
        let mut metadata: Vec<_> = info.metadata.iter().collect();
        metadata.sort();
        metadata.into_iter().for_each(|(key, value)| line(format!("{key}: {value}")));
    }
    for violation in details.bad_request().into_iter().flat_map(|b| &b.field_violations) {
        line(format!("{}: {}", violation.field, violation.description));
    }
    for violation in details.precondition_failure().into_iter().flat_map(|p| &p.violations) {
        line(format!("{} ({})", violation.description, violation.subject));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        line(format!("worth trying again after {} ms", delay.as_millis()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headwater_edge::{ErrorReason, Failure};

    use super::*;

    #[test]
    fn every_detail_is_shown() {
        let failure = Failure::new(ErrorReason::Overloaded, "too many")
            .violation("name", "must not be empty")
            .with("best", 7)
            .retry_after(Duration::from_millis(100));
        let status = Status::from(failure);
        assert_eq!(reason(&status), "OVERLOADED");
        assert_eq!(
            render(&status),
            "ResourceExhausted: too many\n  reason: OVERLOADED (headwater)\n  best: 7\n  \
             name: must not be empty\n  worth trying again after 100 ms"
        );
        assert_eq!(render(&Status::not_found("gone")), "NotFound: gone");
    }
}
