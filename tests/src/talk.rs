//! What every client of a cluster says, and what it makes of answers.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// A request that does not wait for ever.
pub fn within<M>(patience: Duration, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

/// The stable reason of an error; its code and text if it has none.
pub fn reason(status: &Status) -> String {
    match status.get_details_error_info() {
        Some(info) => info.reason,
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// Whether a fault explains it, so that a client that has an idempotency key, or only reads, should
/// try again.
pub fn passes(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted => {
            true
        }
        // It may have been applied: the code is that of a command without a key in its metadata.
        Code::Unknown if reason(status) == "OUTCOME_UNKNOWN" => true,
        // What the client's own library says of a time that ran out or a connection that broke, be
        // it in the middle of a reply. It has a cause; what came over the wire has none.
        Code::Cancelled | Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}
