//! W3C trace context (<https://www.w3.org/TR/trace-context/>): in from headers and stored events,
//! out into headers.
//!
//! Without an exporter no span carries a context: then nothing is extracted, and nothing injected.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";
/// Length of version 00, and the least of later ones.
const TRACEPARENT_BYTES: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();

/// Makes the caller's span, named by `traceparent` and `tracestate`, the parent of `span`.
pub fn set_parent_from_headers(span: &Span, headers: &HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        // Fails only if no exporter is installed; then there is nothing to connect.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
}

/// Makes a stored `traceparent` the parent of `span`.
pub fn set_parent(span: &Span, traceparent: &str) {
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Stored(traceparent)));
}

/// Links `span` to a stored `traceparent`: for a span over a batch, which has many causes and no
/// single parent.
pub fn add_link(span: &Span, traceparent: &str) {
    let context = TraceContextPropagator::new().extract(&Stored(traceparent));
    span.add_link(context.span().span_context().clone());
}

/// A caller's `traceparent`, to be stored with an event; `None` if it is malformed. One of a later
/// version is read as version 00, as the specification wants it, and kept as that.
pub fn valid_traceparent(text: &str) -> Option<String> {
    // The propagator takes ids that are cut short.
    if text.len() < TRACEPARENT_BYTES {
        return None;
    }
    let propagator = TraceContextPropagator::new();
    let context = propagator.extract_with_context(&Context::new(), &Stored(text));
    let span = context.span().span_context().clone();
    let (trace, id) = (span.trace_id(), span.span_id());
    span.is_valid().then(|| format!("00-{trace}-{id}-{:02x}", span.trace_flags()))
}

/// Puts the current span's context into the headers of an outgoing request, replacing the one that
/// is there. Leaves the headers alone if there is no exporter, so that a caller's context still
/// passes through.
pub fn inject(headers: &mut HeaderMap) {
    let current = Span::current();
    if current.is_none() {
        return;
    }
    let context = current.context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
    }
}

/// The current span's `traceparent`, to store with an event; `None` unless traces are exported and
/// this one is recorded.
pub fn current_traceparent() -> Option<String> {
    let span = span_context(&Span::current())?;
    let (trace, id) = (span.trace_id(), span.span_id());
    span.is_sampled().then(|| format!("00-{trace}-{id}-01"))
}

/// The span's trace id, for people who look for it; `None` unless traces are exported. Set the
/// parent first.
pub fn trace_id(span: &Span) -> Option<String> {
    span_context(span).map(|span| span.trace_id().to_string())
}

fn span_context(span: &Span) -> Option<SpanContext> {
    if span.is_none() {
        return None;
    }
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Stored<'a>(&'a str);

impl Extractor for Stored<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let header = (HeaderName::try_from(key), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = header {
            self.0.insert(name, value);
        }
    }
}
