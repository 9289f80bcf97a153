//! Waiting for the database's answers, with a bound.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::LogError;

/// Time that an answer may take, connecting included. A server that hangs keeps its connections
/// open, and nothing else notices.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The answer to a statement that commits nothing, or nothing that matters.
///
/// # Errors
/// The driver's, or no answer in time.
pub(crate) async fn answer<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogError> {
    let silent = |_| sqlx::Error::Io(ErrorKind::TimedOut.into());
    let answer = timeout(ANSWER_MAX, statement).await.map_err(silent);
    answer.flatten().map_err(LogError::from_sqlx)
}
