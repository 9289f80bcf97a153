//! `headwater migrate`: brings both databases to the version of this build. Also what `up` does by
//! itself.
//!
//! Each side's schema belongs to the crate that writes it; this is the one place that calls them.

use anyhow::Context;
use clap::Args;

/// Connections of the databases' owner. Servers never migrate; a deployment runs this once before
/// them.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    owners: Owners,
    /// Partitions of the log; fixed when it is created.
    #[arg(long, env = "HEADWATER_PARTITIONS", default_value_t = 1)]
    partitions: u16,
}

/// Connection URLs of the databases' owners.
#[derive(Args)]
pub struct Owners {
    /// The write database, as its owner: postgres://owner:…@host/database.
    #[arg(long, env = "HEADWATER_WRITE_OWNER_URL", hide_env_values = true)]
    pub write_owner_url: String,
    /// The read database, as its owner; the same as the write database's in single-database mode.
    #[arg(long, env = "HEADWATER_READ_OWNER_URL", hide_env_values = true)]
    pub read_owner_url: String,
}

/// Runs the command.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Options { owners: Owners { write_owner_url, read_owner_url }, partitions } = options;
    let log = both(&write_owner_url, &read_owner_url, partitions).await?;
    println!("migrated: {log}");
    Ok(())
}

/// Migrates the log first: the views' checkpoint names the log that they come from.
pub async fn both(write_url: &str, read_url: &str, partitions: u16) -> anyhow::Result<String> {
    let log = the_log(write_url, partitions).await.context("cannot migrate the write database")?;
    the_views(read_url).await.context("cannot migrate the read database")?;
    Ok(log)
}

async fn the_log(url: &str, partitions: u16) -> anyhow::Result<String> {
    let info = headwater_eventlog::EventLog::migrate(url, partitions).await?;
    Ok(format!("log {} with {} partition(s), epoch {}", info.id.0, info.partitions, info.epoch.0))
}

async fn the_views(url: &str) -> anyhow::Result<()> {
    let projections = (crate::domain::domain().projections)();
    headwater_projector::migrate::migrate(url, &projections).await?;
    Ok(())
}
