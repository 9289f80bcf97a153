//! The layers that every call goes through, written once, in order.
//!
//! They are plain functions around a future rather than `tower` layers: a layer with a future of
//! its own would cost an allocation per call, or a hand-written future, and the order would be
//! spread over their types.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use headwater_edge::{Failure, grpc_timeout};
use http::{HeaderMap, Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::service::Routes;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use super::body::{End, ReplyBody};
use super::call::Call;
use super::handler::Handler;
use super::limits::Limits;
use super::methods::{Method, Methods};
use super::refusals;
use super::request_body::RequestBody;
use super::unread;
use crate::in_flight::handled;
use crate::trace;

/// The layers around a service.
pub(super) struct Stack<S> {
    pub methods: Arc<Methods>,
    pub limits: Limits,
    /// True if spans are exported; without an exporter no span is made.
    pub traced: bool,
    /// Ends the streams that outlast a drain's patience.
    pub cut: Arc<CancellationToken>,
    /// Health and reflection.
    pub built_in: Routes,
    /// The program's own.
    pub service: S,
}

impl<S: Handler> Stack<S> {
    /// Answers a call. From the outermost layer to the innermost:
    /// 1. metrics, begun first and recorded when the call is dropped, so that no way to end goes
    ///    uncounted;
    /// 2. trace, around everything that takes time or logs a line;
    /// 3. limit, before anything is spent on the call; the place is kept until the reply has been
    ///    sent;
    /// 4. panic: a defect is the answer to one call, not the end of a connection that carries a
    ///    thousand;
    /// 5. deadline, next to the handler: it drops the handler, and with it everything that waits on
    ///    its behalf.
    pub(super) async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
    ) -> Result<Response<ReplyBody>, Infallible>
    where
        B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + Unpin + 'static,
    {
        let timeout = grpc_timeout(request.headers());
        let mut call = Call::begin(&self.methods, request.uri().path());
        let message_bytes_max = match call.method().batch {
            true => self.limits.batch_bytes_max,
            false => self.limits.message_bytes_max,
        };
        let request = request.map(|body| Body::new(RequestBody::new(body, message_bytes_max)));
        let span = self.span(call.method(), request.headers());
        call.set_span(span.clone());
        let end = End {
            deadline: timeout.and_then(|timeout| call.started().checked_add(timeout)),
            cut: self.cut.clone(),
            streams_max: self.limits.streams_max,
        };
        let reply = async {
            if !call.method().built_in && !call.enter(self.limits.calls_max) {
                return refused(refusals::overloaded());
            }
            if let Some(failure) = unread::compressed(request.headers()) {
                return refused(failure);
            }
            let handler = self.handle(call.method().built_in, request);
            let handler = handled(&self.methods.places, handler);
            let timed = within(timeout.unwrap_or(self.limits.deadline_default), handler);
            caught(call.method(), timed).await
        };
        let reply = reply.instrument(span).await;
        call.learn(reply.headers());
        Ok(reply.map(|body| ReplyBody::new(body, call, end)))
    }

    async fn handle(&self, built_in: bool, request: Request<Body>) -> Response<Body> {
        let Ok(reply) = match built_in {
            true => self.built_in.clone().oneshot(request).await,
            false => self.service.clone().oneshot(request).await,
        };
        unread::failure(reply.headers()).map_or(reply, refused)
    }

    /// Costs nothing unless traces are exported.
    fn span(&self, method: &Method, headers: &HeaderMap) -> Span {
        if !self.traced || method.built_in {
            return Span::none();
        }
        let span = tracing::info_span!(
            "call",
            otel.name = method.name,
            otel.kind = "server",
            rpc.grpc.status_code = tracing::field::Empty,
            trace_id = tracing::field::Empty,
        );
        trace::set_parent_from_headers(&span, headers);
        if let Some(id) = trace::trace_id(&span) {
            span.record("trace_id", id);
        }
        span
    }
}

async fn caught(method: &Method, handler: impl Future<Output = Response<Body>>) -> Response<Body> {
    // The handler is dropped after a panic; what it shares with others is behind locks that tell of
    // it.
    match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(reply) => reply,
        Err(_) => refused(refusals::panicked(&method.name)),
    }
}

async fn within(
    patience: Duration,
    handler: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    match tokio::time::timeout(patience, handler).await {
        Ok(reply) => reply,
        Err(_) => refused(refusals::deadline_exceeded()),
    }
}

fn refused(failure: Failure) -> Response<Body> {
    Status::from(failure).into_http()
}
