//! `headwater rebuild claims`: makes claims and marks what the events say, after a defect set them
//! wrongly, or for streams that were there before the domain had a new mark. `headwater rebuild
//! views`: makes views anew beside the live ones, which they then replace.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use headwater_eventlog::EventLog;
use headwater_projector::projection::Projection;
use headwater_projector::rebuild::{History, Rebuild, Switched};
use indicatif::{ProgressBar, ProgressStyle};

use crate::verify::views::Databases;
use crate::verify::{Claims, streams, tell_differences};

/// Time between two lines about the progress, where no bar can be shown.
const LINE_EVERY: Duration = Duration::from_secs(10);

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
    /// Views, also of a new version. Queries go on, but for a moment at the end.
    Views(Views),
}

/// `headwater rebuild views …`.
#[derive(Args)]
pub struct Views {
    #[command(flatten)]
    databases: Databases,
    /// Only this projection.
    #[arg(long)]
    projection: Option<String>,
    /// Puts the tables back that the last rebuild replaced, with what has happened since.
    #[arg(long)]
    rollback: bool,
}

/// Makes it anew, and prints what changed.
///
/// # Errors
/// A database cannot be reached, or an event cannot be read; nothing was changed.
pub async fn run(options: Options) -> anyhow::Result<()> {
    match options.what {
        What::Claims(options) => claims(&options).await,
        What::Views(options) => views(&options).await,
    }
}

async fn claims(options: &Claims) -> anyhow::Result<()> {
    let aggregates = (crate::domain::domain().aggregates)();
    let report = EventLog::rebuild_holdings(&options.write_owner_url, &aggregates).await?;
    tell_differences(&report);
    println!("{} rows changed; claims and marks are those of {}", report.mended, streams(&report));
    Ok(())
}

async fn views(options: &Views) -> anyhow::Result<()> {
    let (write_url, owner_url) = options.databases.urls()?;
    let wanted = |projection: &Projection| {
        options.projection.as_deref().is_none_or(|name| name == projection.name())
    };
    let mut projections = (crate::domain::domain().projections)();
    projections.retain(wanted);
    if projections.is_empty() {
        bail!("no projection has the name {:?}", options.projection.as_deref().unwrap_or_default());
    }
    for projection in &projections {
        let name = projection.name();
        let mut bar = Bar::shown(name);
        let progress = |done, all| bar.at(done, all);
        let log = EventLog::connect(&write_url, 2).await?;
        let rebuild = match options.rollback {
            true => Rebuild::back(&owner_url, log, projection, progress).await,
            false => Rebuild::begin(&owner_url, log, projection, History::Same, progress).await,
        };
        let switched = rebuild?.switch().await;
        let switched = switched.with_context(|| format!("the projection {name} is as it was"))?;
        bar.bar.finish_and_clear();
        tell(name, &switched);
    }
    if !options.rollback {
        println!("the tables of before are kept in the schema headwater_kept");
        println!("to put them back: headwater rebuild views --rollback");
    }
    Ok(())
}

fn tell(name: &str, switched: &Switched) {
    println!("projection {name}: switched at {} events", switched.applied);
    let milliseconds = |time: Duration| time.as_millis();
    println!(
        "  the projector waited for {} ms, queries for {} ms",
        milliseconds(switched.projector_waited),
        milliseconds(switched.queries_waited)
    );
    match switched.told {
        Some(rows) => {
            println!("  rows of watched views that differ from before, and are told: {rows}")
        }
        None => println!("  whoever watches its views has to read anew (RESUME_EXPIRED)"),
    }
    if switched.parked > 0 {
        println!("  rows that wait behind parked events: {}", switched.parked);
    }
}

/// Progress as a bar or, where nobody could see it move, as a line now and then.
struct Bar {
    name: &'static str,
    bar: ProgressBar,
    begun: Instant,
    told: Instant,
}

impl Bar {
    fn shown(name: &'static str) -> Self {
        let bar = ProgressBar::new(0);
        let template = "  {bar:40} {pos}/{len} events, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { name, bar, begun: now, told: now }
    }

    fn at(&mut self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.told.elapsed() > LINE_EVERY {
            self.told = Instant::now();
            let pace = done as f64 / self.begun.elapsed().as_secs_f64();
            let left = all.saturating_sub(done) as f64 / pace.max(1.0);
            let name = self.name;
            println!("projection {name}: {done}/{all} events, {pace:.0}/s, {left:.0} s left");
        }
    }
}
