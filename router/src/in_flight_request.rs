//! One request under way: its place among the bounded number of them, and what is recorded when
//! it ends, however it ends.

use std::sync::Arc;
use std::time::Instant;

use headwater_chassis::metrics::Gauge;
use headwater_chassis::trace;
use http::{HeaderMap, HeaderName};
use tonic::Code;
use tracing::Span;

use crate::meters::{Entry, Meters};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A request. Dropping it is its end: an answer sent, a client gone, a connection lost.
pub struct InFlightRequest {
    meters: Arc<Meters>,
    entry: Entry,
    begun: Instant,
    /// Status, once known. A request that is dropped before was cancelled.
    code: Option<Code>,
    place: Place,
    span: Span,
}

/// Limit that a request counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    None,
    UnderWay,
    Waiting,
}

impl InFlightRequest {
    /// Begins.
    pub fn open(meters: &Arc<Meters>, entry: Entry) -> InFlightRequest {
        InFlightRequest {
            meters: meters.clone(),
            entry,
            begun: Instant::now(),
            code: None,
            place: Place::None,
            span: Span::none(),
        }
    }

    /// Takes a place among the requests under way, if one is free.
    pub fn admit(&mut self, in_flight_max: usize) -> bool {
        self.take(Place::UnderWay, in_flight_max)
    }

    /// Changes over to a place among the answers that wait for something to pass on, if one is
    /// free: a watcher must not take the place of a request that could be answered.
    pub fn wait(&mut self, waiting_max: usize) -> bool {
        self.place == Place::Waiting || self.take(Place::Waiting, waiting_max)
    }

    fn take(&mut self, place: Place, places_max: usize) -> bool {
        self.leave();
        if let Some(taken) = self.gauge(place) {
            // The gauge is the counter: one atomic operation serves the metric and the limit.
            if taken.inc() >= places_max as i64 {
                taken.dec();
                return false;
            }
        }
        self.place = place;
        true
    }

    fn leave(&mut self) {
        if let Some(taken) = self.gauge(self.place) {
            taken.dec();
        }
        self.place = Place::None;
    }

    fn gauge(&self, place: Place) -> Option<&Gauge> {
        match place {
            Place::None => None,
            Place::UnderWay => Some(&self.meters.in_flight),
            Place::Waiting => Some(&self.meters.waiting),
        }
    }

    /// Time at which it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Traces it from here to its end, as a part of the caller's trace.
    pub fn trace(&mut self, headers: &HeaderMap) -> Span {
        self.span = tracing::info_span!(
            "forward",
            otel.name = self.meters.name(self.entry),
            otel.kind = "server",
            rpc.grpc.status_code = tracing::field::Empty,
        );
        trace::set_parent_from_headers(&self.span, headers);
        self.span.clone()
    }

    /// Learns the status from headers or trailers, if they carry one.
    pub fn learn(&mut self, headers: &HeaderMap) -> Option<Code> {
        let code = headers.get(GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()));
        self.code = code.or(self.code);
        code
    }

    /// Closes the record with a status that the router itself answers with.
    pub fn close(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.span.record("rpc.grpc.status_code", code as i32);
        self.meters.ended(self.entry, code, self.begun.elapsed().as_secs_f64());
        self.leave();
    }
}
