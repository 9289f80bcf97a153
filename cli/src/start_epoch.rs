//! `headwater start-epoch`: after the write database was restored to an earlier state, or failed
//! over to a copy that lacked its last events. See docs/recovery.md.

use anyhow::Context;
use clap::Args;

/// Connections of the databases' owner. Stop the command services before.
#[derive(Args)]
pub struct Options {
    /// The write database, as its owner: postgres://owner:…@host/database.
    #[arg(long, env = "HEADWATER_WRITE_OWNER_URL", hide_env_values = true)]
    pub write_owner_url: String,
    /// The read database, as its owner; the same as the write database's in single-database mode.
    #[arg(long, env = "HEADWATER_READ_OWNER_URL", hide_env_values = true)]
    pub read_owner_url: String,
}

/// Runs the command. The epoch first: should the second step fail, the projector refuses to mix the
/// old views with the new epoch, and the command can be run again.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Options { write_owner_url, read_owner_url } = options;
    let log = headwater_eventlog::EventLog::start_epoch(&write_owner_url)
        .await
        .context("the epoch was not raised; nothing was changed")?;
    let projections = headwater_query_svc::views::projections();
    headwater_query_svc::migrate::empty(&read_owner_url, &projections)
        .await
        .context("the epoch was raised, but the views were not emptied; run this again")?;
    println!("log {} is in epoch {}; tokens of earlier epochs are refused", log.id, log.epoch.0);
    println!("the views are empty; the projector fills them again from the log");
    Ok(())
}
