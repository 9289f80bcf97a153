//! The layers that every call goes through, written once, in order.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use super::body::{End, ReplyBody};
use super::call::Call;
use super::deadline::grpc_timeout;
use super::methods::{Method, Methods};
use super::{Handler, Limits, Server, health};
use crate::failure::{ErrorReason, Failure};
use crate::trace;

/// The layers around a service.
pub(super) struct Stack<S> {
    methods: Arc<Methods>,
    limits: Limits,
    /// Whether spans are exported; without an exporter no span is made.
    traced: bool,
    /// Ends the streams that outlast a drain's patience.
    cut: CancellationToken,
    built_in: Routes,
    service: S,
}

impl<S: Handler> Stack<S> {
    pub(super) fn new(server: &Server, built_in: Routes, service: S) -> anyhow::Result<Self> {
        let sets = server.descriptors.iter().copied().chain([health::DESCRIPTORS]);
        Ok(Self {
            methods: Arc::new(Methods::new(sets, &server.metrics)?),
            limits: server.limits,
            traced: server.common.otlp_endpoint.is_some(),
            cut: CancellationToken::new(),
            built_in,
            service,
        })
    }

    /// Calls under way, health and reflection aside.
    pub(super) fn in_flight(&self) -> i64 {
        self.methods.in_flight.get()
    }

    /// Ends all streams.
    pub(super) fn cut_streams(&self) {
        self.cut.cancel();
    }

    /// Answers a call.
    pub(super) async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
    ) -> Result<Response<ReplyBody>, Infallible>
    where
        B: http_body::Body<Data = bytes::Bytes, Error: Into<tonic::codegen::StdError>>
            + Send
            + 'static,
    {
        let request = request.map(Body::new);
        let timeout = grpc_timeout(request.headers());
        // 1. Metrics: begun first and recorded when the call is dropped, so that no end of it goes uncounted.
        let mut call = Call::begin(&self.methods, request.uri().path());
        // 2. Trace: around everything that can take time or log a line.
        let span = self.span(&call, &request);
        call.span = span.clone();
        let end = End {
            deadline: timeout.and_then(|timeout| call.started().checked_add(timeout)),
            cut: self.cut.clone(),
        };
        let reply = async {
            // 5. Limit: innermost of the refusals, since it is the one that costs nothing to pass.
            if !call.method().built_in && !call.admit(self.limits.calls_max) {
                return refused(overloaded());
            }
            let handler = self.handle(call.method().built_in, request);
            // 4. Deadline: drops the handler, and with it everything that it waits for.
            let patience = timeout.unwrap_or(self.limits.deadline_default);
            let timed = within(patience, handler);
            // 3. Panic: a defect in one call is an answer to that call, not the end of its connection.
            match AssertUnwindSafe(timed).catch_unwind().await {
                Ok(reply) => reply,
                Err(_) => refused(panicked(call.method())),
            }
        }
        .instrument(span)
        .await;
        call.learn(reply.headers());
        Ok(reply.map(|body| ReplyBody::new(body, call, end)))
    }

    async fn handle(&self, built_in: bool, request: Request<Body>) -> Response<Body> {
        let Ok(reply) = match built_in {
            true => call(self.built_in.clone(), request).await,
            false => call(self.service.clone(), request).await,
        };
        reply
    }

    fn span(&self, call: &Call, request: &Request<Body>) -> Span {
        if !self.traced || call.method().built_in {
            return Span::none();
        }
        let method = call.method().name.as_str();
        let span = tracing::info_span!(
            "call",
            otel.name = method,
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.method = method,
            trace_id = tracing::field::Empty,
        );
        trace::set_parent_from_headers(&span, request.headers());
        span
    }
}

async fn call<S: Handler>(
    mut service: S,
    request: Request<Body>,
) -> Result<Response<Body>, Infallible> {
    service.ready().await?.call(request).await
}

async fn within(
    patience: Duration,
    handler: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    match tokio::time::timeout(patience, handler).await {
        Ok(reply) => reply,
        Err(_) => refused(deadline_exceeded()),
    }
}

fn refused(failure: Failure) -> Response<Body> {
    Status::from(failure).into_http()
}

fn overloaded() -> Failure {
    // Spread, so that all who are refused now do not come back together.
    let delay = Duration::from_millis(rand::random_range(50..250));
    Failure::new(ErrorReason::Overloaded, "too many calls are under way").retry_after(delay)
}

pub(super) fn deadline_exceeded() -> Failure {
    Failure::new(ErrorReason::DeadlineExceeded, "the deadline passed first")
}

/// The panic itself has been logged by the panic hook; this says whose it was.
pub(super) fn panicked(method: &Method) -> Failure {
    let source = anyhow::anyhow!("the handler of {} panicked", method.name);
    Failure::new(ErrorReason::Internal, "internal error").because(source)
}
