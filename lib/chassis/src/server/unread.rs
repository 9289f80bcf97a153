//! Requests that cannot be read: tonic answers them in its own words, without a reason, and mostly
//! as if the server were at fault.

use headwater_edge::{ErrorReason, Failure};
use http::HeaderMap;
use tonic::{Code, Status};

const DETAILS: &str = "grpc-status-details-bin";
const ENCODING: &str = "grpc-encoding";
/// Words of tonic and its codec about a message that they cannot read.
const UNREADABLE: [&str; 4] = [
    "failed to decode Protobuf message",
    "protocol error: received message with",
    "Unexpected EOF decoding stream",
    "Missing request message",
];
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Failure to answer with in place of headers or trailers that say that the request cannot be
/// read.
pub(super) fn failure(headers: &HeaderMap) -> Option<Failure> {
    if headers.contains_key(DETAILS) {
        // One of ours.
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let text = match (status.code(), status.message()) {
        (Code::Internal, said) if UNREADABLE.iter().any(|known| said.starts_with(known)) => {
            match said.contains("UTF-8") {
                true => "a text in the request's message is not UTF-8",
                false => "the request's message cannot be decoded as the one that the method takes",
            }
        }
        (Code::OutOfRange, said) if said.starts_with(TOO_LARGE) => {
            "the request's message is larger than the method takes"
        }
        _ => return None,
    };
    Some(Failure::new(ErrorReason::InvalidRequest, text))
}

/// Failure of a request whose messages are compressed.
pub(super) fn compressed(headers: &HeaderMap) -> Option<Failure> {
    let encoding = headers.get(ENCODING)?;
    (encoding != "identity").then(|| {
        let text = "compressed requests are not taken; send them without compression";
        Failure::new(ErrorReason::EncodingUnsupported, text)
            .with("encoding", encoding.to_str().unwrap_or_default())
    })
}
