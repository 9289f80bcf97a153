//! W3C trace context (<https://www.w3.org/TR/trace-context/>) that a caller sends with a command.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
/// Length of version 00, and the least of later ones.
const TRACEPARENT_BYTES: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();

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

struct Stored<'a>(&'a str);

impl Extractor for Stored<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
