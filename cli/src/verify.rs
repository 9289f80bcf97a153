//! `headwater verify log`: recomputes the digest chain of every partition, from the first event to
//! the head. `headwater verify claims`: compares claims and marks with the events that they follow
//! from. `headwater verify views`: compares views with the fold of the log.

pub mod views;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use headwater_eventlog::{
    DIFFERENCES_MAX, EventLog, Head, HoldingDifference, HoldingsReport, LogError,
};
use headwater_kernel::Partition;
use indicatif::{ProgressBar, ProgressStyle};

use crate::local::RunFile;

/// Events read at once.
const CHUNK: u32 = 5_000;

/// `headwater verify …`.
#[derive(Args)]
pub struct Options {
    /// Data to verify.
    #[command(subcommand)]
    what: What,
}

/// Data that can be verified.
#[derive(Subcommand)]
pub enum What {
    /// The event log: no gap, and every digest fits what is stored, up to the head.
    Log(Log),
    /// Claims and marks: that they are those which the streams hold by their events.
    Claims(Claims),
    /// The views: that every row, on every node, is what the fold of the log says.
    Views(views::Views),
}

/// `headwater verify claims …`.
#[derive(Args)]
pub struct Claims {
    /// The write database, as its owner: postgres://owner:…@host/database.
    #[arg(long, env = "HEADWATER_WRITE_OWNER_URL", hide_env_values = true)]
    pub write_owner_url: String,
}

/// `headwater verify log …`.
#[derive(Args)]
pub struct Log {
    /// URL of the write database: that of what runs on this machine, unless given.
    #[arg(long, env = "HEADWATER_WRITE_URL", hide_env_values = true)]
    write_url: Option<String>,
    /// Data folder of the `headwater up` to verify.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Verifies, prints what it found, and says whether all is well.
///
/// # Errors
/// The log cannot be reached.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    match options.what {
        What::Log(options) => log_is_sound(options).await,
        What::Claims(options) => claims_are_right(&options).await,
        What::Views(options) => views::run(&options).await,
    }
}

async fn claims_are_right(options: &Claims) -> anyhow::Result<bool> {
    let aggregates = (crate::domain::domain().aggregates)();
    let report = EventLog::verify_holdings(&options.write_owner_url, &aggregates).await?;
    if report.differences.is_empty() {
        println!("claims and marks are those of {}", streams(&report));
        return Ok(true);
    }
    tell_differences(&report);
    eprintln!("claims or marks are NOT those of {}", streams(&report));
    eprintln!("make them anew: headwater rebuild claims");
    Ok(false)
}

/// Prints the differences, one a line.
pub fn tell_differences(report: &HoldingsReport) {
    for HoldingDifference { is_claim, is_held, name, stream } in &report.differences {
        let kind = if *is_claim { "claim" } else { "mark" };
        let what = if *is_held { "is missing, held by" } else { "is not held by" };
        println!("{kind} {name} {what} {stream}");
    }
    if report.differences.len() == DIFFERENCES_MAX {
        println!("and maybe more: these are the first {DIFFERENCES_MAX}");
    }
}

/// Number of streams, in words.
pub fn streams(report: &HoldingsReport) -> String {
    let untold = match report.untold {
        0 => String::new(),
        untold => format!(" ({untold} more are of aggregates that do not tell what they hold)"),
    };
    format!("{} streams{untold}", report.streams)
}

async fn log_is_sound(options: Log) -> anyhow::Result<bool> {
    let url = match options.write_url {
        Some(url) => url,
        None => RunFile::find(options.data)?.write_url,
    };
    let log = EventLog::connect(&url, 2).await?;
    let heads = log.heads().await?.heads;
    let total = heads.iter().map(|head| head.position.0).sum();
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len} events {eta}") {
        bar.set_style(style);
    }
    let started = Instant::now();
    let mut is_sound = true;
    for (number, head) in heads.iter().enumerate() {
        let partition = Partition(number as u16);
        match partition_is_sound(&log, partition, head, &bar).await {
            Ok(()) => bar.suspend(|| {
                println!("partition {partition}: {} events, digest {}", head.position, head.digest)
            }),
            Err(error @ LogError::Corrupt { .. }) => {
                is_sound = false;
                bar.suspend(|| eprintln!("{error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    match is_sound {
        true => println!("the log is sound: {total} events in {seconds:.1} s"),
        false => eprintln!("the log is NOT sound: restore it, or find out who changed it"),
    }
    Ok(is_sound)
}

/// Reads a partition up to the head it had at the start; what is appended meanwhile is not waited
/// for.
async fn partition_is_sound(
    log: &EventLog,
    partition: Partition,
    head: &Head,
    bar: &ProgressBar,
) -> Result<(), LogError> {
    let mut place = Head::START;
    while place.position < head.position {
        let chunk = log.read(partition, &place, CHUNK).await?;
        bar.inc(chunk.events.len() as u64);
        if chunk.end.position == place.position {
            return Err(LogError::Corrupt {
                partition,
                position: place.position.plus(1),
                what: format!("the events end here, but the head is at {}", head.position),
            });
        }
        place = chunk.end;
        if place.position == head.position && place.digest != head.digest {
            return Err(LogError::Corrupt {
                partition,
                position: place.position,
                what: "the head's digest is not that of its events".to_owned(),
            });
        }
    }
    Ok(())
}
