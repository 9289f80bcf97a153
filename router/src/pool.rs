//! The copies of one upstream, and the choice among them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use headwater_edge::{ErrorReason, Failure};
use tokio::sync::watch;

use crate::balance::{self, Candidate, Standing};
use crate::endpoint::{Endpoint, Health, Worker};
use crate::retry::{ATTEMPTS_MAX, Budget};
use crate::routes::Upstream;

/// Copies of one upstream.
pub struct Pool {
    upstream: Upstream,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// Repeats that may still be sent.
    pub budget: Budget,
    changes: watch::Sender<()>,
}

/// The endpoints that a request has been at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    addresses: [Option<SocketAddr>; ATTEMPTS_MAX],
    count: usize,
}

impl Tried {
    /// One more.
    pub fn push(&mut self, address: SocketAddr) {
        self.addresses[self.count % ATTEMPTS_MAX] = Some(address);
        self.count += 1;
    }

    /// Number of attempts.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True if one of them was at this address.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&Some(address))
    }
}

/// Reason why there is no endpoint to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// All streams of all connections are taken.
    Full,
    /// None can be reached; how many there are, and why the first one cannot.
    Down(usize, &'static str),
}

impl Pool {
    /// Empty until it is resolved.
    pub fn new(upstream: Upstream) -> Pool {
        Pool {
            upstream,
            endpoints: ArcSwap::default(),
            budget: Budget::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Upstream of the pool.
    pub fn upstream(&self) -> Upstream {
        self.upstream
    }

    /// The copies as of now.
    pub fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// Replaces the set of copies.
    pub fn set_endpoints(&self, endpoints: Vec<Arc<Endpoint>>) {
        self.endpoints.store(Arc::new(endpoints));
        self.changed();
    }

    /// Something about an endpoint has changed.
    pub fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Follows changes.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Copies with this health.
    pub fn count(&self, health: Health) -> usize {
        self.endpoints.load().iter().filter(|endpoint| endpoint.health() == health).count()
    }

    /// Succeeds if one of them serves; otherwise says what is wrong.
    pub fn ready(&self) -> Result<(), String> {
        let endpoints = self.endpoints.load();
        if endpoints.iter().any(|endpoint| endpoint.health() == Health::Serving) {
            return Ok(());
        }
        let healths: Vec<String> = endpoints
            .iter()
            .map(|endpoint| format!("{} is {}", endpoint.address(), endpoint.health().name()))
            .collect();
        match healths.is_empty() {
            true => Err("its names resolve to nothing".to_owned()),
            false => Err(healths.join(", ")),
        }
    }

    /// The endpoint for a request that has been at `tried`. One of these is taken again only if
    /// nothing else is left.
    pub fn choose(
        &self,
        worker: Worker,
        tried: &Tried,
        random: u64,
    ) -> Result<Arc<Endpoint>, NoEndpoint> {
        let now = Instant::now();
        let endpoints = self.endpoints.load();
        let candidate = |endpoint: &Arc<Endpoint>| {
            let candidate = endpoint.candidate(worker, now);
            match tried.contains(endpoint.address()) {
                true => Candidate { standing: candidate.standing.again(), ..candidate },
                false => candidate,
            }
        };
        let candidates: Vec<Candidate> = endpoints.iter().map(candidate).collect();
        match balance::pick(&candidates, random) {
            Some(index) => Ok(endpoints[index].clone()),
            None if candidates.iter().any(|c| c.standing == Standing::Full) => {
                Err(NoEndpoint::Full)
            }
            None => {
                let problem = endpoints.iter().find_map(|endpoint| endpoint.problem(worker));
                let otherwise = match endpoints.is_empty() {
                    true => "its names resolve to nothing",
                    false => "circuit breaker open after lost requests",
                };
                Err(NoEndpoint::Down(endpoints.len(), problem.unwrap_or(otherwise)))
            }
        }
    }
}

impl NoEndpoint {
    /// Failure that the client is told.
    pub fn failure(&self, upstream: Upstream) -> Failure {
        match self {
            NoEndpoint::Full => Failure::new(
                ErrorReason::Overloaded,
                format!("all connections to the {upstream} service are full"),
            )
            .with("upstream", upstream),
            NoEndpoint::Down(copies, cause) => Failure::new(
                ErrorReason::UpstreamUnavailable,
                format!("no copy of the {upstream} service can be reached: {cause}"),
            )
            .with("upstream", upstream)
            .with("copies", copies)
            .with("cause", cause),
        }
    }
}
