//! Answers of the server itself when a call does not get through to its handler, or not back from
//! it.

use std::time::Duration;

use headwater_edge::{ErrorReason, Failure};

pub(super) fn overloaded() -> Failure {
    // Spread, so that all who are refused now do not come back together.
    let delay = Duration::from_millis(rand::random_range(50..250));
    Failure::new(ErrorReason::Overloaded, "too many calls are under way; try again")
        .retry_after(delay)
}

pub(super) fn deadline_exceeded() -> Failure {
    Failure::new(ErrorReason::DeadlineExceeded, "the deadline passed first")
}

pub(super) fn shutting_down() -> Failure {
    Failure::new(ErrorReason::ShuttingDown, "the process is shutting down; call again")
}

/// The panic itself has been logged by the panic hook; this says whose it was.
pub(super) fn panicked(method: &str) -> Failure {
    let source = anyhow::anyhow!("the handler of {method} panicked");
    Failure::new(ErrorReason::Internal, "internal error").because(source)
}
