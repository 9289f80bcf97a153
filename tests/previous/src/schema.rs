//! Creating and checking the schema.

use headwater_kernel::ids::PARTITIONS_MAX;
use headwater_kernel::{Epoch, LogId};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::error::LogError;
use crate::servers::Servers;

/// Version of the schema that this program reads and writes.
pub const SCHEMA_VERSION: i32 = 2;

/// Identity and shape of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Id of the log.
    pub id: LogId,
    /// Raised by a failover, and by a restore.
    pub epoch: Epoch,
    /// Number of its partitions.
    pub partitions: u16,
}

/// Serialises migrations of the log; any number that nothing else uses.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7237421061)";
const EXISTS: &str = "SELECT to_regclass('headwater_log.log') IS NOT NULL";
/// Each step leads from the version of its place, counted from 1, to the next one.
const STEPS: [&str; SCHEMA_VERSION as usize - 1] = [include_str!("../sql/schema_2.sql")];
const FUNCTIONS_AND_GRANTS: [&str; 3] = [
    include_str!("../sql/epochs.sql"),
    include_str!("../sql/append.sql"),
    include_str!("../sql/grants.sql"),
];
const INFO: &str = include_str!("../sql/info.sql");

pub(crate) async fn check(pool: &PgPool) -> Result<LogInfo, LogError> {
    let mut connection = pool.acquire().await.map_err(LogError::from_sqlx)?;
    info(&mut connection).await
}

async fn info(connection: &mut PgConnection) -> Result<LogInfo, LogError> {
    let row = sqlx::query(INFO).fetch_optional(connection).await.map_err(LogError::from_sqlx)?;
    let row =
        row.ok_or_else(|| LogError::Schema("it is empty; run `headwater migrate`".to_owned()))?;
    read_info(&row)
}

fn read_info(row: &sqlx::postgres::PgRow) -> Result<LogInfo, LogError> {
    let version: i32 = row.try_get("schema_version").map_err(LogError::from_sqlx)?;
    if version != SCHEMA_VERSION {
        return Err(LogError::Schema(format!(
            "it has version {version}, this program needs {SCHEMA_VERSION}; {}",
            if version < SCHEMA_VERSION {
                "run `headwater migrate`"
            } else {
                "upgrade the program"
            },
        )));
    }
    let id: Uuid = row.try_get("id").map_err(LogError::from_sqlx)?;
    let epoch: i32 = row.try_get("epoch").map_err(LogError::from_sqlx)?;
    let partitions: i16 = row.try_get("partitions").map_err(LogError::from_sqlx)?;
    Ok(LogInfo {
        id: LogId(id),
        epoch: Epoch(epoch.unsigned_abs()),
        partitions: partitions.unsigned_abs(),
    })
}

pub(crate) async fn migrate(url: &str, partitions: u16) -> Result<LogInfo, LogError> {
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        return Err(LogError::Schema(format!(
            "a log has 1 to {PARTITIONS_MAX} partitions, not {partitions}"
        )));
    }
    let mut connection = owner(url).await?;
    let mut transaction = connection.begin().await.map_err(LogError::from_sqlx)?;
    let info = migrate_in(&mut transaction, partitions).await?;
    transaction.commit().await.map_err(LogError::from_sqlx)?;
    connection.close().await.map_err(LogError::from_sqlx)?;
    Ok(info)
}

async fn owner(url: &str) -> Result<PgConnection, LogError> {
    let servers = LogError::of_url(Servers::parse(url))?;
    Ok(servers.connect(|options| options).await?.0)
}

async fn migrate_in(connection: &mut PgConnection, partitions: u16) -> Result<LogInfo, LogError> {
    sqlx::query(MIGRATION_LOCK).execute(&mut *connection).await.map_err(LogError::from_sqlx)?;
    let exists: bool = sqlx::query_scalar(EXISTS)
        .fetch_one(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    if !exists {
        create(connection, partitions).await?;
    }
    upgrade(connection).await?;
    for script in FUNCTIONS_AND_GRANTS {
        sqlx::raw_sql(script).execute(&mut *connection).await.map_err(LogError::from_sqlx)?;
    }
    let row = sqlx::query(INFO).fetch_one(&mut *connection).await.map_err(LogError::from_sqlx)?;
    let info = read_info(&row)?;
    if info.partitions != partitions {
        return Err(LogError::Schema(format!(
            "this log was created with {} partitions, which is fixed for ever; {partitions} were asked for",
            info.partitions
        )));
    }
    Ok(info)
}

async fn create(connection: &mut PgConnection, partitions: u16) -> Result<(), LogError> {
    sqlx::raw_sql(include_str!("../sql/schema_1.sql"))
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    sqlx::query(include_str!("../sql/create_log.sql"))
        .bind(Uuid::new_v4())
        .bind(partitions as i16)
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    sqlx::query(include_str!("../sql/create_heads.sql"))
        .bind(i32::from(partitions))
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    Ok(())
}

/// Brings a log of an older version up to date, step by step. One of a newer version stays as it is
/// and is refused afterwards.
async fn upgrade(connection: &mut PgConnection) -> Result<(), LogError> {
    let row = sqlx::query(INFO).fetch_one(&mut *connection).await.map_err(LogError::from_sqlx)?;
    let found: i32 = row.try_get("schema_version").map_err(LogError::from_sqlx)?;
    for step in STEPS.iter().skip(usize::try_from(found - 1).unwrap_or_default()) {
        sqlx::raw_sql(*step).execute(&mut *connection).await.map_err(LogError::from_sqlx)?;
    }
    Ok(())
}

pub(crate) async fn start_epoch(url: &str) -> Result<LogInfo, LogError> {
    let mut connection = owner(url).await?;
    let mut transaction = connection.begin().await.map_err(LogError::from_sqlx)?;
    let info = start_epoch_in(&mut transaction).await?;
    transaction.commit().await.map_err(LogError::from_sqlx)?;
    connection.close().await.map_err(LogError::from_sqlx)?;
    Ok(info)
}

async fn start_epoch_in(connection: &mut PgConnection) -> Result<LogInfo, LogError> {
    let appending: i64 = sqlx::query_scalar(include_str!("../sql/appending.sql"))
        .fetch_one(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    if appending > 0 {
        return Err(LogError::Schema(format!(
            "{appending} sessions of command services are connected to it, which would go on \
             handing out tokens of the old epoch; stop command-svc first"
        )));
    }
    info(&mut *connection).await?;
    sqlx::query(include_str!("../sql/start_epoch.sql"))
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    info(connection).await
}
