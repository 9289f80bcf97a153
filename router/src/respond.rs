//! The answers that the router itself gives.

use std::time::Duration;

use headwater_edge::{ErrorReason, Failure};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use tonic::Status;

use crate::in_flight_request::InFlightRequest;
use crate::routes::Upstream;

/// A failure as a response of headers alone, which gRPC calls trailers-only.
pub fn failed<B: Default>(failure: Failure, mut in_flight: InFlightRequest) -> Response<B> {
    in_flight.close(failure.code());
    Status::from(failure).into_http()
}

/// A failure as the trailers of an answer that has begun.
pub fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Fails only for a text that cannot be a header; it is percent-encoded.
    let _ = Status::from(failure).add_header(&mut trailers);
    trailers
}

/// Answers a request that cannot be gRPC as the protocol asks: by an HTTP status.
pub fn not_grpc<A, B: Default>(request: &Request<A>) -> Option<Response<B>> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let status = match request.method() {
        &Method::POST => match content_type {
            Some(value) if value.as_bytes().starts_with(b"application/grpc") => return None,
            Some(_) | None => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        },
        _ => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_2;
    Some(response)
}

/// No upstream has this method.
pub fn unknown_method(path: &str) -> Failure {
    let method = path.trim_start_matches('/');
    Failure::new(ErrorReason::MethodUnknown, format!("there is no method {method}"))
        .with("method", method)
}

/// More requests are under way than the router takes.
pub fn overloaded() -> Failure {
    Failure::new(ErrorReason::Overloaded, "too many requests are under way").retry_after(soon())
}

/// The client's deadline, or the one it was given, has passed.
pub fn deadline_exceeded(upstream: Upstream, stated: bool) -> Failure {
    let text = match stated {
        true => format!("the deadline passed before the {upstream} service had answered"),
        false => format!(
            "the {upstream} service had not answered by the deadline of calls that state none"
        ),
    };
    Failure::new(ErrorReason::DeadlineExceeded, text).with("upstream", upstream)
}

/// The drain's patience has ended.
pub fn shutting_down() -> Failure {
    Failure::new(ErrorReason::ShuttingDown, "the router is shutting down; call again")
        .retry_after(Duration::ZERO)
}

/// Delay before coming back after a refusal for load. Spread, so that all who are refused together
/// do not come back together.
pub fn soon() -> Duration {
    Duration::from_millis(rand::random_range(50..250))
}

/// Delay before another call to an unreachable upstream: connections are tried again within a
/// second.
pub fn later() -> Duration {
    Duration::from_millis(rand::random_range(500..1_500))
}
