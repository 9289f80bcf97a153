//! The schema: which editions of it this program can use, and how it is created and migrated.

mod key_index;
mod migrate;

use headwater_kernel::{Epoch, LogId};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use uuid::Uuid;

use crate::answer::answer;
use crate::error::LogError;

pub(crate) use migrate::{finish, migrate, owner, start_epoch};

/// The newest edition of the schema that this program uses, and the one that it migrates to.
pub const EDITION: i32 = 3;
/// The oldest one that it uses: while a deployment is upgraded, its programs run on the old schema.
pub const EDITION_MIN: i32 = 2;

/// Identity and shape of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Id of the log.
    pub id: LogId,
    /// Raised by a failover, and by a restore.
    pub epoch: Epoch,
    /// Number of its partitions.
    pub partitions: u16,
    /// Edition of its schema.
    pub edition: Edition,
}

/// Which programs a log's schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// Edition 2: a newer program uses it as one of that edition does.
    Old,
    /// Both: migrated, while programs of edition 2 may still run.
    Both,
    /// Edition 3: the migration is finished.
    Finished,
}

const INFO: &str = include_str!("../sql/info.sql");

/// The log's identity, if this program can use its schema.
pub(crate) async fn check(pool: &PgPool) -> Result<LogInfo, LogError> {
    let mut connection = answer(pool.acquire()).await?;
    info(&mut connection).await
}

/// The same, over one connection.
pub(crate) async fn info(connection: &mut PgConnection) -> Result<LogInfo, LogError> {
    let row = answer(sqlx::query(INFO).fetch_optional(connection)).await?;
    let row =
        row.ok_or_else(|| LogError::Schema("it is empty; run `headwater migrate`".to_owned()))?;
    let (oldest, newest) = editions(&row).map_err(LogError::from_sqlx)?;
    let edition = edition(oldest, newest).map_err(LogError::Schema)?;
    let id: Uuid = row.try_get("id").map_err(LogError::from_sqlx)?;
    let epoch: i32 = row.try_get("epoch").map_err(LogError::from_sqlx)?;
    let partitions: i16 = row.try_get("partitions").map_err(LogError::from_sqlx)?;
    Ok(LogInfo {
        id: LogId(id),
        epoch: Epoch(epoch.unsigned_abs()),
        partitions: partitions.unsigned_abs(),
        edition,
    })
}

/// Runs statements without parameters.
async fn execute(connection: &mut PgConnection, script: &'static str) -> Result<(), LogError> {
    sqlx::raw_sql(script).execute(connection).await.map_err(LogError::from_sqlx)?;
    Ok(())
}

/// The oldest edition whose programs may use the log, and the newest one.
fn editions(row: &PgRow) -> Result<(i32, i32), sqlx::Error> {
    Ok((row.try_get("schema_version")?, row.try_get("edition")?))
}

fn edition(oldest: i32, newest: i32) -> Result<Edition, String> {
    let uses = format!("this program uses {EDITION_MIN} to {EDITION}");
    if newest < EDITION_MIN {
        return Err(format!("it is of edition {newest}, {uses}; run `headwater migrate`"));
    }
    if oldest > EDITION {
        return Err(format!("it is of edition {oldest}, {uses}; upgrade the program"));
    }
    Ok(match (oldest >= EDITION, newest >= EDITION) {
        (true, _) => Edition::Finished,
        (false, true) => Edition::Both,
        (false, false) => Edition::Old,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_uses_a_range_of_editions() {
        assert_eq!(edition(2, 2), Ok(Edition::Old));
        assert_eq!(edition(2, 3), Ok(Edition::Both));
        assert_eq!(edition(3, 3), Ok(Edition::Finished));
        // A later migration, not finished: this program may go on.
        assert_eq!(edition(3, 4), Ok(Edition::Finished));
        assert_eq!(edition(2, 4), Ok(Edition::Both));
        let error = edition(1, 1).expect_err("too old");
        assert!(error.contains("headwater migrate"), "{error}");
        let error = edition(4, 4).expect_err("too new");
        assert!(error.contains("upgrade the program"), "{error}");
    }
}
