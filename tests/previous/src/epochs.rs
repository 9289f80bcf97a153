//! The epochs of a log: which ones its history went through, and whether it is the one that
//! somebody has read.

use std::sync::{Arc, PoisonError};

use headwater_kernel::{Digest, Epoch, EpochStart, Lineage, LogId, Partition, Position};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::answer::answer;
use crate::error::LogError;
use crate::feed::digest_of;
use crate::{EventLog, decode};

const LINEAGE: &str = include_str!("../sql/lineage.sql");

/// Contents of the log at given positions, in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The epoch that the log was in.
    pub epoch: Epoch,
    /// The chained digest at each partition's position; `None` where no append ends.
    pub digests: Vec<Option<Digest>>,
}

impl EventLog {
    /// The epochs of the log, as far as this program knows. Nothing is asked: before an append, or
    /// [`EventLog::read_lineage`], it knows the current one only.
    pub fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(&self.lineage.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epochs of the log; known from now on.
    ///
    /// # Errors
    /// The database cannot be reached, or is a standby, which may not have got the newest one.
    pub async fn read_lineage(&self) -> Result<Arc<Lineage>, LogError> {
        self.learn(&answer(sqlx::query(LINEAGE).fetch_all(&self.pool.current()?)).await?)
    }

    /// Begins a new epoch if the database has been promoted since the last one began, so that
    /// readers follow although nobody appends; answers the epochs.
    ///
    /// # Errors
    /// The database cannot be reached, or is a standby.
    pub async fn follow_epoch(&self) -> Result<Arc<Lineage>, LogError> {
        let mut connection = answer(self.pool.current()?.acquire()).await?;
        self.follow_over(&mut connection).await
    }

    pub(crate) async fn follow_over(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Arc<Lineage>, LogError> {
        let before = self.lineage().epoch();
        let query = sqlx::query(include_str!("../sql/follow_epoch.sql"));
        answer(query.execute(&mut *connection)).await?;
        let lineage = self.learn(&answer(sqlx::query(LINEAGE).fetch_all(connection)).await?)?;
        if lineage.epoch() != before {
            let (before, epoch) = (before.0, lineage.epoch().0);
            tracing::info!(before, epoch, "the log is in a new epoch");
        }
        Ok(lineage)
    }

    fn learn(&self, rows: &[PgRow]) -> Result<Arc<Lineage>, LogError> {
        let lineage = Arc::new(lineage(rows)?);
        let mut known = self.lineage.write().unwrap_or_else(PoisonError::into_inner);
        // Of two that overtook each other the older one changes nothing.
        if known.epoch() == lineage.epoch() || !known.passed(lineage.epoch()) {
            *known = Arc::clone(&lineage);
        }
        Ok(lineage)
    }

    /// The digests of the log at one position of each partition, from partition 0: with that of
    /// whoever has read up to there it is the history that he has read, or it is not.
    ///
    /// # Errors
    /// The database cannot be reached, or is a standby.
    pub async fn history_at(&self, positions: &[Position]) -> Result<History, LogError> {
        let query = sqlx::query(include_str!("../sql/history_at.sql"))
            .bind(positions.iter().map(|p| p.0 as i64).collect::<Vec<_>>());
        let rows = answer(query.fetch_all(&self.pool.current()?)).await?;
        let epoch = decode::epoch(rows.first().ok_or_else(LogError::standby)?)?;
        let mut digests = Vec::with_capacity(rows.len());
        for (index, (row, position)) in rows.iter().zip(positions).enumerate() {
            let digest: Option<&[u8]> = row.try_get("digest").map_err(LogError::from_sqlx)?;
            let partition = Partition(index as u16);
            digests.push(match (position, digest) {
                (Position(0), _) => Some(Digest::EMPTY),
                (_, None) => None,
                (_, Some(digest)) => Some(digest_of(digest, partition, *position)?),
            });
        }
        Ok(History { epoch, digests })
    }
}

fn lineage(rows: &[PgRow]) -> Result<Lineage, LogError> {
    let first = rows.first().ok_or_else(LogError::standby)?;
    let id: Uuid = first.try_get("id").map_err(LogError::from_sqlx)?;
    let current: i32 = first.try_get("current").map_err(LogError::from_sqlx)?;
    let mut starts = Vec::with_capacity(rows.len());
    for row in rows {
        let positions: Option<Vec<i64>> = row.try_get("positions").map_err(LogError::from_sqlx)?;
        // None where nothing is stored of how the epochs began.
        let Some(positions) = positions else { continue };
        let positions = positions.into_iter().map(|p| Position(p.unsigned_abs())).collect();
        starts.push(EpochStart { epoch: decode::epoch(row)?, positions });
    }
    Ok(Lineage::new(LogId(id), Epoch(current.unsigned_abs()), starts))
}
