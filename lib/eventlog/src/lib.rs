//! The log in Postgres: its schema, appends, loads and the feed.
//!
//! The invariants, all kept by the append holding its partition's lock: positions of a
//! partition are 1..head without gaps, in commit order; versions of a stream likewise; and the
//! head's digest is a hash chain over everything before it.

mod answer;
mod append;
mod boundary;
mod decode;
mod end;
mod epochs;
mod error;
mod feed;
mod holdings;
mod load;
mod pool;
mod schema;
mod servers;
mod snapshots;
mod wakeups;

pub use append::{
    Appender, BatchFacts, Boundary, Command, EVENTS_PER_BATCH_MAX, Fact, FactKind, Key,
    NAME_BYTES_MAX, Outcome, Part, Receipt,
};
pub use boundary::{BoundaryRead, BoundaryStep};
pub use end::LogEnd;
pub use epochs::History;
pub use error::LogError;
pub use feed::{Chunk, Head, Heads};
pub use holdings::{DIFFERENCES_MAX, HoldingDifference, HoldingsReport};
pub use load::{LoadEnd, LoadFrom, LoadMax, LoadStep, Loaded, LoadedRow};
pub use schema::{EDITION, EDITION_MIN, Edition, LogInfo};
pub use servers::{APPLICATION_NAME, NoPrimary, Place, Servers};
pub use snapshots::SavedSnapshot;
pub use wakeups::{Notifier, Wakeups};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_kernel::Lineage;
use pool::Pool;

/// The log of one write database.
#[derive(Clone, Debug)]
pub struct EventLog {
    servers: Servers,
    pool: Pool,
    info: LogInfo,
    /// As it was when it was looked at last: a migration may be finished while programs run.
    edition: Arc<RwLock<Edition>>,
    /// True once operators have been told that the schema has no tags yet.
    is_told: Arc<AtomicBool>,
    /// Shared by all clones: what one of them learns, all know.
    lineage: Arc<RwLock<Arc<Lineage>>>,
}

impl EventLog {
    /// Connects and checks that the schema is one that this program can use. Never migrates.
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
        let edition = Arc::new(RwLock::new(info.edition));
        let is_told = Arc::default();
        Ok(Self { servers: servers.clone(), pool, info, edition, is_told, lineage })
    }

    /// The servers it is on.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Connections it holds at most, beside those of appenders.
    pub fn connections_max(&self) -> u32 {
        self.pool.connections_max()
    }

    /// Identity and shape of the log, as they were when this connected.
    pub fn info(&self) -> LogInfo {
        self.info
    }

    /// The edition of the schema, as far as this program knows.
    pub(crate) fn edition(&self) -> Edition {
        *self.edition.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn learn_edition(&self, edition: Edition) {
        *self.edition.write().unwrap_or_else(PoisonError::into_inner) = edition;
    }

    /// After an error of a statement for this edition of the schema: the one that it is of by now,
    /// by which to try once more, if the log was migrated and what the statement needs went with
    /// that.
    ///
    /// # Errors
    /// This error, if not; or the schema cannot be looked at.
    pub(crate) async fn migrated_since(
        &self,
        used: Edition,
        error: LogError,
    ) -> Result<Edition, LogError> {
        let LogError::Schema(what) = error else { return Err(error) };
        self.edition_after(used).await?.ok_or(LogError::Schema(what))
    }

    /// Looks at the schema again: its edition, if it is not this one any more.
    async fn edition_after(&self, used: Edition) -> Result<Option<Edition>, LogError> {
        let now = schema::check(&self.pool.current()?).await?.edition;
        self.learn_edition(now);
        Ok((now != used).then_some(now))
    }

    /// Looks whether the schema has tags, and warns if not, once.
    ///
    /// # Errors
    /// It has none, or the database cannot be reached.
    pub(crate) async fn check_tags(&self) -> Result<(), LogError> {
        let is_old = self.edition() == Edition::Old;
        if !is_old || self.edition_after(Edition::Old).await?.is_some() {
            return Ok(());
        }
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the log has not been migrated: decisions across aggregates, and events with tags, \
                 are refused until `headwater migrate` has been run"
            );
        }
        Err(LogError::Unmigrated)
    }

    /// Creates the schema `headwater_log` with `partitions` partitions, or adds to an older one
    /// what this program needs; programs of the edition before go on with it until
    /// [`EventLog::finish_migration`]. Needs the owner's rights. Does nothing but grant again if
    /// all is there.
    ///
    /// # Errors
    /// The database cannot be reached, the schema is newer than this program, or it has another
    /// number of partitions, which is fixed for ever.
    pub async fn migrate(url: &str, partitions: u16) -> Result<LogInfo, LogError> {
        schema::migrate(url, partitions).await
    }

    /// Finishes a migration once every program is of this edition: takes away what only older ones
    /// use. Commands go on meanwhile, but for a moment at the end. Needs the owner's rights, and
    /// room for a copy of the events.
    ///
    /// # Errors
    /// The database cannot be reached, has not been migrated, or older programs are connected to
    /// it.
    pub async fn finish_migration(url: &str) -> Result<LogInfo, LogError> {
        schema::finish(url).await
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
