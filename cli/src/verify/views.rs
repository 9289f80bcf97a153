//! `headwater verify views`: compares every view with the fold of the log, on every node, without
//! stopping anything. `headwater repair` does the same on the read primary, and mends the rows that
//! differ.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use headwater_eventlog::EventLog;
use headwater_projector::audit::{Audit, Difference, DifferenceKind, Node, NodeReport};
use headwater_projector::projection::Projection;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::local::RunFile;
use crate::table::lines;

/// Differences that the table shows; `--json` has all that are told.
const SHOWN_MAX: usize = 50;

/// `headwater verify views …`.
#[derive(Args)]
pub struct Views {
    #[command(flatten)]
    databases: Databases,
    /// URLs of the nodes to verify, separated by commas.
    #[arg(long, env = "HEADWATER_READ_URLS", hide_env_values = true, value_delimiter = ',')]
    read_urls: Vec<String>,
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// The databases of an audit: those of what runs on this machine, unless given.
#[derive(Args)]
pub struct Databases {
    /// URL of the write database.
    #[arg(long, env = "HEADWATER_WRITE_URL", hide_env_values = true)]
    write_url: Option<String>,
    /// The read primary, as its owner, who makes room for the fold: postgres://owner:…@host/database.
    #[arg(long, env = "HEADWATER_READ_OWNER_URL", hide_env_values = true)]
    read_owner_url: Option<String>,
    /// Data folder of the `headwater up` to look at.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

struct Places {
    write_url: String,
    read_owner_url: String,
    nodes: Vec<Node>,
}

impl Databases {
    /// URLs of the write database, and of the read primary as its owner.
    pub fn urls(&self) -> anyhow::Result<(String, String)> {
        let places = self.places(&[])?;
        Ok((places.write_url, places.read_owner_url))
    }

    /// Of these nodes, or of those of what runs on this machine, or of the read primary.
    fn places(&self, urls: &[String]) -> anyhow::Result<Places> {
        let (Some(write_url), Some(owner)) = (&self.write_url, &self.read_owner_url) else {
            if self.write_url.is_some() || self.read_owner_url.is_some() {
                bail!("--write-url goes with --read-owner-url");
            }
            let run = RunFile::find(self.data.clone())?;
            let nodes = run.read_urls.into_iter().map(|(name, url)| Node { name, url });
            let nodes = nodes.collect();
            let (write_url, read_owner_url) = (run.write_url, run.read_owner_url);
            return Ok(Places { write_url, read_owner_url, nodes });
        };
        let urls = if urls.is_empty() { std::slice::from_ref(owner) } else { urls };
        let named =
            |(n, url): (usize, &String)| Node { name: format!("node {}", n + 1), url: url.clone() };
        let nodes = urls.iter().enumerate().map(named).collect();
        Ok(Places { write_url: write_url.clone(), read_owner_url: owner.clone(), nodes })
    }
}

/// Verifies all views, and says whether they are what they should be.
///
/// # Errors
/// A database cannot be reached, or another audit is under way.
pub async fn run(options: &Views) -> anyhow::Result<bool> {
    let places = options.databases.places(&options.read_urls)?;
    let mut is_sound = true;
    let mut reports = Vec::new();
    for projection in (crate::domain::domain().projections)() {
        let mut audit = begin(&places, &projection, options.json).await?;
        for node in &places.nodes {
            let report = audit.compare(node).await;
            let report = report.with_context(|| format!("cannot verify {}", node.name))?;
            is_sound &= report.outcome.different == 0;
            match options.json {
                true => reports.push(as_json(&projection, &report)),
                false => tell(&projection, &report),
            }
        }
        audit.end().await?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else if !is_sound {
        eprintln!("views are NOT the fold of the log");
        eprintln!("mend the rows of the read primary: headwater repair");
        eprintln!("a replica that differs from its primary is to be made anew");
    }
    Ok(is_sound)
}

async fn begin(places: &Places, projection: &Projection, quiet: bool) -> anyhow::Result<Audit> {
    let log = EventLog::connect(&places.write_url, 2).await?;
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len} events {eta}") {
        bar.set_style(style);
    }
    let started = Instant::now();
    let progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let audit = Audit::begin(&places.read_owner_url, log, projection, progress).await?;
    bar.finish_and_clear();
    if !quiet {
        let (name, seconds) = (projection.name(), started.elapsed().as_secs_f64());
        println!("projection {name}: {} events folded in {seconds:.1} s", bar.position());
    }
    Ok(audit)
}

fn tell(projection: &Projection, report: &NodeReport) {
    let NodeReport { node, applied, outcome } = report;
    let held_back = match outcome.held_back {
        0 => String::new(),
        rows => format!(", {rows} held back by parked events"),
    };
    let (name, rows) = (projection.name(), outcome.rows);
    let state = format!("{rows} rows of {name} at {applied} events{held_back}");
    if outcome.different == 0 {
        println!("{node}: {state}: all are the fold of the log");
        return;
    }
    println!("{node}: {state}: {} differ", outcome.different);
    let row = |difference: &Difference| {
        let key = difference.key.to_string();
        [difference.view.to_owned(), key, wrong(&difference.kind)]
    };
    let shown = outcome.differences.iter().take(SHOWN_MAX).map(row);
    for line in lines(["VIEW", "KEY", "WHAT IS WRONG"], shown) {
        println!("  {line}");
    }
    if outcome.different > SHOWN_MAX as u64 {
        println!("  and {} more; --json tells them", outcome.different - SHOWN_MAX as u64);
    }
}

fn wrong(kind: &DifferenceKind) -> String {
    match kind {
        DifferenceKind::Missing => "the row is missing".to_owned(),
        DifferenceKind::Extra => "the row should not be there".to_owned(),
        DifferenceKind::Columns(columns) => format!("differs in {}", columns.join(", ")),
    }
}

fn as_json(projection: &Projection, report: &NodeReport) -> serde_json::Value {
    let NodeReport { node, applied, outcome } = report;
    let difference = |Difference { view, key, kind }: &Difference| match kind {
        DifferenceKind::Missing => json!({"view": view, "key": key.to_string(), "kind": "missing"}),
        DifferenceKind::Extra => json!({"view": view, "key": key.to_string(), "kind": "extra"}),
        DifferenceKind::Columns(columns) => {
            json!({"view": view, "key": key.to_string(), "kind": "different", "columns": columns})
        }
    };
    json!({
        "projection": projection.name(),
        "node": node,
        "applied": applied,
        "rows": outcome.rows,
        "held_back": outcome.held_back,
        "different": outcome.different,
        "differences": outcome.differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

/// `headwater repair …`.
#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    databases: Databases,
    /// Only tell what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// Mends the views of the read primary; true if all rows are right afterwards.
///
/// # Errors
/// A database cannot be reached, or another audit is under way.
pub async fn repair(options: &Repair) -> anyhow::Result<bool> {
    let places = options.databases.places(&[])?;
    let primary = Node { name: "read primary".to_owned(), url: places.read_owner_url.clone() };
    let mut is_sound = true;
    for projection in (crate::domain::domain().projections)() {
        let mut audit = begin(&places, &projection, false).await?;
        let report = audit.compare(&primary).await?;
        tell(&projection, &report);
        let different = report.outcome.different;
        if different > 0 && !options.dry_run {
            let repaired = audit.repair(&report.outcome.differences).await?;
            println!("{} rows mended", repaired.rows);
            is_sound &= audit.compare(&primary).await?.outcome.different == 0;
        } else {
            is_sound &= different == 0;
        }
        audit.end().await?;
    }
    if !is_sound && !options.dry_run {
        eprintln!("rows still differ: run this again");
    }
    Ok(is_sound)
}
