//! A circuit breaker in front of the write database.

use headwater_chassis::breaker::BreakerState;
use headwater_chassis::{Breaker, Delays};
use headwater_eventlog::{Place, Servers};
use tokio::time::Instant;

/// Keeps commands from a server that fails, and forgets what one server did as soon as another one
/// takes over.
pub(crate) struct Gate {
    servers: Servers,
    place: Option<Place>,
    breaker: Breaker,
    failures_max: u32,
    delays: Delays,
}

impl Gate {
    /// Open to all. So many failures in a row close it for a while.
    pub(crate) fn new(servers: &Servers, failures_max: u32, delays: Delays) -> Self {
        let (servers, breaker) = (servers.clone(), Breaker::new(failures_max, delays));
        let place = servers.place().ok();
        Self { servers, place, breaker, failures_max, delays }
    }

    /// Whether the database may be asked now.
    pub(crate) fn allows(&mut self) -> bool {
        let place = self.servers.place().ok();
        if place.is_some() && place != self.place {
            self.place = place;
            self.forget();
        }
        self.breaker.allows(Instant::now().into_std())
    }

    /// It answered.
    pub(crate) fn succeeded(&mut self) {
        self.breaker.succeeded();
    }

    /// It did not.
    pub(crate) fn failed(&mut self) {
        self.breaker.failed(Instant::now().into_std());
    }

    /// Whether it has failed too often.
    pub(crate) fn is_closed(&self) -> bool {
        self.breaker.state() != BreakerState::Closed
    }

    /// Opens it, whatever was before.
    pub(crate) fn forget(&mut self) {
        self.breaker = Breaker::new(self.failures_max, self.delays);
    }
}
