//! The log in Postgres, edition 2: what programs of the last release do to a write database, kept
//! as it was at a1d0a90, so that tests can run them beside those of this one. Not to be changed.
//!
//! The invariants, all kept by the append holding its partition's head row: positions of a
//! partition are 1..head without gaps, in commit order; versions of a stream likewise; and the
//! head's digest is a hash chain over everything before it.

mod answer;
mod append;
mod decode;
mod end;
mod epochs;
mod error;
mod feed;
mod load;
mod pool;
mod schema;
mod servers;
mod wakeups;

pub use append::{Appender, Command, EVENTS_PER_BATCH_MAX, Fact, FactKind, Key, Outcome, Receipt};
pub use end::LogEnd;
pub use epochs::History;
pub use error::LogError;
pub use feed::{Chunk, Head, Heads};
pub use load::{Loaded, SavedSnapshot};
pub use schema::{LogInfo, SCHEMA_VERSION};
pub use servers::{NoPrimary, Place, Servers};
pub use wakeups::{Notifier, Wakeups};

use std::sync::{Arc, RwLock};

use headwater_kernel::Lineage;
use pool::Pool;

/// The log of one write database.
#[derive(Clone, Debug)]
pub struct EventLog {
    servers: Servers,
    pool: Pool,
    info: LogInfo,
    /// Shared by all clones: what one of them learns, all know.
    lineage: Arc<RwLock<Arc<Lineage>>>,
}

impl EventLog {
    /// Connects and checks that the schema is the one this program was written for. Never migrates.
    /// Of several servers in the URL the one that takes writes is used, and a failover followed.
    ///
    /// # Errors
    /// The database cannot be reached, or its schema is missing or of another version.
    pub async fn connect(url: &str, connections_max: u32) -> Result<Self, LogError> {
        Self::open(&LogError::of_url(Servers::parse(url))?, connections_max).await
    }

    /// The same, on servers that are known already, whatever was learned of them included.
    ///
    /// # Errors
    /// Those of [`EventLog::connect`].
    pub async fn open(servers: &Servers, connections_max: u32) -> Result<Self, LogError> {
        servers.find().await?;
        let pool = Pool::new(servers.clone(), connections_max);
        let info = schema::check(&pool.current()?).await?;
        let lineage = Arc::new(Lineage::new(info.id, info.epoch, Vec::new()));
        let lineage = Arc::new(RwLock::new(lineage));
        Ok(Self { servers: servers.clone(), pool, info, lineage })
    }

    /// The servers it is on.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Identity and shape of the log, as they were when this connected.
    pub fn info(&self) -> LogInfo {
        self.info
    }

    /// Creates the schema `headwater_log` with `partitions` partitions, or brings an older one up
    /// to date. Needs the owner's rights. Does nothing but grant again if all is there.
    ///
    /// # Errors
    /// The database cannot be reached, the schema is newer than this program, or it has another
    /// number of partitions, which is fixed for ever.
    pub async fn migrate(url: &str, partitions: u16) -> Result<LogInfo, LogError> {
        schema::migrate(url, partitions).await
    }

    /// Starts a new epoch after the database was restored to an earlier state: tokens handed out
    /// before count from now on up to where the log ends now, and are refused beyond, since they
    /// prove events that are gone. Needs the owner's rights.
    ///
    /// # Errors
    /// The database cannot be reached, has no log, or command services are connected to it.
    pub async fn start_epoch(url: &str) -> Result<LogInfo, LogError> {
        schema::start_epoch(url).await
    }

    /// Closes the pool's connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
