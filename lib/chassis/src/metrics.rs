//! Metrics: a registry that hands out handles. Handles are made at start and kept; updating one
//! takes no registry lock.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::family::MetricConstructor;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// A gauge of fractions, such as seconds.
pub type GaugeF64 = Gauge<f64, AtomicU64>;
/// Histograms by label set.
pub type Histograms<L> = Family<L, Histogram, Buckets>;
/// A label set without a type of its own: `[("node", node), ("role", role)]`.
pub type Labels<const N: usize> = [(&'static str, String); N];

/// Seconds from 100 µs to 10 s, for requests and statements.
pub const LATENCY_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// Sizes of batches, from 1 to 1024.
pub const BATCH_SIZES: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Bounds of a family's labels: [`Labels`], or a type that derives `EncodeLabelSet`.
pub trait LabelSet: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static {}
impl<L: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static> LabelSet for L {}

/// The registry of a process. Clones share one registry.
///
/// Names are written as they are exported: `headwater_<what>_<unit>`, counters
/// `headwater_<what>_total`. Asking for a name again gives the same metric, so that two copies of a
/// part of a process share one.
///
/// # Panics
/// Every method that takes a name panics if the name breaks these rules, or is in use for another
/// kind of metric.
#[derive(Clone)]
pub struct Metrics {
    state: Arc<Mutex<State>>,
}

struct State {
    registry: Registry,
    by_name: HashMap<&'static str, Box<dyn Any + Send>>,
}

/// Makes the histograms of a family.
#[derive(Clone, Copy, Debug)]
pub struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        let state = State { registry: Registry::with_prefix("headwater"), by_name: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Something that only grows.
    pub fn counter(&self, name: &'static str, help: &str) -> Counter {
        self.metric(name, help, Counter::default)
    }

    /// Counters by label set.
    pub fn counters<L: LabelSet>(&self, name: &'static str, help: &str) -> Family<L, Counter> {
        self.metric(name, help, Family::default)
    }

    /// A count that goes up and down.
    pub fn gauge(&self, name: &'static str, help: &str) -> Gauge {
        self.metric(name, help, Gauge::default)
    }

    /// Gauges by label set.
    pub fn gauges<L: LabelSet>(&self, name: &'static str, help: &str) -> Family<L, Gauge> {
        self.metric(name, help, Family::default)
    }

    /// A fraction that goes up and down.
    pub fn gauge_f64(&self, name: &'static str, help: &str) -> GaugeF64 {
        self.metric(name, help, GaugeF64::default)
    }

    /// Gauges of fractions by label set.
    pub fn gauges_f64<L: LabelSet>(&self, name: &'static str, help: &str) -> Family<L, GaugeF64> {
        self.metric(name, help, Family::default)
    }

    /// A distribution; `buckets` are upper bounds, ascending.
    pub fn histogram(&self, name: &'static str, help: &str, buckets: &'static [f64]) -> Histogram {
        self.metric(name, help, || Buckets(buckets).new_metric())
    }

    /// Distributions by label set.
    pub fn histograms<L: LabelSet>(
        &self,
        name: &'static str,
        help: &str,
        buckets: &'static [f64],
    ) -> Histograms<L> {
        self.metric(name, help, || Family::new_with_constructor(Buckets(buckets)))
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.lock().registry);
        text
    }

    fn metric<M: Metric + Clone>(
        &self,
        name: &'static str,
        help: &str,
        make: impl FnOnce() -> M,
    ) -> M {
        let mut state = self.lock();
        if let Some(known) = state.by_name.get(name) {
            return known
                .downcast_ref::<M>()
                .unwrap_or_else(|| panic!("metric {name} is of another kind already"))
                .clone();
        }
        let metric = make();
        state.registry.register(short_name(name), help.trim_end_matches('.'), metric.clone());
        state.by_name.insert(name, Box::new(metric.clone()));
        metric
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The encoder adds the prefix, and `_total` to counters.
fn short_name(name: &'static str) -> &'static str {
    let name = name.strip_prefix("headwater_");
    let name = name.expect("names of metrics start with headwater_");
    name.strip_suffix("_total").unwrap_or(name)
}
