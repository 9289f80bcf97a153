//! Metrics of a projection's work.

use headwater_chassis::Metrics;
use headwater_chassis::metrics::{BATCH_SIZES, Counter, Gauge, Histogram, LATENCY_SECONDS};

/// The metrics of one projection.
#[derive(Clone)]
pub struct Meters {
    /// Events applied.
    pub events: Counter,
    /// Rows inserted, updated and deleted.
    pub rows: Counter,
    /// Events parked, once for every row that they were not applied to.
    pub parked: Counter,
    /// Rows and streams that wait behind parked events.
    pub blocked: Gauge,
    /// 1 while this process is the one that applies the projection.
    pub leader: Gauge,
    /// Events in a batch.
    pub batch_events: Histogram,
    /// Seconds from a batch's arrival to its commit.
    pub batch_seconds: Histogram,
}

impl Meters {
    /// Registers them.
    pub fn new(metrics: &Metrics, projection: &str) -> Self {
        let labels = [("projection", projection.to_owned())];
        let counter = |name, help| metrics.counters(name, help).get_or_create_owned(&labels);
        let gauge = |name, help| metrics.gauges(name, help).get_or_create_owned(&labels);
        let histogram = |name, help, buckets| {
            metrics.histograms(name, help, buckets).get_or_create_owned(&labels)
        };
        Self {
            events: counter("headwater_applied_events_total", "Events applied to the views"),
            rows: counter("headwater_written_rows_total", "Rows of views written"),
            parked: counter(
                "headwater_parked_events_total",
                "Events parked, once for every row that they were not applied to",
            ),
            blocked: gauge(
                "headwater_blocked_rows",
                "Rows and streams that wait behind parked events",
            ),
            leader: gauge(
                "headwater_projection_leader",
                "1 while this process is the one that applies the projection",
            ),
            batch_events: histogram(
                "headwater_apply_batch_events",
                "Events in an applied batch",
                BATCH_SIZES,
            ),
            batch_seconds: histogram(
                "headwater_apply_seconds",
                "Time from reading a batch to its commit",
                LATENCY_SECONDS,
            ),
        }
    }
}
