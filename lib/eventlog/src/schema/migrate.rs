//! Creating the schema, and bringing an older one up to date in two steps: what newer programs need
//! is added while older ones go on, and once those are gone, what only they use is taken away.

use std::time::Duration;

use headwater_kernel::ids::PARTITIONS_MAX;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{Edition, LogInfo, execute, info, key_index};
use crate::error::LogError;
use crate::servers::{PREVIOUS_NAME, Servers};

/// Serialises migrations of the log; any number that nothing else uses.
const MIGRATION_LOCK: &str = "SELECT pg_try_advisory_lock(7237421061)";
/// Time between two looks whether another migration is over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Whoever waits for a table that a dump reads makes everybody wait behind it, appends too: rather
/// the migration fails, and is tried again.
const LOCKS_SOON: &str = "SET LOCAL lock_timeout = '2s'";
const EXISTS: &str = "SELECT to_regclass('headwater_log.log') IS NOT NULL";
const EDITION_NOW: &str = include_str!("../../sql/edition.sql");
/// Each step leads from the edition of its place, counted from 1, to the next one.
const STEPS: [&str; 2] =
    [include_str!("../../sql/schema_2.sql"), include_str!("../../sql/schema_3.sql")];
const KEY_COLUMNS: &str = include_str!("../../sql/key_columns_3.sql");
const PREPARE: &str = include_str!("../../sql/prepare_3.sql");
const FINISH: &str = include_str!("../../sql/finish_3.sql");
const FUNCTIONS_AND_GRANTS: [&str; 5] = [
    include_str!("../../sql/epochs.sql"),
    include_str!("../../sql/append_3.sql"),
    include_str!("../../sql/append_3_parts.sql"),
    include_str!("../../sql/receipts.sql"),
    include_str!("../../sql/grants.sql"),
];
/// Events that one statement copies.
const EVENTS_PER_COPY: i64 = 50_000;

/// Adds what programs of this edition need; those of the one before go on.
pub(crate) async fn migrate(url: &str, partitions: u16) -> Result<LogInfo, LogError> {
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        return Err(LogError::Schema(format!(
            "a log has 1 to {PARTITIONS_MAX} partitions, not {partitions}"
        )));
    }
    let mut connection = owner(url).await?;
    take_turn(&mut connection).await?;
    add_keys(&mut connection).await?;
    let mut transaction = connection.begin().await.map_err(LogError::from_sqlx)?;
    let info = migrate_in(&mut transaction, partitions).await?;
    transaction.commit().await.map_err(LogError::from_sqlx)?;
    connection.close().await.map_err(LogError::from_sqlx)?;
    Ok(info)
}

pub(crate) async fn owner(url: &str) -> Result<PgConnection, LogError> {
    let servers = LogError::of_url(Servers::parse(url))?;
    Ok(servers.connect(|options| options).await?.0)
}

/// Waits until no other migration is under way. A statement that waits would not do: an index that
/// the other one builds waits for the end of all statements.
async fn take_turn(connection: &mut PgConnection) -> Result<(), LogError> {
    while !sqlx::query_scalar::<_, bool>(MIGRATION_LOCK)
        .fetch_one(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?
    {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn exists(connection: &mut PgConnection) -> Result<bool, LogError> {
    sqlx::query_scalar(EXISTS).fetch_one(connection).await.map_err(LogError::from_sqlx)
}

async fn edition_now(connection: &mut PgConnection) -> Result<i32, LogError> {
    sqlx::query_scalar(EDITION_NOW).fetch_one(connection).await.map_err(LogError::from_sqlx)
}

/// The columns of a key and their index, on a log that programs of the edition before append to.
/// Nobody uses either until the log says that it is of this edition, which it does afterwards.
async fn add_keys(connection: &mut PgConnection) -> Result<(), LogError> {
    if !exists(connection).await? || edition_now(connection).await? != super::EDITION_MIN {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(LogError::from_sqlx)?;
    execute(&mut transaction, LOCKS_SOON).await?;
    execute(&mut transaction, KEY_COLUMNS).await?;
    transaction.commit().await.map_err(LogError::from_sqlx)?;
    key_index::build(connection).await
}

async fn migrate_in(connection: &mut PgConnection, partitions: u16) -> Result<LogInfo, LogError> {
    execute(connection, LOCKS_SOON).await?;
    if !exists(connection).await? {
        create(connection, partitions).await?;
    }
    let found = edition_now(connection).await?;
    // No program that goes on with it can be there: it is new, or too old.
    let is_alone = found < super::EDITION_MIN;
    // A newer one stays as it is: this program may use it, and must not put its own functions back.
    let is_newer = found > super::EDITION;
    for step in STEPS.iter().skip(usize::try_from(found - 1).unwrap_or_default()) {
        execute(connection, step).await?;
    }
    if is_alone {
        execute(connection, KEY_COLUMNS).await?;
    }
    if !is_newer {
        functions_and_grants(connection).await?;
    }
    if is_alone {
        execute(connection, PREPARE).await?;
        finish_in(connection, partitions).await?;
    }
    let info = info(&mut *connection).await?;
    if info.partitions != partitions {
        return Err(LogError::Schema(format!(
            "this log was created with {} partitions, which is fixed for ever; {partitions} were asked for",
            info.partitions
        )));
    }
    Ok(info)
}

async fn functions_and_grants(connection: &mut PgConnection) -> Result<(), LogError> {
    for script in FUNCTIONS_AND_GRANTS {
        execute(connection, script).await?;
    }
    Ok(())
}

async fn create(connection: &mut PgConnection, partitions: u16) -> Result<(), LogError> {
    execute(connection, include_str!("../../sql/schema_1.sql")).await?;
    sqlx::query(include_str!("../../sql/create_log.sql"))
        .bind(Uuid::new_v4())
        .bind(partitions as i16)
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    sqlx::query(include_str!("../../sql/create_heads.sql"))
        .bind(i32::from(partitions))
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    Ok(())
}

/// Takes away what only programs of the edition before use. The events are copied into a table of
/// the new shape while others append, and the rest of them while nobody does: for a moment.
///
/// # Errors
/// The database cannot be reached, has not been migrated, or programs of the edition before are
/// connected to it.
pub(crate) async fn finish(url: &str) -> Result<LogInfo, LogError> {
    let mut connection = owner(url).await?;
    take_turn(&mut connection).await?;
    let found = info(&mut connection).await?;
    match found.edition {
        Edition::Finished => return Ok(found),
        Edition::Old => {
            let what = "it has not been migrated; run `headwater migrate` first";
            return Err(LogError::Schema(what.to_owned()));
        }
        Edition::Both => {}
    }
    nobody_is_older(&mut connection).await?;
    execute(&mut connection, PREPARE).await?;
    copy_events(&mut connection, found.partitions).await?;
    let mut transaction = connection.begin().await.map_err(LogError::from_sqlx)?;
    nobody_is_older(&mut transaction).await?;
    finish_in(&mut transaction, found.partitions).await?;
    let info = info(&mut transaction).await?;
    transaction.commit().await.map_err(LogError::from_sqlx)?;
    connection.close().await.map_err(LogError::from_sqlx)?;
    Ok(info)
}

async fn finish_in(connection: &mut PgConnection, partitions: u16) -> Result<(), LogError> {
    execute(connection, LOCKS_SOON).await?;
    execute(connection, "SELECT headwater_log.stop_appends()").await?;
    copy_events(connection, partitions).await?;
    execute(connection, FINISH).await?;
    functions_and_grants(connection).await
}

async fn copy_events(connection: &mut PgConnection, partitions: u16) -> Result<(), LogError> {
    for partition in 0..i32::from(partitions) {
        loop {
            let copied: i64 = sqlx::query_scalar(include_str!("../../sql/copy_events_3.sql"))
                .bind(partition)
                .bind(EVENTS_PER_COPY)
                .fetch_one(&mut *connection)
                .await
                .map_err(LogError::from_sqlx)?;
            tracing::info!(partition, copied, "events copied");
            if copied < EVENTS_PER_COPY {
                break;
            }
        }
    }
    Ok(())
}

/// Programs tell their edition by the name that they connect with.
async fn nobody_is_older(connection: &mut PgConnection) -> Result<(), LogError> {
    let older: i64 = sqlx::query_scalar(include_str!("../../sql/older_programs.sql"))
        .bind(PREVIOUS_NAME)
        .fetch_one(connection)
        .await
        .map_err(LogError::from_sqlx)?;
    if older > 0 {
        return Err(LogError::Schema(format!(
            "{older} sessions of programs of edition 2 are connected to it; upgrade those programs \
             first"
        )));
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
    let appending: i64 = sqlx::query_scalar(include_str!("../../sql/appending.sql"))
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
    sqlx::query(include_str!("../../sql/start_epoch.sql"))
        .execute(&mut *connection)
        .await
        .map_err(LogError::from_sqlx)?;
    info(connection).await
}
