//! Hints that something was appended. A hint can be lost or late; whoever waits for one also polls.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::Notify;

use crate::EventLog;
use crate::error::LogError;
use crate::servers::{Place, Servers};

const CHANNEL: &str = "headwater_log";
/// Pause after a failed hint; the feed's polling covers it meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// A hint that takes longer is late anyway.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Receives the hints of every process that appends.
pub struct Wakeups {
    listener: PgListener,
    servers: Servers,
    place: Place,
}

impl Wakeups {
    /// Waits for the next hint.
    ///
    /// # Errors
    /// The connection was lost; start anew with [`EventLog::wakeups`].
    pub async fn next(&mut self) -> Result<(), LogError> {
        let hint = tokio::select! {
            hint = self.listener.try_recv() => hint.map_err(LogError::from_sqlx)?,
            // Nobody appends where it listens any more.
            () = self.servers.moved(self.place) => None,
        };
        hint.map(drop).ok_or(LogError::Unavailable(sqlx::Error::PoolClosed))
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
        let place = self.servers.find().await?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(self.servers.options(place))
            .await
            .map_err(LogError::from_sqlx)?;
        let mut listener = PgListener::connect_with(&pool).await.map_err(LogError::from_sqlx)?;
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await.map_err(LogError::from_sqlx)?;
        Ok(Wakeups { listener, servers: self.servers.clone(), place })
    }

    /// A notifier, whose task ends when the last clone of it is dropped or the runtime stops.
    pub fn notifier(&self) -> Notifier {
        let pending = Arc::new(Notify::new());
        tokio::spawn(send_hints(self.servers.clone(), Arc::downgrade(&pending)));
        Notifier { pending }
    }
}

async fn send_hints(servers: Servers, pending: std::sync::Weak<Notify>) {
    let mut held: Option<(PgConnection, Place)> = None;
    while let Some(notify) = pending.upgrade() {
        // Waking up now and then notices that nobody is left to send for.
        if tokio::time::timeout(Duration::from_secs(5), notify.notified()).await.is_err() {
            continue;
        }
        // Bounded: a server that hangs would keep every later hint from a working one.
        let sent = tokio::time::timeout(SEND_MAX, send_hint(&servers, &mut held)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("a hint was not sent; polling covers it");
            held = None;
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn send_hint(
    servers: &Servers,
    held: &mut Option<(PgConnection, Place)>,
) -> Result<(), LogError> {
    held.take_if(|(_, place)| !servers.is_at(*place));
    let (connection, _) = match held {
        Some(held) => held,
        // A hint needs no durability: its commit waits for no disk.
        None => {
            let lax = [("synchronous_commit", "off")];
            held.insert(servers.connect(|options| options.options(lax)).await?)
        }
    };
    connection.execute("NOTIFY headwater_log").await.map_err(LogError::from_sqlx)?;
    Ok(())
}
