//! Appending batches of commands.

use std::io::ErrorKind;
use std::time::Duration;

use headwater_kernel::{Epoch, Partition, Position, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::EventLog;
use crate::answer::answer;
use crate::error::LogError;
use crate::servers::{Place, Servers};

mod columns;
mod command;

use columns::Columns;
pub use command::{Command, Fact, FactKind, Key, Outcome, Receipt};

/// The most events one append may hold, so that a reader can take in a whole one and the head row
/// is never held for long: 1,024 events take about 10 ms.
pub const EVENTS_PER_BATCH_MAX: usize = 1_024;

/// Appends to the log over a connection of its own; one per partition and process, since more
/// contend for the head row without gaining anything.
pub struct Appender {
    log: EventLog,
    partition: Partition,
    /// The epoch that this appends in. It refuses to append in another one, and learns that one.
    epoch: Epoch,
    session: Option<Session>,
    /// The session in which a commit of unknown outcome was under way, until it is known to have
    /// ended.
    suspect: Option<Backend>,
}

struct Session {
    connection: PgConnection,
    place: Place,
    backend: Backend,
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

impl EventLog {
    /// An appender for a partition. Connects at its first use.
    pub fn appender(&self, partition: Partition) -> Appender {
        let epoch = self.lineage().epoch();
        Appender { log: self.clone(), partition, epoch, session: None, suspect: None }
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
    /// events. Answers one outcome a command, in their order.
    ///
    /// # Errors
    /// On every error but [`LogError::OutcomeUnknown`] nothing of the batch was committed; after
    /// that one, [`Appender::resolve`] finds out. After [`LogError::NewEpoch`] the appender is in
    /// the new one.
    pub async fn append(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, LogError> {
        let columns = Columns::of(commands);
        let (partition, epoch) = (self.partition, self.epoch);
        let servers = self.servers().clone();
        let session = self.session().await?;
        let query = sqlx::query(include_str!("../sql/append_call.sql"));
        let query = columns.bind(query, partition, epoch);
        let unknown = |kind: ErrorKind| LogError::OutcomeUnknown(sqlx::Error::Io(kind.into()));
        let reply = tokio::select! {
            row = query.fetch_one(&mut session.connection) => row.map_err(LogError::from_commit),
            () = tokio::time::sleep(REPLY_TIMEOUT) => Err(unknown(ErrorKind::TimedOut)),
            // Another server was promoted: this one's answer may never come, and if it did, it
            // would be worth nothing.
            () = servers.moved(session.place) => Err(unknown(ErrorKind::ConnectionAborted)),
        };
        if matches!(reply, Err(LogError::NewEpoch)) {
            self.follow().await?;
        }
        let row = reply.map_err(|error| self.failed(error))?;
        outcomes(&row, commands, (partition, epoch)).map_err(LogError::from_sqlx)
    }

    /// Learns the log's epoch; begins it, if the database has been promoted.
    async fn follow(&mut self) -> Result<(), LogError> {
        let log = self.log.clone();
        let session = self.session().await?;
        let followed = log.follow_over(&mut session.connection).await;
        self.epoch = followed.map_err(|error| self.failed(error))?.epoch();
        Ok(())
    }

    /// After an unknown outcome: makes sure that the transaction is over, then looks its commands
    /// up, and makes sure that standbys have what was found. Answers the receipt of each one that
    /// was committed.
    ///
    /// # Errors
    /// The database cannot be reached; try again.
    pub async fn resolve(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Option<Receipt>>, LogError> {
        self.fence().await?;
        // Also because a standby, which may not have got the commit yet, cannot do this.
        self.follow().await?;
        let partition = self.partition;
        let session = self.session().await?;
        let first = |c: &Command| (!c.events.is_empty()).then_some(c.expected.0 as i64 + 1);
        let query = sqlx::query(include_str!("../sql/find_commands.sql"))
            .bind(commands.iter().map(|c| c.stream.0).collect::<Vec<_>>())
            .bind(commands.iter().map(first).collect::<Vec<_>>())
            .bind(commands.iter().map(|c| c.command_id).collect::<Vec<_>>())
            .bind(commands.iter().map(|c| c.key.map(|k| k.key)).collect::<Vec<_>>());
        let looked_up = async {
            let rows = query.fetch_all(&mut session.connection).await;
            let rows = rows.map_err(LogError::from_sqlx)?;
            let replicated = sqlx::query(include_str!("../sql/replicated.sql"));
            answer(replicated.execute(&mut session.connection)).await?;
            Ok(rows)
        };
        let rows = looked_up.await.map_err(|error| self.failed(error))?;
        let found = |(row, command): (&PgRow, &Command)| found(row, command, partition);
        rows.iter().zip(commands).map(found).collect::<Result<_, _>>().map_err(LogError::from_sqlx)
    }

    async fn session(&mut self) -> Result<&mut Session, LogError> {
        let session = match self.session.take().filter(|held| self.log.servers.is_at(held.place)) {
            Some(session) => session,
            None => connect(&self.log.servers).await?,
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

    /// Ends the server process whose commit is in doubt, and waits until it is gone: from then on
    /// what can be read is final. Roles may end processes of their own. On a server that has been
    /// promoted since there is none: what it has not got by now it never will.
    async fn fence(&mut self) -> Result<(), LogError> {
        let Some(backend) = self.suspect.clone() else { return Ok(()) };
        let session = self.session().await?;
        // Bounded: 100 looks, 50 ms apart.
        for _ in 0..100 {
            let gone = sqlx::query_scalar::<_, bool>(include_str!("../sql/fence.sql"))
                .bind(backend.pid)
                .bind(backend.started)
                .fetch_one(&mut session.connection)
                .await;
            match gone {
                Ok(true) => {
                    self.suspect = None;
                    return Ok(());
                }
                Ok(false) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(self.failed(LogError::from_sqlx(error))),
            }
        }
        Err(LogError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}

async fn connect(servers: &Servers) -> Result<Session, LogError> {
    let bounded = [("statement_timeout", STATEMENT_TIMEOUT)];
    let (mut connection, place) = servers.connect(|options| options.options(bounded)).await?;
    let sql = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let row = answer(sqlx::query(sql).fetch_one(&mut connection)).await?;
    let pid = row.try_get("pid").map_err(LogError::from_sqlx)?;
    let started = row.try_get("backend_start").map_err(LogError::from_sqlx)?;
    Ok(Session { connection, place, backend: Backend { pid, started } })
}

fn found(
    row: &PgRow,
    command: &Command,
    partition: Partition,
) -> Result<Option<Receipt>, sqlx::Error> {
    let Some(first) = row.try_get::<Option<i64>, _>("position")? else { return Ok(None) };
    let count = command.events.len() as u64;
    let epoch: i32 = row.try_get("epoch")?;
    Ok(Some(Receipt {
        stream: command.stream,
        partition,
        epoch: Epoch(epoch.unsigned_abs()),
        position: Position(first.unsigned_abs() + count.saturating_sub(1)),
        version: command.expected.plus(count),
        recorded_at: row.try_get("recorded_at")?,
    }))
}

/// Reads the function's answer; see append.sql.
fn outcomes(
    row: &PgRow,
    commands: &[Command],
    (partition, epoch): (Partition, Epoch),
) -> Result<Vec<Outcome>, sqlx::Error> {
    let recorded_at = time_of(row.try_get("recorded")?)?;
    let Some(codes) = row.try_get::<Option<Vec<i16>>, _>("outcomes")? else {
        let mut position = Position(row.try_get::<i64, _>("first")?.unsigned_abs());
        return Ok(commands
            .iter()
            .map(|command| {
                let count = command.events.len() as u64;
                position = position.plus(count);
                let version = command.expected.plus(count);
                let stream = command.stream;
                Outcome::Committed(Receipt {
                    stream,
                    partition,
                    position,
                    epoch,
                    version,
                    recorded_at,
                })
            })
            .collect());
    };
    let versions: Vec<i64> = row.try_get("versions")?;
    let positions: Vec<i64> = row.try_get("positions")?;
    let streams: Vec<Option<Uuid>> = row.try_get("receipt_streams")?;
    let partitions: Vec<Option<i16>> = row.try_get("receipt_partitions")?;
    let recorded: Vec<Option<i64>> = row.try_get("receipt_recorded")?;
    let facts: Vec<Option<i32>> = row.try_get("facts")?;
    let mut facts_before = 0;
    let mut all = Vec::with_capacity(commands.len());
    for (i, command) in commands.iter().enumerate() {
        let receipt = Receipt {
            stream: streams[i].map_or(command.stream, StreamId),
            partition: partitions[i].map_or(partition, |p| Partition(p.unsigned_abs())),
            // Also of a key found again: its position is in the log as it is now.
            epoch,
            position: Position(positions[i].unsigned_abs()),
            version: StreamVersion(versions[i].unsigned_abs()),
            recorded_at: recorded[i].map_or(Ok(recorded_at), time_of)?,
        };
        all.push(match codes[i] {
            0 => Outcome::Committed(receipt),
            1 => Outcome::VersionConflict(receipt.version),
            2 => Outcome::Replayed(receipt),
            3 => Outcome::KeyReused,
            4 => {
                let number = facts[i].unwrap_or(1).unsigned_abs() as usize;
                Outcome::FactFailed(number - 1 - facts_before)
            }
            code => return Err(sqlx::Error::Decode(format!("unknown outcome {code}").into())),
        });
        facts_before += command.facts.len();
    }
    Ok(all)
}

fn time_of(micros: i64) -> Result<OffsetDateTime, sqlx::Error> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .map_err(|error| sqlx::Error::Decode(error.into()))
}
