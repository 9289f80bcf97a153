//! Hints that something was appended. A hint can be lost or late; whoever waits for one also polls.

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;

use crate::EventLog;
use crate::error::LogError;

const CHANNEL: &str = "headwater_log";
/// Pause after a failed hint; the feed's polling covers it meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// A hint that takes longer is late anyway.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Receives the hints of every process that appends.
pub struct Wakeups {
    listener: PgListener,
}

impl Wakeups {
    /// Waits for the next hint.
    ///
    /// # Errors
    /// The connection was lost; start anew with [`EventLog::wakeups`].
    pub async fn next(&mut self) -> Result<(), LogError> {
        match self.listener.try_recv().await.map_err(LogError::from_sqlx)? {
            Some(_) => Ok(()),
            None => Err(LogError::Unavailable(sqlx::Error::PoolClosed)),
        }
    }
}

/// Rest after a hint. Each one is a transaction and wakes every listener: under load one at the end
/// of this time does for all that was appended meanwhile.
const REST: Duration = Duration::from_millis(5);

/// Sends hints, outside of the append's transaction: NOTIFY holds a lock of the whole database
/// server during its commit, which would serialise the commits of all partitions. Hints that come
/// while one is being sent are sent as one.
#[derive(Clone)]
pub struct Notifier {
    pending: Arc<Notify>,
}

impl Notifier {
    /// Something was appended. Never blocks.
    pub fn hint(&self) {
        self.pending.notify_one();
    }
}

impl EventLog {
    /// Starts to listen.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn wakeups(&self) -> Result<Wakeups, LogError> {
        // A pool of its own with one connection: the listener keeps it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(self.options.clone())
            .await
            .map_err(LogError::from_sqlx)?;
        let mut listener = PgListener::connect_with(&pool).await.map_err(LogError::from_sqlx)?;
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await.map_err(LogError::from_sqlx)?;
        Ok(Wakeups { listener })
    }

    /// A notifier, whose task ends when the last clone of it is dropped or the runtime stops.
    pub fn notifier(&self) -> Notifier {
        let pending = Arc::new(Notify::new());
        // A hint needs no durability: its commit waits for no disk.
        let options = self.options.clone().options([("synchronous_commit", "off")]);
        tokio::spawn(send_hints(options, Arc::downgrade(&pending)));
        Notifier { pending }
    }
}

async fn send_hints(options: PgConnectOptions, pending: std::sync::Weak<Notify>) {
    let mut connection: Option<PgConnection> = None;
    while let Some(notify) = pending.upgrade() {
        // Waking up now and then notices that nobody is left to send for.
        if tokio::time::timeout(Duration::from_secs(5), notify.notified()).await.is_err() {
            continue;
        }
        // Bounded: a server that hangs would keep every later hint from a working one.
        let sent = tokio::time::timeout(SEND_MAX, send_hint(&options, &mut connection)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a hint was not sent; polling covers it");
            connection = None;
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn send_hint(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(options.connect().await?),
    };
    connection.execute("NOTIFY headwater_log").await?;
    Ok(())
}
