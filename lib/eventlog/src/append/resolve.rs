//! What became of a batch whose commit broke.

use std::time::Duration;

use headwater_kernel::{Epoch, Partition, Position, StreamId, StreamVersion};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::command::{Command, Outcome, Receipt};
use super::{Appender, Session};
use crate::answer::answer;
use crate::error::LogError;
use crate::schema::Edition;

impl Appender {
    /// After an unknown outcome: makes sure that the transaction is over, then looks its commands
    /// up, and makes sure that standbys have what was found. Answers the outcome of each one that
    /// is known: committed; or replayed or its key reused, if the key is an earlier command's. One
    /// that is not known was not committed, and may try again.
    ///
    /// # Errors
    /// The database cannot be reached; try again.
    pub async fn resolve(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Option<Outcome>>, LogError> {
        self.fence().await?;
        // Also because a standby, which may not have got the commit yet, cannot do this.
        self.follow().await?;
        let partition = self.partition;
        let session = self.session().await?;
        let rows = look_up(session, commands).await.map_err(|error| self.failed(error))?;
        let found = |(row, command): (&PgRow, &Command)| found(row, command, partition);
        rows.iter().zip(commands).map(found).collect::<Result<_, _>>().map_err(LogError::from_sqlx)
    }

    /// Ends the server process whose commit is in doubt, and waits until it is gone: from then on
    /// what can be read is final. Roles may end processes of their own. On a server that has been
    /// promoted since there is none: what it has not got by now it never will.
    async fn fence(&mut self) -> Result<(), LogError> {
        let Some(backend) = self.suspect.clone() else { return Ok(()) };
        let session = self.session().await?;
        // Bounded: 100 looks, 50 ms apart.
        for _ in 0..100 {
            let query = sqlx::query_scalar::<_, bool>(include_str!("../../sql/fence.sql"))
                .bind(backend.pid)
                .bind(backend.started);
            match answer(query.fetch_one(&mut session.connection)).await {
                Ok(true) => {
                    self.suspect = None;
                    return Ok(());
                }
                Ok(false) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(LogError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }
}

async fn look_up(session: &mut Session, commands: &[Command]) -> Result<Vec<PgRow>, LogError> {
    let is_old = session.edition == Edition::Old;
    let first = |c: &Command| {
        let last = c.last_part();
        (last.events > 0).then_some(last.expected.0 as i64 + 1)
    };
    let key = |c: &Command| c.key.map(|k| if is_old { k.old_key } else { k.key });
    let sql = if is_old {
        include_str!("../../sql/find_commands_2.sql")
    } else {
        include_str!("../../sql/find_commands_3.sql")
    };
    let query = sqlx::query(sql)
        .bind(commands.iter().map(|c| c.last_part().stream.0).collect::<Vec<_>>())
        .bind(commands.iter().map(first).collect::<Vec<_>>())
        .bind(commands.iter().map(|c| c.command_id).collect::<Vec<_>>())
        .bind(commands.iter().map(key).collect::<Vec<_>>());
    let rows = answer(query.fetch_all(&mut session.connection)).await?;
    let replicated = sqlx::query(include_str!("../../sql/replicated.sql"));
    answer(replicated.execute(&mut session.connection)).await?;
    Ok(rows)
}

/// Reads a row of find_commands_2.sql or find_commands_3.sql.
fn found(
    row: &PgRow,
    command: &Command,
    partition: Partition,
) -> Result<Option<Outcome>, sqlx::Error> {
    let epoch = Epoch(row.try_get::<i32, _>("epoch")?.unsigned_abs());
    if let Some(first) = row.try_get::<Option<i64>, _>("position")? {
        let last = command.last_part();
        let count = last.events as u64;
        return Ok(Some(Outcome::Committed(Receipt {
            stream: last.stream,
            partition,
            epoch,
            position: Position(first.unsigned_abs() + count.saturating_sub(1)),
            version: last.expected.plus(count),
            recorded_at: row.try_get("recorded_at")?,
        })));
    }
    let stream = row.try_get::<Option<Uuid>, _>("receipt_stream")?;
    let (Some(key), Some(stream)) = (command.key, stream) else { return Ok(None) };
    let receipt = Receipt {
        stream: StreamId(stream),
        partition: Partition(row.try_get::<i32, _>("receipt_partition")?.unsigned_abs() as u16),
        epoch,
        position: Position(row.try_get::<i64, _>("receipt_position")?.unsigned_abs()),
        version: StreamVersion(row.try_get::<i64, _>("receipt_version")?.unsigned_abs()),
        recorded_at: row.try_get("receipt_recorded_at")?,
    };
    if row.try_get::<Uuid, _>("payload")? != key.payload {
        return Ok(Some(Outcome::KeyReused));
    }
    let is_own = match row.try_get::<Option<Uuid>, _>("receipt_command")? {
        Some(id) => id == command.command_id,
        // Receipts of edition 2 do not name their command. One that stores no receipt, or has
        // events that are not there, has not made this one; of what changes nothing it may have
        // been another attempt, which found the same version and did the same.
        None => {
            key.store
                && command.events.is_empty()
                && (receipt.stream, receipt.version) == (command.stream, command.expected)
        }
    };
    Ok(Some(if is_own { Outcome::Committed(receipt) } else { Outcome::Replayed(receipt) }))
}
