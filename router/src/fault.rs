//! Faults of upstream connections: what became of the request, and whose fault it was.

use std::error::Error;
use std::io;

use h2::Reason;
use headwater_edge::{ErrorReason, Failure};

use crate::retry::Fate;
use crate::routes::Route;

/// A failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Fate of the request.
    pub fate: Fate,
    /// Kind of the fault.
    pub kind: FaultKind,
    /// The same in words, for the client: they name no address and quote no driver.
    pub cause: &'static str,
}

/// Kinds of failed attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is no connection, or it broke.
    Connection,
    /// The endpoint does not take the request now.
    Refused,
    /// The endpoint asks for less.
    Overloaded,
    /// The endpoint gave the request up.
    Reset,
}

impl Fault {
    /// The request never left, for this cause.
    pub fn unsent(cause: &'static str) -> Fault {
        Fault { fate: Fate::Unsent, kind: FaultKind::Connection, cause }
    }

    /// Of an error that an attempt ended with, or that broke off an answer.
    pub fn of(error: &(dyn Error + 'static)) -> Fault {
        match find::<h2::Error>(error) {
            Some(error) => of_h2(error),
            None => broken("the connection broke"),
        }
    }

    /// True if the fault speaks against the endpoint as long as it lasts, and not only against a
    /// connection, which is gone with it.
    pub fn penalised(&self) -> bool {
        self.kind == FaultKind::Reset
    }

    /// True if the fault counts as a failure for the endpoint's circuit breaker.
    pub fn counts(&self) -> bool {
        match self.kind {
            FaultKind::Connection | FaultKind::Reset => self.fate == Fate::Unknown,
            // It works, it only has no room.
            FaultKind::Refused | FaultKind::Overloaded => false,
        }
    }

    /// Label in metrics.
    pub fn label(&self) -> &'static str {
        match self.kind {
            FaultKind::Connection if self.fate == Fate::Unsent => "unsent",
            FaultKind::Connection => "broken",
            FaultKind::Refused => "refused",
            FaultKind::Overloaded => "overloaded",
            FaultKind::Reset => "reset",
        }
    }

    /// Failure that the client is told. `has_key` is true if the request is known to have an
    /// idempotency key, so that it may be sent again whatever became of it.
    pub fn failure(&self, route: Route, has_key: bool) -> Failure {
        let (service, cause) = (route.upstream, self.cause);
        let failure = match (self.kind, self.fate) {
            (_, Fate::Unknown) if !route.repeatable() => Failure::outcome_unknown(
                format!("the {service} service was lost while it worked on the request: {cause}"),
                has_key,
            ),
            (FaultKind::Connection | FaultKind::Refused, _) => Failure::new(
                ErrorReason::UpstreamUnavailable,
                format!("the {service} service was lost before it answered: {cause}"),
            ),
            (FaultKind::Overloaded, _) => Failure::new(
                ErrorReason::Overloaded,
                format!("the {service} service takes no more requests for now"),
            ),
            (FaultKind::Reset, _) => Failure::new(
                ErrorReason::Internal,
                format!("the {service} service gave up the request: {cause}"),
            ),
        };
        failure.with("upstream", service).with("cause", cause)
    }
}

fn of_h2(error: &h2::Error) -> Fault {
    if let Some(io) = error.get_io() {
        return broken(plain(io));
    }
    let Some(reason) = error.reason() else {
        return broken("the connection broke");
    };
    // h2 gives this error only to streams above the last one that the endpoint says it took up;
    // a GOAWAY with an error code also goes to streams that it had begun.
    if error.is_go_away() && error.is_remote() && reason == Reason::NO_ERROR {
        return Fault {
            fate: Fate::Unprocessed,
            kind: FaultKind::Refused,
            cause: "it is shutting down",
        };
    }
    if error.is_reset() && error.is_remote() {
        return of_reset(reason);
    }
    broken("the connection failed")
}

/// As "HTTP2 error codes to status codes" of the gRPC protocol, except that a cancelled request
/// is a lost one: we did not cancel it.
fn of_reset(reason: Reason) -> Fault {
    let unknown = |kind, cause| Fault { fate: Fate::Unknown, kind, cause };
    match reason {
        Reason::REFUSED_STREAM => Fault {
            fate: Fate::Unprocessed,
            kind: FaultKind::Refused,
            cause: "it refused the request",
        },
        Reason::ENHANCE_YOUR_CALM => unknown(FaultKind::Overloaded, "it asks for less"),
        Reason::CANCEL => unknown(FaultKind::Connection, "it dropped the request"),
        Reason::NO_ERROR => unknown(FaultKind::Connection, "it ended the request"),
        Reason::INTERNAL_ERROR => unknown(FaultKind::Reset, "internal error"),
        Reason::PROTOCOL_ERROR => unknown(FaultKind::Reset, "protocol error"),
        Reason::FLOW_CONTROL_ERROR => unknown(FaultKind::Reset, "flow control error"),
        _ => unknown(FaultKind::Reset, "HTTP/2 error"),
    }
}

fn broken(cause: &'static str) -> Fault {
    Fault { fate: Fate::Unknown, kind: FaultKind::Connection, cause }
}

/// An I/O error in words that may leave the house.
pub fn plain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "connection closed",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        _ => "connection failed",
    }
}

fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::routes::{MethodIndex, Upstream};

    #[test]
    fn resets_mean_what_the_protocol_says() {
        let cases = [
            (Reason::REFUSED_STREAM, Fate::Unprocessed, FaultKind::Refused),
            (Reason::ENHANCE_YOUR_CALM, Fate::Unknown, FaultKind::Overloaded),
            (Reason::CANCEL, Fate::Unknown, FaultKind::Connection),
            (Reason::NO_ERROR, Fate::Unknown, FaultKind::Connection),
            (Reason::INTERNAL_ERROR, Fate::Unknown, FaultKind::Reset),
            (Reason::PROTOCOL_ERROR, Fate::Unknown, FaultKind::Reset),
        ];
        for (reason, fate, kind) in cases {
            let fault = of_reset(reason);
            assert_eq!((fault.fate, fault.kind), (fate, kind), "{reason:?}");
        }
    }

    #[test]
    fn the_client_learns_whether_a_command_may_have_happened() {
        use FaultKind::{Connection, Overloaded, Refused, Reset};
        let cases = [
            (Upstream::Command, Fate::Unknown, Connection, "OUTCOME_UNKNOWN", Code::Unknown),
            (
                Upstream::Command,
                Fate::Unsent,
                Connection,
                "UPSTREAM_UNAVAILABLE",
                Code::Unavailable,
            ),
            (
                Upstream::Command,
                Fate::Unprocessed,
                Refused,
                "UPSTREAM_UNAVAILABLE",
                Code::Unavailable,
            ),
            (Upstream::Query, Fate::Unknown, Connection, "UPSTREAM_UNAVAILABLE", Code::Unavailable),
            (Upstream::Query, Fate::Unknown, Overloaded, "OVERLOADED", Code::ResourceExhausted),
            (Upstream::Command, Fate::Unknown, Overloaded, "OUTCOME_UNKNOWN", Code::Unknown),
            (Upstream::Command, Fate::Unsent, Overloaded, "OVERLOADED", Code::ResourceExhausted),
            (Upstream::Command, Fate::Unknown, Reset, "OUTCOME_UNKNOWN", Code::Unknown),
            (Upstream::Query, Fate::Unknown, Reset, "INTERNAL", Code::Internal),
        ];
        for (upstream, fate, kind, reason, code) in cases {
            let route = Route { method: MethodIndex(0), upstream, unary: true };
            let fault = Fault { fate, kind, cause: "c" };
            let failure = fault.failure(route, false);
            assert_eq!((failure.reason(), failure.code()), (reason, code), "{upstream} {kind:?}");
            // With a key it may be sent again, and has a code that is.
            let code = if code == Code::Unknown { Code::Unavailable } else { code };
            let failure = fault.failure(route, true);
            assert_eq!((failure.reason(), failure.code()), (reason, code), "{upstream} {kind:?}");
        }
    }

    #[test]
    fn an_error_is_looked_for_down_the_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] h2::Error);
        let inner = h2::Error::from(Reason::CANCEL);
        assert_eq!(Fault::of(&Outer(inner)).cause, "the connection failed");
        assert_eq!(Fault::of(&io::Error::other("x")).cause, "the connection broke");
    }
}
