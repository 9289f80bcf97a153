//! The router's metrics. Handles are made at start: a request updates them and looks nothing up.

use std::sync::OnceLock;

use headwater_chassis::Metrics;
use headwater_chassis::in_flight::Places;
use headwater_chassis::metrics::{Counter, Family, Gauge, Histogram, LATENCY_SECONDS, Labels};
use headwater_chassis::server::code_name;
use tonic::Code;

use crate::routes::{MethodIndex, Routes, Target, Upstream};

/// Number of gRPC status codes.
const CODES: usize = 17;

/// Everything that is counted.
pub struct Meters {
    methods: Vec<Method>,
    /// Requests under way, and answers that wait for something to pass on.
    pub places: Places,
    /// Client connections.
    pub connections: Gauge,
    /// Client connections that were closed at once because there were too many.
    pub connections_refused: Counter,
    /// Endpoints by what they say of themselves.
    pub endpoints: Family<Labels<2>, Gauge>,
    repeats: Family<Labels<2>, Counter>,
}

/// The last two entries stand for the router's own services and for paths that it does not know:
/// a client must not be able to grow metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(usize);

struct Method {
    path: String,
    upstream: &'static str,
    seconds: Histogram,
    requests: Family<Labels<3>, Counter>,
    by_code: [OnceLock<Counter>; CODES],
}

impl Meters {
    /// Of a router with these routes.
    pub fn new(routes: &Routes, metrics: &Metrics) -> Meters {
        let requests = metrics.counters(
            "headwater_router_requests_total",
            "Requests answered, by method, upstream and status code",
        );
        let seconds = metrics.histograms::<Labels<1>>(
            "headwater_router_request_seconds",
            "Time from the headers of a request to the end of its answer",
            LATENCY_SECONDS,
        );
        let own = [("platform", "router"), ("unknown", "none")];
        let methods = routes
            .paths()
            .map(|path| (path.trim_start_matches('/'), upstream_name(routes, path)))
            .chain(own)
            .map(|(path, upstream)| Method {
                path: path.to_owned(),
                upstream,
                seconds: seconds.get_or_create_owned(&[("method", path.to_owned())]),
                requests: requests.clone(),
                by_code: Default::default(),
            });
        Meters {
            methods: methods.collect(),
            places: Places {
                calls: metrics.gauge("headwater_router_in_flight", "Requests under way"),
                waiting: metrics.gauge(
                    "headwater_router_waiting",
                    "Streams of answers that wait for something to pass on",
                ),
            },
            connections: metrics.gauge("headwater_router_connections", "Client connections"),
            connections_refused: metrics.counter(
                "headwater_router_connections_refused_total",
                "Client connections closed at once because there were too many",
            ),
            endpoints: metrics.gauges(
                "headwater_router_endpoints",
                "Endpoints by upstream and by what they say of their health",
            ),
            repeats: metrics.counters(
                "headwater_router_repeats_total",
                "Requests sent again, by upstream and by what became of the attempt before",
            ),
        }
    }

    /// Entry of a path.
    pub fn entry(&self, target: Target) -> Entry {
        match target {
            Target::Method(route) => {
                let MethodIndex(index) = route.method;
                Entry(index)
            }
            Target::Platform => Entry(self.methods.len() - 2),
            Target::Unknown => Entry(self.methods.len() - 1),
        }
    }

    /// Name of the method, for traces.
    pub fn name(&self, entry: Entry) -> &str {
        &self.methods[entry.0].path
    }

    /// A request has ended.
    pub fn ended(&self, entry: Entry, code: Code, seconds: f64) {
        let method = &self.methods[entry.0];
        method.seconds.observe(seconds);
        let counter = method.by_code[(code as usize).min(CODES - 1)].get_or_init(|| {
            method.requests.get_or_create_owned(&[
                ("method", method.path.clone()),
                ("upstream", method.upstream.to_owned()),
                ("code", code_name(code).to_owned()),
            ])
        });
        counter.inc();
    }

    /// A request is sent again.
    pub fn repeated(&self, upstream: Upstream, after: &'static str) {
        let labels = [("upstream", upstream.name().to_owned()), ("after", after.to_owned())];
        self.repeats.get_or_create(&labels).inc();
    }
}

fn upstream_name(routes: &Routes, path: &str) -> &'static str {
    match routes.target(path) {
        Target::Method(route) => route.upstream.name(),
        Target::Platform | Target::Unknown => "none",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_in_the_specification() {
        let cases = [
            (Code::Ok, "OK"),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::Unauthenticated, "UNAUTHENTICATED"),
            (Code::DataLoss, "DATA_LOSS"),
        ];
        for (code, want) in cases {
            assert_eq!(code_name(code), want);
        }
        assert_eq!(Code::Unauthenticated as usize, CODES - 1);
    }

    #[test]
    fn a_request_is_counted_once_under_its_method_upstream_and_code() {
        let routes = Routes::decode(headwater_domain_proto::FILE_DESCRIPTOR_SET).unwrap();
        let metrics = Metrics::new();
        let meters = Meters::new(&routes, &metrics);
        let target = routes.target("/stores.v1.StoreQueryService/GetStore");
        meters.ended(meters.entry(target), Code::NotFound, 0.01);
        meters.ended(meters.entry(Target::Unknown), Code::Unimplemented, 0.01);
        meters.ended(meters.entry(Target::Platform), Code::Ok, 0.01);
        let text = metrics.encode();
        for line in [
            "headwater_router_requests_total{method=\"stores.v1.StoreQueryService/GetStore\",\
             upstream=\"query\",code=\"NOT_FOUND\"} 1",
            "headwater_router_requests_total{method=\"unknown\",upstream=\"none\",\
             code=\"UNIMPLEMENTED\"} 1",
            "headwater_router_requests_total{method=\"platform\",upstream=\"router\",\
             code=\"OK\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
