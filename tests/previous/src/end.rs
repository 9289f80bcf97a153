//! The end of the log: what a reader who wants everything must have seen.

use headwater_kernel::{Epoch, LogId, Position, Token};
use sqlx::Row as _;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::EventLog;
use crate::answer::answer;
use crate::error::LogError;

/// End of the log at one moment, and the log's identity. Unlike [`EventLog::info`] this is read
/// anew each time, so that a restore under a running program is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Proves all that was committed.
    pub token: Token,
    /// The epochs that the log's history went through, the token's among them.
    pub epochs: Vec<Epoch>,
    /// The write database's time at that moment.
    pub now: OffsetDateTime,
}

impl EventLog {
    /// The end of the log, as the primary knows it.
    ///
    /// # Errors
    /// The database cannot be reached; or it is a standby, which may lack the newest events, or was
    /// promoted a moment ago, and the new epoch has not begun.
    pub async fn end(&self) -> Result<LogEnd, LogError> {
        let query = sqlx::query(include_str!("../sql/end.sql"));
        let rows = answer(query.fetch_all(&self.pool.current()?)).await?;
        let Some(first) = rows.first() else {
            return Err(LogError::standby());
        };
        let id: Uuid = first.try_get("id").map_err(LogError::from_sqlx)?;
        let epoch: i32 = first.try_get("epoch").map_err(LogError::from_sqlx)?;
        let epochs: Option<Vec<i32>> = first.try_get("epochs").map_err(LogError::from_sqlx)?;
        let epochs = epochs.unwrap_or_default().into_iter().map(|e| Epoch(e.unsigned_abs()));
        let now = first.try_get("read_at").map_err(LogError::from_sqlx)?;
        let positions = rows
            .iter()
            .map(|row| row.try_get::<i64, _>("position").map(|p| Position(p.unsigned_abs())));
        let positions: Vec<Position> =
            positions.collect::<Result<_, _>>().map_err(LogError::from_sqlx)?;
        let token = Token::of_positions(LogId(id), Epoch(epoch.unsigned_abs()), &positions);
        Ok(LogEnd { token, epochs: epochs.collect(), now })
    }
}
