//! The router's settings: the one place that reads environment and flags.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use headwater_chassis::{Common, ConfigErrors, Invocation, Settings};
use http::uri::Authority;

use crate::routes::Upstream;

const ABOUT: &str = "Forwards gRPC calls: commands to command services, queries to query services";

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings of every program.
    pub common: Common,
    /// Names of the command service's copies.
    pub command_upstreams: Vec<HostPort>,
    /// Names of the query service's copies.
    pub query_upstreams: Vec<HostPort>,
    /// Encoded `FileDescriptorSet` to route by; None takes the one that is compiled in.
    pub descriptors: Option<PathBuf>,
    /// Threads that carry traffic.
    pub threads: NonZeroUsize,
    /// Bounds on what clients can take.
    pub limits: Limits,
    /// Interval at which names are resolved again.
    pub resolve_every: Duration,
    /// Interval at which each endpoint is asked for its health.
    pub probe_every: Duration,
}

/// Bounds on what clients can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests under way at once, from all connections. Past it: RESOURCE_EXHAUSTED.
    pub in_flight_max: usize,
    /// Streams of answers that wait for something to pass on, such as watches. They do not count
    /// as under way; past it more are ended with RESOURCE_EXHAUSTED.
    pub waiting_max: usize,
    /// Client connections; past it new ones are closed at once, so that another copy is tried.
    pub connections_max: usize,
    /// Streams at once on one client connection; announced to the client, which queues the rest.
    pub streams_max: u32,
    /// Deadline given to unary calls that come without one.
    pub deadline: Duration,
    /// After this a client connection is asked to reconnect, so that clients spread over new
    /// copies of the router.
    pub connection_age: Duration,
}

impl Config {
    /// Reads them all, or reports every mistake.
    ///
    /// # Errors
    /// If any setting is missing or malformed.
    pub fn read(invocation: Invocation) -> Result<Config, ConfigErrors> {
        invocation.read(ABOUT, Self::read_all)
    }

    fn read_all(s: &mut Settings) -> Option<Config> {
        let common = Common::read(s, "127.0.0.1:50050", "127.0.0.1:9050");
        s.group("Upstreams");
        let command_upstreams = s.list(
            "HEADWATER_COMMAND_UPSTREAMS",
            Some("127.0.0.1:50051"),
            "host:port of command services, separated by commas; each name stands for all of \
             its addresses and is resolved again and again",
        );
        let query_upstreams = s.list(
            "HEADWATER_QUERY_UPSTREAMS",
            Some("127.0.0.1:50052"),
            "host:port of query services, likewise",
        );
        s.group("Routing");
        let descriptors = s.optional(
            "HEADWATER_DESCRIPTORS",
            "file with an encoded google.protobuf.FileDescriptorSet to route by, instead of the \
             one compiled in",
        );
        let threads = s.optional(
            "HEADWATER_THREADS",
            "threads that carry traffic; unset: as many as there are cores",
        );
        s.group("Upstreams");
        let resolve_every = s.millis(
            "HEADWATER_RESOLVE_MS",
            "5000",
            100..=600_000,
            "how often names of upstreams are resolved again",
        );
        let probe_every = s.millis(
            "HEADWATER_PROBE_MS",
            "1000",
            50..=60_000,
            "how often each endpoint is asked for its health",
        );
        let limits = Limits::read(s);
        Some(Config {
            common: common?,
            command_upstreams: command_upstreams?,
            query_upstreams: query_upstreams?,
            descriptors: descriptors?,
            threads: threads?.unwrap_or_else(cores),
            limits: limits?,
            resolve_every: resolve_every?,
            probe_every: probe_every?,
        })
    }

    /// Names of an upstream's copies.
    pub fn names(&self, upstream: Upstream) -> &[HostPort] {
        match upstream {
            Upstream::Command => &self.command_upstreams,
            Upstream::Query => &self.query_upstreams,
        }
    }
}

impl Limits {
    fn read(s: &mut Settings) -> Option<Limits> {
        s.group("Limits of what clients can take");
        let in_flight_max = s.in_range(
            "HEADWATER_IN_FLIGHT_MAX",
            "8192",
            1..=1_000_000,
            "requests under way at once; past it they are refused with a delay",
        );
        let waiting_max = s.in_range(
            "HEADWATER_WAITING_MAX",
            "16384",
            1..=1_000_000,
            "streams of answers that wait for something to pass on; past it more are ended",
        );
        let connections_max = s.in_range(
            "HEADWATER_CONNECTIONS_MAX",
            "4096",
            1..=1_000_000,
            "client connections at once; past it new ones are closed",
        );
        let streams_max = s.in_range(
            "HEADWATER_STREAMS_MAX",
            "1024",
            1..=100_000,
            "requests at once on one client connection; more wait at the client",
        );
        let deadline = s.millis(
            "HEADWATER_DEADLINE_MS",
            "30000",
            1..=3_600_000,
            "deadline of unary calls that come without one",
        );
        let connection_age = s.millis(
            "HEADWATER_CONNECTION_AGE_MS",
            "1800000",
            1_000..=86_400_000,
            "age at which a client connection is asked to reconnect",
        );
        Some(Limits {
            in_flight_max: in_flight_max?,
            waiting_max: waiting_max?,
            connections_max: connections_max?,
            streams_max: streams_max?,
            deadline: deadline?,
            connection_age: connection_age?,
        })
    }
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A name or address with a port: `query-svc:50052`, `10.0.0.7:50052`, `[::1]:50052`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(Authority);

impl HostPort {
    /// For the `:authority` of requests, by which a service mesh routes.
    pub fn authority(&self) -> &Authority {
        &self.0
    }

    /// For the resolver.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let wrong = || format!("{text:?} is not of the form host:port");
        let authority = Authority::from_str(text).map_err(|_| wrong())?;
        let plain = authority.port_u16().is_some_and(|port| port != 0)
            && !authority.host().is_empty()
            && !text.contains('@');
        plain.then_some(HostPort(authority)).ok_or_else(wrong)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let vars = vars.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        Config::read(Invocation::from_parts("router", vars, []))
    }

    #[test]
    fn defaults_are_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.common.listen.port(), 50050);
        assert_eq!(config.names(Upstream::Command)[0].as_str(), "127.0.0.1:50051");
        assert_eq!(config.names(Upstream::Query)[0].as_str(), "127.0.0.1:50052");
        assert!(config.threads.get() >= 1);
    }

    #[test]
    fn every_mistake_is_reported() {
        let errors = read(&[
            ("HEADWATER_COMMAND_UPSTREAMS", "nowhere"),
            ("HEADWATER_QUERY_UPSTREAMS", "a:1,b:70000"),
            ("HEADWATER_THREADS", "0"),
            ("HEADWATER_IN_FLIGHT_MAX", "0"),
            ("HEADWATER_PROBE_MS", "soon"),
        ])
        .unwrap_err();
        assert_eq!(errors.mistakes().len(), 5, "{errors}");
    }

    #[test]
    fn a_host_needs_a_port() {
        for good in ["a:1", "query-svc.ns.svc.cluster.local:50052", "[::1]:5", "10.0.0.7:65535"] {
            assert_eq!(HostPort::from_str(good).unwrap().to_string(), good);
        }
        for bad in ["", "a", ":1", "a:", "a:x", "a:0", "a:65536", "http://a:1", "u@a:1", "::1"] {
            assert!(HostPort::from_str(bad).is_err(), "{bad}");
        }
    }
}
