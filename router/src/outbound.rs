//! A client's request as it is sent on: once, or again.

use std::time::{Duration, Instant};

use headwater_chassis::trace;
use headwater_edge::grpc_timeout;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use hyper::body::Incoming;

use crate::deadline::{self, GRPC_TIMEOUT};
use crate::link::SentBody;
use crate::replay_body::ReplayBody;
use crate::routes::Route;

/// Headers that are for the next hop only. HTTP/2 knows no others: `connection` and its kin make
/// a request malformed, and h2 resets it. The upstream has an `:authority` of its own.
const HOP_BY_HOP: [HeaderName; 3] =
    [header::HOST, header::PROXY_AUTHORIZATION, header::PROXY_AUTHENTICATE];

/// A request on its way.
pub struct Outbound {
    headers: HeaderMap,
    path: PathAndQuery,
    /// The body.
    pub body_replay: ReplayBody<Incoming>,
    /// The method.
    pub route: Route,
    /// Time by which it must be answered.
    pub deadline: Option<Instant>,
    /// True if the client has stated the deadline.
    pub stated: bool,
}

impl Outbound {
    /// Of a request that came at `begun`. A unary call without a deadline is given one.
    pub fn new(
        request: Request<Incoming>,
        route: Route,
        begun: Instant,
        otherwise: Duration,
    ) -> Outbound {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
        headers.entry(header::TE).or_insert(HeaderValue::from_static("trailers"));
        trace::inject(&mut headers);
        let stated = grpc_timeout(&headers);
        let given = (stated.is_none() && route.unary).then_some(otherwise);
        if let Some(timeout) = given {
            headers.insert(GRPC_TIMEOUT, deadline::value(timeout));
        }
        Outbound {
            headers,
            path: path_of(parts.uri),
            body_replay: ReplayBody::new(body),
            route,
            deadline: stated.or(given).and_then(|timeout| begun.checked_add(timeout)),
            stated: stated.is_some(),
        }
    }

    /// True if the headers name an idempotency key. One in the message is not seen: the body is not
    /// decoded.
    pub fn has_key(&self) -> bool {
        self.headers.contains_key("idempotency-key")
    }

    /// The request for one attempt. Only a repeated one states the time that is left: a first one
    /// goes out within microseconds.
    pub fn attempt(&self, authority: &Authority, repeated: bool) -> Request<SentBody> {
        let mut request = Request::new(self.body_replay.play());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri(authority);
        *request.headers_mut() = self.headers.clone();
        if let (true, Some(deadline)) = (repeated, self.deadline) {
            let left = deadline.saturating_duration_since(Instant::now());
            request.headers_mut().insert(GRPC_TIMEOUT, deadline::value(left));
        }
        request
    }

    fn uri(&self, authority: &Authority) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(self.path.clone());
        // With all three parts there it cannot fail.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

fn path_of(uri: Uri) -> PathAndQuery {
    let path = uri.into_parts().path_and_query;
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}
