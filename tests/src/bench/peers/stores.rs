//! Event stores.

use super::client::Client;
use super::programs::program;
use super::server::{Server, free_address};

/// UmaDB on a new folder on the disk: its server with its default options, and a client that
/// appends conditionally, so many events at a time.
///
/// # Errors
/// It has not been built, or does not start.
pub async fn umadb(events: usize) -> anyhow::Result<(Server, Client)> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let file = folder.path().join("uma.db").display().to_string();
    let args = ["--listen", &address.to_string(), "--db-path", &file].map(str::to_owned);
    let server = Server::start(&program("release/umadb-server")?, &args, address, folder).await?;
    let args = [format!("http://{address}"), events.to_string()];
    let client = Client::start(&program("release/umadb-load")?, &args).await?;
    Ok((server, client))
}

/// cqrs-es with postgres-es on a database.
///
/// # Errors
/// It has not been built, or does not start.
pub async fn cqrs_es(url: &str) -> anyhow::Result<Client> {
    Client::start(&program("release/cqrs-es-load")?, &[url.to_owned()]).await
}
