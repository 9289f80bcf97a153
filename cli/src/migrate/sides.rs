//! The check which database is which, before anything is made in them: with the URLs swapped, a
//! migration would succeed and make a second, empty log.

use std::time::Duration;

use anyhow::{Context as _, bail};
use headwater_eventlog::Servers;
use tokio_postgres::{Config, NoTls};

const CONNECT: Duration = Duration::from_secs(5);

/// A database, and what it holds already.
struct Database {
    /// Tells it from every other one.
    name: String,
    has_log: bool,
    has_views: bool,
}

/// Refuses two databases that hold what belongs into the other one.
pub(super) async fn check(write_url: &str, read_url: &str) -> anyhow::Result<()> {
    let write = look(write_url).await.context("cannot look into the write database")?;
    let read = look(read_url).await.context("cannot look into the read database")?;
    match misplaced(&write, &read) {
        Some(what) => bail!(
            "{what}; nothing was changed. Are --write-owner-url and --read-owner-url swapped?"
        ),
        None => Ok(()),
    }
}

/// Says what is where it does not belong. In single-database mode both are one.
fn misplaced(write: &Database, read: &Database) -> Option<&'static str> {
    if write.name == read.name {
        return None;
    }
    match (write, read) {
        (Database { has_views: true, has_log: false, .. }, _) => {
            Some("the write database holds views (headwater_read) and no log")
        }
        (_, Database { has_log: true, .. }) => {
            Some("the read database is another one and holds a log (headwater_log)")
        }
        _ => None,
    }
}

async fn look(url: &str) -> anyhow::Result<Database> {
    let servers = Servers::parse(url).map_err(anyhow::Error::msg)?;
    let place = servers.find().await?;
    let mut config: Config = servers.url(place).parse()?;
    config.connect_timeout(CONNECT).application_name("headwater-migrate");
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(connection);
    let row = client.query_one(include_str!("../../sql/what_it_holds.sql"), &[]).await?;
    drop(client);
    // How it ended does not matter: the answer is there.
    let _ = driver.await;
    Ok(Database { name: row.try_get(0)?, has_log: row.try_get(1)?, has_views: row.try_get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_holds_what_is_its_own() {
        let of = |name: &str, [has_log, has_views]: [bool; 2]| {
            let name = name.to_owned();
            Database { name, has_log, has_views }
        };
        // What the write and the read database hold (log, views), and whether they are taken.
        let table = [
            ([false, false], [false, false], true),
            ([true, false], [false, false], true),
            ([true, false], [false, true], true),
            // Single-database mode that is given up.
            ([true, true], [false, false], true),
            ([false, true], [true, false], false),
            ([false, true], [false, false], false),
            ([false, false], [true, false], false),
            ([true, false], [true, false], false),
        ];
        for (write, read, taken) in table {
            let found = misplaced(&of("write", write), &of("read", read));
            assert_eq!(found.is_none(), taken, "{write:?} {read:?}");
        }
        for both in [[false, false], [true, true], [false, true], [true, false]] {
            assert_eq!(misplaced(&of("one", both), &of("one", both)), None);
        }
    }
}
