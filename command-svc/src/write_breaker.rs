//! A circuit breaker in front of the write database.

use headwater_chassis::breaker::BreakerState;
use headwater_chassis::{Breaker, Delays};
use headwater_eventlog::{Place, Servers};
use tokio::time::Instant;

/// Keeps commands from a server that fails, and forgets what one server did as soon as another one
/// takes over.
pub(crate) struct WriteBreaker {
    servers: Servers,
    place: Option<Place>,
    breaker: Breaker,
    failures_max: u32,
    delays: Delays,
}

impl WriteBreaker {
    /// A closed breaker, which lets commands pass. It opens for a while after `failures_max`
    /// consecutive failures.
    pub(crate) fn new(servers: &Servers, failures_max: u32, delays: Delays) -> Self {
        let (servers, breaker) = (servers.clone(), Breaker::new(failures_max, delays));
        let place = servers.place().ok();
        Self { servers, place, breaker, failures_max, delays }
    }

    /// True if the database may be asked now.
    pub(crate) fn allows(&mut self) -> bool {
        let place = self.servers.place().ok();
        // Without a place none takes writes: what the last one did counts until another is found.
        if place.is_some() && place != self.place {
            self.place = place;
            self.reset();
        }
        self.breaker.allows(Instant::now().into_std())
    }

    /// Records an answer.
    pub(crate) fn succeeded(&mut self) {
        self.breaker.succeeded();
    }

    /// Records a failure.
    pub(crate) fn failed(&mut self) {
        self.breaker.failed(Instant::now().into_std());
    }

    /// True after too many consecutive failures, until the database has answered again.
    pub(crate) fn is_open(&self) -> bool {
        self.breaker.state() != BreakerState::Closed
    }

    /// Closes it, whatever was before.
    pub(crate) fn reset(&mut self) {
        self.breaker = Breaker::new(self.failures_max, self.delays);
    }
}
