//! `headwater start-epoch`: after the write database was restored to an earlier state, or failed
//! over to a copy that lacked its last events. See docs/recovery.md.

use anyhow::Context;
use clap::Args;

use crate::migrate::Owners;

/// Connections of the databases' owner. Stop the command services before.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    owners: Owners,
}

/// Runs the command. The epoch first: should the second step fail, the projector refuses to mix the
/// old views with the new epoch, and the command can be run again.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Owners { write_owner_url, read_owner_url } = options.owners;
    let log = headwater_eventlog::EventLog::start_epoch(&write_owner_url)
        .await
        .context("the epoch was not raised; nothing was changed")?;
    let projections = (crate::domain::domain().projections)();
    headwater_projector::migrate::empty(&read_owner_url, &projections)
        .await
        .context("the epoch was raised, but the views were not emptied; run this again")?;
    println!(
        "log {} is in epoch {}; earlier tokens count up to where it ends now",
        log.id, log.epoch.0
    );
    println!("the views are empty; the projector fills them again from the log");
    Ok(())
}
