//! Traces: one span a batch, and one for each of its traced events, in the trace of the command
//! that caused it.

use headwater_chassis::trace;
use headwater_kernel::RecordedEvent;
use tracing::Span;

/// The most events of a batch that get a span of their own: a batch of a load would otherwise make
/// thousands.
const SPANS_MAX: usize = 64;

/// The spans of a batch that is being applied. They end when this is dropped.
pub struct BatchSpans {
    /// Over the whole batch.
    pub batch: Span,
    _events: Vec<Span>,
}

impl BatchSpans {
    /// Begins them.
    pub fn begin(projection: &str, events: &[RecordedEvent]) -> Self {
        let batch = tracing::info_span!(
            "apply",
            otel.name = %format_args!("apply {projection}"),
            events = events.len()
        );
        let traced = events.iter().filter_map(|event| Some((event, event.traceparent.as_deref()?)));
        let spans = traced.take(SPANS_MAX).map(|(event, parent)| {
            let span = tracing::info_span!(
                parent: None,
                "project",
                otel.name = %format_args!("project {projection}"),
                event = %event.type_name,
                partition = event.partition.0,
                position = event.position.0
            );
            trace::set_parent(&span, parent);
            span
        });
        let events = spans.collect();
        Self { batch, _events: events }
    }
}
