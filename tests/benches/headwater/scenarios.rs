//! What can be measured, one file each, and how it is told.

mod append;
mod batches;
mod clients;
mod commands;
mod copies;
mod latency;
mod memory;
mod reads;
pub mod size;
mod start;
mod tags;
mod visible;

use std::pin::Pin;

use headwater_tests::bench::report::{Report, Sample, ratio_row, tables};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::rig::Pace;

/// A measurement from its start to its report.
pub type Scenario = fn(Pace) -> Pin<Box<dyn Future<Output = anyhow::Result<Report>>>>;

/// Name, purpose and program of each, in the order of BENCHMARKS.md.
pub const SCENARIOS: [(&str, &str, Scenario); 15] = [
    ("append", "the append function alone, by the call and by the command", |pace| {
        Box::pin(append::run(pace))
    }),
    (
        "commands",
        "commands with projector and two replicas, beside UmaDB, cqrs-es, pgbench",
        |pace| Box::pin(commands::with_views(pace)),
    ),
    ("alone", "commands without projector and replicas", |pace| Box::pin(commands::alone(pace))),
    ("router", "commands through the router", |pace| Box::pin(commands::routed(pace))),
    ("copies", "commands to one command service and to two", |pace| Box::pin(copies::run(pace))),
    ("batches", "many commands in one call", |pace| Box::pin(batches::run(pace))),
    ("tags", "decisions across aggregates, beside UmaDB's", |pace| Box::pin(tags::run(pace))),
    ("hot", "all clients on one aggregate", |pace| Box::pin(commands::hot(pace))),
    ("clients", "throughput against the number of clients", |pace| Box::pin(clients::run(pace))),
    ("latency", "latency against offered load", |pace| Box::pin(latency::run(pace))),
    ("visible", "from a command's receipt to a read that shows it", |pace| {
        Box::pin(visible::run(pace))
    }),
    ("reads", "reads, direct and through the router, Envoy and HAProxy", |pace| {
        Box::pin(reads::run(pace))
    }),
    ("size", "throughput against the size of the log", |pace| Box::pin(size::run(pace))),
    ("start", "a later start of `make up` with a year of sales", |pace| Box::pin(start::run(pace))),
    ("memory", "resident memory under full load", |pace| Box::pin(memory::run(pace))),
];

/// Two measures, and what their ratio should be.
type Ratio = (&'static str, &'static str, &'static str);

/// The report of samples: where and when, the ratios, all tables.
fn report(samples: &[Sample], ratios: &[Ratio]) -> Report {
    let rows = ratios.iter().map(|(of, to, goal)| ratio_row(samples, of, to, goal));
    let rows: String = rows.collect();
    let head = "| ratio | median | rounds | goal |\n|---|---|---|---|\n";
    let ratios = if rows.is_empty() { String::new() } else { format!("{head}{rows}\n") };
    let text = format!("{}\n\n{ratios}{}", place_and_time(), tables(samples));
    Report { text, plots: Vec::new() }
}

/// Where and when this is measured, and of what.
fn place_and_time() -> String {
    let day = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day]"));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let git = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = git.ok().filter(|git| git.status.success());
    let commit = commit.and_then(|git| String::from_utf8(git.stdout).ok()).unwrap_or_default();
    format!("{}, {cores} cores, commit {}", day.unwrap_or_default(), commit.trim())
}
