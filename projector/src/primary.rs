//! One connection to the read primary, for those who need a session rather than a pool.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config, Error, NoTls};

/// A connection that ends when this is dropped.
pub struct PrimaryConnection {
    client: Client,
    driver: JoinHandle<()>,
}

impl PrimaryConnection {
    /// Connects to the primary, a server that takes writes; which one that is, `Servers` of the log
    /// finds out.
    ///
    /// # Errors
    /// The URL is wrong, or it cannot be reached within 5 seconds, or it is a standby.
    pub async fn open(url: &str, application: &str) -> Result<Self, Error> {
        let mut config: Config = url.parse()?;
        config
            .application_name(application)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(Duration::from_secs(5))
            // A server that became unreachable without a word is noticed within about 10 seconds.
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        let (client, connection) = config.connect(NoTls).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the read database broke");
            }
        });
        Ok(Self { client, driver })
    }
}

impl Deref for PrimaryConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PrimaryConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for PrimaryConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
