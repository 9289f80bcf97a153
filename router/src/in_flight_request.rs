//! One request under way: its place among the bounded number of them, and what is recorded when
//! it ends, however it ends.

use std::sync::Arc;
use std::time::Instant;

use headwater_chassis::in_flight::InFlight;
use headwater_chassis::trace;
use http::HeaderMap;
use tonic::Code;
use tracing::Span;

use crate::meters::{Entry, Meters};

/// A request. Dropping it is its end: an answer sent, a client gone, a connection lost.
pub struct InFlightRequest {
    meters: Arc<Meters>,
    entry: Entry,
    in_flight: InFlight,
}

impl InFlightRequest {
    /// Begins.
    pub fn open(meters: &Arc<Meters>, entry: Entry) -> Self {
        Self { meters: meters.clone(), entry, in_flight: InFlight::begin() }
    }

    /// Takes a place among the requests under way, if one is free.
    pub fn admit(&mut self, in_flight_max: usize) -> bool {
        self.in_flight.enter(&self.meters.places, in_flight_max)
    }

    /// Changes over to a place among the answers that wait for something to pass on, if one is
    /// free.
    pub fn wait(&mut self, waiting_max: usize) -> bool {
        self.in_flight.wait(&self.meters.places, waiting_max)
    }

    /// Time at which it began.
    pub fn begun(&self) -> Instant {
        self.in_flight.begun()
    }

    /// Traces it from here to its end, as a part of the caller's trace.
    pub fn trace(&mut self, headers: &HeaderMap) -> Span {
        let span = tracing::info_span!(
            "forward",
            otel.name = self.meters.name(self.entry),
            otel.kind = "server",
            rpc.grpc.status_code = tracing::field::Empty,
        );
        trace::set_parent_from_headers(&span, headers);
        self.in_flight.set_span(span.clone());
        span
    }

    /// Learns the status from headers or trailers, if they carry one.
    pub fn learn(&mut self, headers: &HeaderMap) -> Option<Code> {
        self.in_flight.learn(headers)
    }

    /// Closes the record with a status that the router itself answers with.
    pub fn close(&mut self, code: Code) {
        self.in_flight.close(code);
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let entry = self.entry;
        let meters = &self.meters;
        self.in_flight.end(&meters.places, |code, seconds| meters.ended(entry, code, seconds));
    }
}
