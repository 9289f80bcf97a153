//! `headwater start-epoch`: after the write database was restored to an earlier state, or failed
//! over to a copy that lacked its last events. See docs/recovery.md.

use anyhow::Context;
use clap::Args;
use headwater_eventlog::EventLog;
use headwater_projector::rebuild::History;

use crate::migrate::{Owners, rebuild};

/// Connections of the databases' owner. Stop the command services before.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    owners: Owners,
    /// Empty the views and leave it to the projector to fill them, where the read primary has no
    /// room for a second set of them: until that is done queries show a state that grows.
    #[arg(long)]
    empty: bool,
}

/// Runs the command. The epoch first: should the second step fail, the projector refuses to mix the
/// old views with the new epoch, and the command can be run again.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Options { owners: Owners { write_owner_url, read_owner_url }, empty } = options;
    let log = EventLog::start_epoch(&write_owner_url)
        .await
        .context("the epoch was not raised; nothing was changed")?;
    println!(
        "log {} is in epoch {}; earlier tokens count up to where it ends now",
        log.id, log.epoch.0
    );
    let projections = (crate::domain::domain().projections)();
    if empty {
        headwater_projector::migrate::empty(&read_owner_url, &projections)
            .await
            .context("the epoch was raised, but the views were not emptied; run this again")?;
        println!("the views are empty; the projector fills them again from the log");
        return Ok(());
    }
    rebuild(&write_owner_url, &read_owner_url, &projections, History::Any)
        .await
        .context("the epoch was raised, but not all views were made again; run this again")?;
    println!("the views were made again from the log; the projector goes on from there");
    Ok(())
}
