//! Metrics of the read side. Handles are made once; a read costs one atomic addition.

use headwater_chassis::Metrics;
use headwater_chassis::breaker::BreakerState;
use headwater_chassis::metrics::{
    BATCH_SIZES, Counter, Family, Gauge, GaugeF64, Histogram, LATENCY_SECONDS, Labels,
};
use headwater_kernel::NodeRole;

use super::node_error::NodeError;

/// The metrics of one node.
pub struct NodeMeters {
    node: String,
    reads: Family<Labels<3>, Counter>,
    /// By role: the two outcomes that are counted for every read.
    fresh: [Counter; 2],
    stale: [Counter; 2],
    staleness: Family<Labels<2>, GaugeF64>,
    breaker: Gauge,
}

/// The metrics of fallbacks to the read primary.
pub struct FallbackMeters {
    asked: Family<Labels<1>, Counter>,
    per_second: GaugeF64,
}

/// The metrics of reads that waited.
pub struct WaitMeters {
    by_outcome: Family<Labels<1>, Counter>,
    seconds: Histogram,
}

impl NodeMeters {
    /// The metrics of the node with this name.
    pub fn new(metrics: &Metrics, node: &str) -> Self {
        let reads = metrics.counters::<Labels<3>>(
            "headwater_reads_total",
            "Reads by node, its role, and how they ended",
        );
        let of = |outcome: &str| {
            let counter = |role| {
                let labels = read_labels(node, role, outcome);
                reads.get_or_create(&labels).clone()
            };
            [counter("primary"), counter("replica")]
        };
        let (fresh, stale) = (of("fresh"), of("stale"));
        let staleness = metrics.gauges_f64::<Labels<2>>(
            "headwater_node_staleness_seconds",
            "Age of the newest state of a projection seen on a node, by the write database's clock \
             if it is known",
        );
        let breaker = metrics.gauges::<Labels<1>>(
            "headwater_node_breaker_state",
            "State of a node's circuit breaker: 0 closed, 1 half-open, 2 open",
        );
        let label = [("node", node.to_owned())];
        Self {
            staleness,
            breaker: breaker.get_or_create(&label).clone(),
            node: node.to_owned(),
            reads,
            fresh,
            stale,
        }
    }

    /// An answer that was as fresh as asked, or was not.
    pub fn answered(&self, role: NodeRole, fresh: bool) {
        let by_role = if fresh { &self.fresh } else { &self.stale };
        by_role[usize::from(role == NodeRole::Replica)].inc();
    }

    /// Number of reads it has answered as a replica, fresh enough or not.
    pub fn answered_as_replica(&self) -> u64 {
        self.fresh[1].get() + self.stale[1].get()
    }

    /// No answer.
    pub fn failed(&self, role: Option<NodeRole>, error: &NodeError) {
        let role = role.map_or("unknown", role_name);
        self.reads.get_or_create(&read_labels(&self.node, role, error.label())).inc();
    }

    /// The age of what was seen of a projection.
    pub fn staleness(&self, projection: &str, age: std::time::Duration) {
        let labels = [("node", self.node.clone()), ("projection", projection.to_owned())];
        self.staleness.get_or_create(&labels).set(age.as_secs_f64());
    }

    /// Exports the state of the circuit breaker.
    pub fn breaker(&self, state: BreakerState) {
        self.breaker.set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }
}

impl FallbackMeters {
    /// The metrics of a pool.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            asked: metrics.counters::<Labels<1>>(
                "headwater_primary_turns_total",
                "Reads that no replica could satisfy, by their permit to fall back to the read \
                 primary: at_once, queued, refused (the quota is exhausted)",
            ),
            per_second: metrics.gauge_f64(
                "headwater_primary_turns_per_second_max",
                "Reads a second that the read primary takes over from replicas at most",
            ),
        }
    }

    /// A read asked for a permit.
    pub fn asked(&self, outcome: &'static str) {
        self.asked.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// Exports the number of permits there are a second.
    pub fn per_second(&self, permits: f64) {
        self.per_second.set(permits);
    }
}

impl WaitMeters {
    /// The metrics of a pool.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            by_outcome: metrics.counters::<Labels<1>>(
                "headwater_read_waits_total",
                "Reads that had to wait for a fresh enough node, by how the wait ended",
            ),
            seconds: metrics.histogram(
                "headwater_read_wait_seconds",
                "Time that reads waited for a fresh enough node",
                LATENCY_SECONDS,
            ),
        }
    }

    /// A wait ended.
    pub fn waited(&self, outcome: &'static str, time: std::time::Duration) {
        self.by_outcome.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        self.seconds.observe(time.as_secs_f64());
    }
}

/// Histogram of the keys that went out in one statement, by statement.
pub fn batch_keys(metrics: &Metrics, statement: &'static str) -> Histogram {
    let batches = metrics.histograms::<Labels<1>>(
        "headwater_read_batch_keys",
        "Keys of point reads that went out in one statement",
        BATCH_SIZES,
    );
    batches.get_or_create(&[("statement", statement.to_owned())]).clone()
}

/// Streams that watch a view.
pub fn watchers(metrics: &Metrics, view: &'static str) -> Gauge {
    let watchers = metrics.gauges::<Labels<1>>(
        "headwater_watchers",
        "Streams of changes that are under way, by view",
    );
    watchers.get_or_create(&[("view", view.to_owned())]).clone()
}

/// A role's name in metrics and logs.
pub fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Primary => "primary",
        NodeRole::Replica => "replica",
    }
}

fn read_labels(node: &str, role: &str, outcome: &str) -> Labels<3> {
    [("node", node.to_owned()), ("role", role.to_owned()), ("outcome", outcome.to_owned())]
}
