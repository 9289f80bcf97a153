//! One call under way: what is counted, and recorded when it ends, however it ends.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Code;
use tracing::Span;

use super::methods::{Method, Methods};
use crate::metrics::Gauge;

/// A call. Dropping it is its end: a reply sent, a handler cancelled, a connection lost.
pub(super) struct Call {
    methods: Arc<Methods>,
    method: usize,
    started: Instant,
    place: Place,
    /// Status, once known. A call that is dropped before has been cancelled.
    code: Option<Code>,
    span: Span,
}

/// Limit that a call counts in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    None,
    Call,
    Stream,
}

impl Call {
    pub(super) fn begin(methods: &Arc<Methods>, path: &str) -> Self {
        Self {
            methods: methods.clone(),
            method: methods.find(path),
            started: Instant::now(),
            place: Place::None,
            code: None,
            span: Span::none(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        self.methods.get(self.method)
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// Takes a place among the calls, if one is free.
    pub(super) fn enter(&mut self, calls_max: u32) -> bool {
        self.take(Place::Call, calls_max)
    }

    /// Changes over to a place among the streams, if one is free: a watcher that waits for
    /// something to happen must not take the place of calls that could be answered.
    pub(super) fn wait(&mut self, streams_max: u32) -> bool {
        self.place == Place::Stream || self.take(Place::Stream, streams_max)
    }

    fn take(&mut self, place: Place, places_max: u32) -> bool {
        self.leave();
        if let Some(taken) = self.gauge(place) {
            // The gauge is the counter: one atomic operation serves the metric and the limit.
            if taken.inc() >= i64::from(places_max) {
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
            Place::Call => Some(&self.methods.in_flight),
            Place::Stream => Some(&self.methods.streams),
        }
    }

    /// Learns the status from headers or trailers, if they carry one.
    pub(super) fn learn(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.span.record("rpc.grpc.status_code", code as i32);
        self.method().ended(code, self.started.elapsed().as_secs_f64());
        self.leave();
    }
}
