//! One call under way: what is counted, and recorded when it ends, however it ends.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Code;
use tracing::Span;

use super::methods::{Method, Methods};

/// A call. Dropping it is its end: a reply sent, a handler cancelled, a connection lost.
pub(super) struct Call {
    methods: Arc<Methods>,
    method: usize,
    started: Instant,
    /// Its status, once known. A call that is dropped before has been cancelled.
    code: Option<Code>,
    /// Counted in the limit.
    admitted: bool,
    pub span: Span,
}

impl Call {
    pub(super) fn begin(methods: &Arc<Methods>, path: &str) -> Self {
        Self {
            methods: methods.clone(),
            method: methods.find(path),
            started: Instant::now(),
            code: None,
            admitted: false,
            span: Span::none(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        self.methods.get(self.method)
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Takes one of the places for calls, if one is free.
    pub(super) fn admit(&mut self, calls_max: u32) -> bool {
        // The gauge is the counter: one atomic operation serves metric and limit.
        let before = self.methods.in_flight.inc();
        self.admitted = before < i64::from(calls_max);
        if !self.admitted {
            self.methods.in_flight.dec();
        }
        self.admitted
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
        let seconds = self.started.elapsed().as_secs_f64();
        self.method().ended(self.code.unwrap_or(Code::Cancelled), seconds);
        if self.admitted {
            self.methods.in_flight.dec();
        }
    }
}
