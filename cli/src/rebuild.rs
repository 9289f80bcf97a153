//! `headwater rebuild claims`: makes claims and marks what the events say, after a defect set them
//! wrongly, or for streams that were there before the domain had a new mark.

use clap::{Args, Subcommand};
use headwater_eventlog::EventLog;

use crate::verify::{Claims, streams, tell_differences};

/// `headwater rebuild …`.
#[derive(Args)]
pub struct Options {
    /// Data to make anew.
    #[command(subcommand)]
    what: What,
}

/// Data that can be made anew.
#[derive(Subcommand)]
pub enum What {
    /// Claims and marks. Commands go on, but for a moment at the end.
    Claims(Claims),
}

/// Makes it anew, and prints what changed.
///
/// # Errors
/// The log cannot be reached, or an event cannot be read; nothing was changed.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let What::Claims(options) = options.what;
    let aggregates = (crate::domain::domain().aggregates)();
    let report = EventLog::rebuild_holdings(&options.write_owner_url, &aggregates).await?;
    tell_differences(&report);
    println!("{} rows changed; claims and marks are those of {}", report.mended, streams(&report));
    Ok(())
}
