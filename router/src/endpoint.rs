//! One copy of an upstream, at one address: what is known of it, and the way to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater_chassis::breaker::BreakerState;
use headwater_chassis::{Breaker, Delays, Load};
use http::uri::Authority;
use tokio_util::sync::CancellationToken;

use crate::balance::{Candidate, Standing};
use crate::fault::Fault;
use crate::link::{Claim, Link, NoStream};

/// Lost requests in a row that open the circuit breaker.
const LOST_MAX: u32 = 5;
const BREAK: Delays =
    Delays { first: Duration::from_millis(200), max: Duration::from_secs(5), factor: 2.0 };

/// Time constant by which measured latency is replaced by newer, and forgotten where nothing is
/// sent.
const LATENCY_MEMORY: Duration = Duration::from_secs(5);

/// Number of a worker thread. Each has connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker(pub usize);

/// Health that an endpoint reports when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Not asked yet.
    Unknown,
    /// SERVING, or it has no health service.
    Serving,
    /// NOT_SERVING.
    NotServing,
    /// No answer.
    Silent,
}

impl Health {
    /// All, in the order of their numbers.
    pub const ALL: [Health; 4] =
        [Health::Unknown, Health::Serving, Health::NotServing, Health::Silent];

    /// Name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Serving => "serving",
            Health::NotServing => "not_serving",
            Health::Silent => "silent",
        }
    }
}

/// One copy of an upstream. Shared by all workers.
pub struct Endpoint {
    address: SocketAddr,
    authority: Authority,
    load: Load,
    health: AtomicU8,
    breaker: Mutex<Breaker>,
    /// True if the breaker is not plainly closed and has to be asked. Spares its lock on the way of
    /// a good request.
    breaker_engaged: AtomicBool,
    links: Vec<Arc<Link>>,
    retired: CancellationToken,
}

impl Endpoint {
    /// Without connections yet: [`Endpoint::links`] are kept by the workers.
    pub fn new(address: SocketAddr, authority: Authority, workers: usize) -> Endpoint {
        let retired = CancellationToken::new();
        let link = |_| Arc::new(Link::new(address, retired.clone()));
        Endpoint {
            address,
            authority,
            load: Load::new(Instant::now(), LATENCY_MEMORY),
            health: AtomicU8::new(Health::Unknown as u8),
            breaker: Mutex::new(Breaker::new(LOST_MAX, BREAK)),
            breaker_engaged: AtomicBool::new(false),
            links: (0..workers).map(link).collect(),
            retired,
        }
    }

    /// Address of the endpoint.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Authority that it was configured as: requests name it so, since a mesh routes by it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The ways to it, by worker.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Retires an endpoint that is gone from its name. Its connections drain.
    pub fn retire(&self) {
        self.retired.cancel();
    }

    /// Resolves when it is.
    pub fn retired(&self) -> CancellationToken {
        self.retired.clone()
    }

    /// Health that it reported last.
    pub fn health(&self) -> Health {
        Health::ALL[usize::from(self.health.load(Ordering::Relaxed)) % Health::ALL.len()]
    }

    /// Sets the reported health; gives the one before.
    pub fn set_health(&self, health: Health) -> Health {
        let before = self.health.swap(health as u8, Ordering::Relaxed);
        Health::ALL[usize::from(before) % Health::ALL.len()]
    }

    /// Reason why a worker has no connection to it, if so.
    pub fn problem(&self, worker: Worker) -> Option<&'static str> {
        self.links[worker.0].problem()
    }

    /// A copy of what the balancer looks at.
    pub fn candidate(&self, worker: Worker, now: Instant) -> Candidate {
        Candidate {
            standing: self.standing(worker, now),
            in_flight: self.load.in_flight(),
            latency_us: self.load.latency_us(now),
            penalty_us: self.load.penalty_us(now),
        }
    }

    fn standing(&self, worker: Worker, now: Instant) -> Standing {
        let link = self.links[worker.0].standing();
        // Asking the breaker itself would take its probe.
        if self.breaker_engaged.load(Ordering::Relaxed) && !self.breaker().clone().allows(now) {
            return Standing::Unusable;
        }
        match self.health() {
            Health::Unknown | Health::Serving => link,
            Health::NotServing | Health::Silent => link.max(Standing::NotServing),
        }
    }

    /// Takes a stream to send one request on.
    pub async fn lease(self: Arc<Self>, worker: Worker) -> Result<Lease, NoStream> {
        if self.breaker_engaged.load(Ordering::Relaxed) && !self.breaker().allows(Instant::now()) {
            return Err(NoStream::Broken("circuit breaker open after lost requests"));
        }
        let claim = self.links[worker.0].claim().await?;
        self.load.enter();
        let begun = Instant::now();
        Ok(Lease { endpoint: self, claim, begun, answered: false, rests: false })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's hold on an endpoint, until its answer has ended.
pub struct Lease {
    endpoint: Arc<Endpoint>,
    claim: Claim,
    begun: Instant,
    answered: bool,
    rests: bool,
}

impl Lease {
    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The stream to send on.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The answer begins.
    pub fn answered(&mut self) {
        self.time();
        if self.endpoint.breaker_engaged.load(Ordering::Relaxed) {
            let mut breaker = self.endpoint.breaker();
            breaker.succeeded();
            // Still open if this answers a request from before it opened.
            let breaker_engaged = breaker.state() != BreakerState::Closed;
            self.endpoint.breaker_engaged.store(breaker_engaged, Ordering::Relaxed);
        }
    }

    /// The request was lost.
    pub fn lost(&mut self, fault: Fault) {
        self.answered = true;
        let now = Instant::now();
        if fault.penalised() {
            self.endpoint.load.failed(now);
        }
        if fault.counts() {
            let mut breaker = self.endpoint.breaker();
            breaker.failed(now);
            self.endpoint.breaker_engaged.store(true, Ordering::Relaxed);
        }
    }

    /// The answer waits for something to happen, and is no load on the endpoint until then: a copy
    /// that many watch must not be taken for one that many wait for.
    pub fn rest(&mut self) {
        if !self.rests {
            self.rests = true;
            self.endpoint.load.leave();
        }
    }

    /// The answer is one of those that a healthy copy would not give.
    pub fn penalise(&self) {
        self.endpoint.load.failed(Instant::now());
    }

    fn time(&mut self) {
        if !self.answered {
            self.answered = true;
            let now = Instant::now();
            self.endpoint.load.answered(now, now.duration_since(self.begun));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody waits any longer: at least this long it would have taken.
        self.time();
        self.rest();
    }
}
