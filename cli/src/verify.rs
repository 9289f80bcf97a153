//! `headwater verify log`: recomputes the digest chain of every partition, from the first event to
//! the head.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use headwater_eventlog::{EventLog, Head, LogError};
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
    let What::Log(options) = options.what;
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
