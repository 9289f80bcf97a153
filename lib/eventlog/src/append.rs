//! Appending batches of commands.

use std::io::ErrorKind;
use std::time::Duration;

use headwater_kernel::{Epoch, Partition};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;

use crate::EventLog;
use crate::answer::answer;
use crate::error::LogError;
use crate::schema::{self, Edition};
use crate::servers::{Place, Servers};

mod chains;
mod command;
mod edition_2;
mod edition_3;
mod facts;
mod news;
mod resolve;
mod seen;
mod stored;

pub(crate) use edition_3::ItemRecord;

pub use command::{Boundary, Command, Fact, FactKind, Key, Outcome, Part, Receipt};
pub use facts::BatchFacts;

/// The most events one append may hold, so that a reader can take in a whole one and the partition
/// is never locked for long: 1,024 events take about 10 ms.
pub const EVENTS_PER_BATCH_MAX: usize = 1_024;

/// Batches that are looked at first after one with a conflict: where every batch has one, one in 21
/// is inserted in vain.
const WARY: u32 = 20;

/// Length of the value of a claim or the name of a mark; a longer one, or one with a NUL, is
/// refused with the whole batch.
pub const NAME_BYTES_MAX: usize = 400;

/// Appends to the log over a connection of its own; one per partition and process, since more
/// contend for the partition's lock without gaining anything.
pub struct Appender {
    log: EventLog,
    partition: Partition,
    /// The epoch that this appends in. It refuses to append in another one, and learns that one.
    epoch: Epoch,
    session: Option<Session>,
    /// The session in which a commit of unknown outcome was under way, until it is known to have
    /// ended.
    suspect: Option<Backend>,
    /// Batches that are looked at before they are inserted, since conflicts were met just now.
    wary: u32,
    /// How much of the partition it has seen; none before its first batch in this epoch.
    seen: Option<seen::Seen>,
}

struct Session {
    connection: PgConnection,
    place: Place,
    backend: Backend,
    edition: Edition,
}

/// A server process, named so that a reused process id is not mistaken for it.
#[derive(Clone, Debug)]
struct Backend {
    pid: i32,
    started: OffsetDateTime,
}

/// No append takes longer; the server gives up by itself before this side does.
const STATEMENT_TIMEOUT: &str = "10s";
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// Options of the session. The statements of the append are planned once, maybe while the tables
/// are still empty: the plans are kept, and kept on the indexes.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", STATEMENT_TIMEOUT),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

impl EventLog {
    /// An appender for a partition. Connects at its first use.
    pub fn appender(&self, partition: Partition) -> Appender {
        let epoch = self.lineage().epoch();
        let log = self.clone();
        Appender { log, partition, epoch, session: None, suspect: None, wary: 0, seen: None }
    }
}

impl Appender {
    /// The servers it appends to.
    pub fn servers(&self) -> &Servers {
        self.log.servers()
    }

    /// The epoch that the next batch will be of, and by whose history it has to be decided.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Appends a batch in one round trip and one transaction: at most [`EVENTS_PER_BATCH_MAX`]
    /// events, of commands whose facts do not depend on each other's ([`BatchFacts`]). Answers one
    /// outcome a command, in their order.
    ///
    /// # Errors
    /// On every error but [`LogError::OutcomeUnknown`] nothing of the batch was committed; after
    /// that one, [`Appender::resolve`] finds out. After [`LogError::NewEpoch`] the appender is in
    /// the new one, after [`LogError::Migrated`] it uses the schema as it is now.
    pub async fn append(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, LogError> {
        if facts::depend_on_each_other(commands.iter().map(|command| command.facts.as_slice())) {
            let what = "the facts of a batch depend on each other";
            return Err(LogError::Refused(sqlx::Error::Encode(what.into())));
        }
        let (partition, epoch) = (self.partition, self.epoch);
        let is_calm = self.wary == 0;
        let servers = self.servers().clone();
        let session = self.session().await?;
        let edition = session.edition;
        let tagged = |command: &Command| command.events.iter().any(|event| !event.tags.is_empty());
        let needs_3 = |command: &Command| command.boundary.is_some() || tagged(command);
        if edition == Edition::Old && commands.iter().any(needs_3) {
            self.log.check_tags().await?;
            return Err(self.unless_migrated(edition, LogError::Unmigrated).await);
        }
        let query = if edition == Edition::Old {
            let query = sqlx::query(include_str!("../sql/append_2_call.sql"));
            edition_2::Columns::of(commands).bind(query, partition, epoch)
        } else {
            let query = sqlx::query(include_str!("../sql/append_3_call.sql"));
            edition_3::Batch::of(commands).bind(query, (partition, epoch, edition), is_calm)
        };
        let unknown = |kind: ErrorKind| LogError::OutcomeUnknown(sqlx::Error::Io(kind.into()));
        let reply = tokio::select! {
            row = query.fetch_one(&mut session.connection) => row.map_err(LogError::from_commit),
            () = tokio::time::sleep(REPLY_TIMEOUT) => Err(unknown(ErrorKind::TimedOut)),
            // Another server was promoted: this one's answer may never come, and if it did, it
            // would be worth nothing.
            () = servers.moved(session.place) => Err(unknown(ErrorKind::ConnectionAborted)),
        };
        match reply {
            Ok(row) => {
                let place = (partition, epoch);
                let outcomes = match edition {
                    Edition::Old => edition_2::outcomes(&row, commands, place),
                    Edition::Both | Edition::Finished => edition_3::outcomes(&row, commands, place),
                };
                // It is committed, whatever is wrong with the answer.
                let outcomes = outcomes.map_err(|e| self.failed(LogError::OutcomeUnknown(e)))?;
                let came_too_late = outcomes.iter().any(Outcome::came_too_late);
                self.wary = if came_too_late { WARY } else { self.wary.saturating_sub(1) };
                self.appended(commands, &outcomes);
                Ok(outcomes)
            }
            Err(error @ LogError::NewEpoch) => {
                self.follow().await?;
                Err(error)
            }
            // While a migration is finished, what the statement uses goes from under it, and the
            // database says so in many ways.
            Err(error @ LogError::Refused(_)) if edition == Edition::Finished => Err(error),
            Err(error @ (LogError::Migrated | LogError::Schema(_) | LogError::Refused(_))) => {
                Err(self.unless_migrated(edition, error).await)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The error of an attempt on a schema of this edition, unless it has another one by now, which
    /// the next attempt uses.
    async fn unless_migrated(&mut self, edition: Edition, error: LogError) -> LogError {
        self.session = None;
        match self.session().await {
            Ok(session) if session.edition == edition => error,
            Ok(_) => LogError::Migrated,
            Err(error) => error,
        }
    }

    /// True if this epoch is the one it appends in, or one that came before that.
    pub fn knows(&self, epoch: Epoch) -> bool {
        let lineage = self.log.lineage();
        epoch == self.epoch || lineage.until(self.epoch).is_some_and(|past| past.passed(epoch))
    }

    /// Learns the log's epoch, in which it appends from then on; begins it, if the database has
    /// been promoted.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn follow(&mut self) -> Result<(), LogError> {
        let log = self.log.clone();
        let session = self.session().await?;
        let followed = log.follow_over(&mut session.connection).await;
        self.epoch = followed.map_err(|error| self.failed(error))?.epoch();
        self.seen = None;
        Ok(())
    }

    async fn session(&mut self) -> Result<&mut Session, LogError> {
        let session = match self.session.take().filter(|held| self.log.servers.is_at(held.place)) {
            Some(session) => session,
            None => connect(&self.log).await?,
        };
        Ok(self.session.insert(session))
    }

    /// Drops the session after an error that may have broken it.
    fn failed(&mut self, error: LogError) -> LogError {
        if matches!(error, LogError::Unavailable(_) | LogError::OutcomeUnknown(_)) {
            let session = self.session.take();
            if matches!(error, LogError::OutcomeUnknown(_)) {
                self.suspect = session.map(|session| session.backend);
            }
        }
        error
    }
}

async fn connect(log: &EventLog) -> Result<Session, LogError> {
    let (mut connection, place) = log.servers.connect(|options| options.options(SESSION)).await?;
    let edition = schema::info(&mut connection).await?.edition;
    log.learn_edition(edition);
    let sql = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let row = answer(sqlx::query(sql).fetch_one(&mut connection)).await?;
    let pid = row.try_get("pid").map_err(LogError::from_sqlx)?;
    let started = row.try_get("backend_start").map_err(LogError::from_sqlx)?;
    Ok(Session { connection, place, backend: Backend { pid, started }, edition })
}
