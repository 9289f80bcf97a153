//! One connection to a read database, for those who need a session rather than a pool; opened with
//! the flag that says what it may do.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use headwater_kernel::Access;
use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connection that ends when it is dropped.
pub struct ReadDatabase {
    client: Client,
    driver: JoinHandle<()>,
}

impl ReadDatabase {
    /// Connects to the server with this URL. Read-write takes none but the primary, which `Servers`
    /// of the log finds; read-only takes any server, where Postgres then refuses every write.
    ///
    /// # Errors
    /// The URL is wrong, or it cannot be reached within 5 seconds, or it is a standby and should be
    /// written.
    pub async fn open(access: Access, url: &str, application: &str) -> Result<Self, Error> {
        let mut config: Config = url.parse()?;
        match access {
            Access::ReadWrite => config.target_session_attrs(TargetSessionAttrs::ReadWrite),
            Access::ReadOnly => {
                let own = config.get_options().unwrap_or_default().to_owned();
                config.options(format!("{own} -c default_transaction_read_only=on"))
            }
        };
        config
            .application_name(application)
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

impl Deref for ReadDatabase {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for ReadDatabase {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for ReadDatabase {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
