//! One call under way: what is counted, and recorded when it ends, however it ends.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use tracing::Span;

use super::methods::{Method, Methods};
use crate::in_flight::InFlight;

/// A call. Dropping it is its end: a reply sent, a handler cancelled, a connection lost.
pub(super) struct Call {
    methods: Arc<Methods>,
    method: usize,
    in_flight: InFlight,
}

impl Call {
    pub(super) fn begin(methods: &Arc<Methods>, path: &str) -> Self {
        let method = methods.find(path);
        Self { methods: methods.clone(), method, in_flight: InFlight::begin() }
    }

    pub(super) fn method(&self) -> &Method {
        self.methods.get(self.method)
    }

    pub(super) fn started(&self) -> Instant {
        self.in_flight.begun()
    }

    pub(super) fn span(&self) -> &Span {
        self.in_flight.span()
    }

    pub(super) fn set_span(&mut self, span: Span) {
        self.in_flight.set_span(span);
    }

    /// Takes a place among the calls, if one is free.
    pub(super) fn enter(&mut self, calls_max: u32) -> bool {
        self.in_flight.enter(&self.methods.places, calls_max as usize)
    }

    /// Changes over to a place among the streams, if one is free.
    pub(super) fn wait(&mut self, streams_max: u32) -> bool {
        self.in_flight.wait(&self.methods.places, streams_max as usize)
    }

    /// Learns the status from headers or trailers, if they carry one.
    pub(super) fn learn(&mut self, headers: &HeaderMap) {
        self.in_flight.learn(headers);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let method = self.methods.get(self.method);
        self.in_flight.end(&self.methods.places, |code, seconds| method.ended(code, seconds));
    }
}
