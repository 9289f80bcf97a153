//! The index of the events' keys on a log that programs append to.

use sqlx::postgres::PgConnection;

use super::execute;
use crate::error::LogError;

/// It waits for whoever has a snapshot of the database, such as a dump. A bound on that, which the
/// role or the database may set, would only make it begin anew.
const PATIENT: &str = "SET statement_timeout = 0; SET lock_timeout = 0";
/// Nobody uses an unfinished one, so nobody is kept waiting.
const DROP: &str = "DROP INDEX CONCURRENTLY headwater_log.event_key";

/// Builds it outside of a transaction, while others append. One that an interrupted migration has
/// left unfinished is made anew.
pub(super) async fn build(connection: &mut PgConnection) -> Result<(), LogError> {
    execute(connection, PATIENT).await?;
    let is_valid: Option<bool> =
        sqlx::query_scalar(include_str!("../../sql/key_index_is_valid_3.sql"))
            .fetch_optional(&mut *connection)
            .await
            .map_err(LogError::from_sqlx)?;
    match is_valid {
        Some(true) => return Ok(()),
        Some(false) => execute(connection, DROP).await?,
        None => {}
    }
    tracing::info!("the index of keys is built; commands go on, long transactions hold it up");
    execute(connection, include_str!("../../sql/key_index_3.sql")).await
}
