//! Connections for everything but appending, to the server that takes writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::error::LogError;
use crate::servers::{Place, Servers};

/// Time to wait for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that has been idle for longer is asked whether it is alive before it is used. Less
/// than a crashed server needs to come back: what is tried again then must not meet an old one.
const FRESH_FOR: Duration = Duration::from_millis(20);

/// One pool of connections at a time. It is given up with all of them when another server takes
/// writes: one that was replaced may still answer, and would show the past for the present.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    servers: Servers,
    connections_max: u32,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug)]
struct Held {
    place: Place,
    pool: PgPool,
}

impl Pool {
    /// Connects to nothing yet.
    pub fn new(servers: Servers, connections_max: u32) -> Self {
        Self { servers, connections_max, held: Arc::default() }
    }

    /// The most connections it holds.
    pub fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// Pool of the server that takes writes now.
    ///
    /// # Errors
    /// There is none.
    pub fn current(&self) -> Result<PgPool, LogError> {
        let place = self.servers.place()?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.place == place) {
            return Ok(held.pool.clone());
        }
        let pool = self.make(place);
        *held = Some(Held { place, pool: pool.clone() });
        Ok(pool)
    }

    fn make(&self, place: Place) -> PgPool {
        let servers = self.servers.clone();
        PgPoolOptions::new()
            .max_connections(self.connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // One that was in use just now is alive; a ping would double the time of a short
            // statement.
            .test_before_acquire(false)
            .before_acquire(|connection, of| {
                Box::pin(async move {
                    let is_fresh = of.idle_for < FRESH_FOR;
                    Ok(is_fresh || connection.ping().await.is_ok())
                })
            })
            .after_connect(move |connection, _| {
                let servers = servers.clone();
                Box::pin(async move { servers.check(connection).await })
            })
            // Every statement finds its rows by an index whatever the values are, and to plan a
            // long one anew each time costs more than to carry it out.
            .connect_lazy_with(
                self.servers.options(place).options([("plan_cache_mode", "force_generic_plan")]),
            )
    }

    /// Closes its connections.
    pub async fn close(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(held) = held {
            held.pool.close().await;
        }
    }
}
