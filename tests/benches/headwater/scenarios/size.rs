//! Throughput of commands against the size of the log, on the write side alone. The large logs are
//! made the first time (20 million events in about five minutes), and kept.

use std::path::PathBuf;

use headwater_cli::local::{Size, default_root};
use headwater_eventlog::EventLog;
use headwater_tests::bench::fill::fill;
use headwater_tests::bench::load::Load;
use headwater_tests::bench::report::{Axis, Plot, Report, Series, median};
use headwater_tests::bench::retail::Items;
use headwater_tests::harness::Options;
use tonic::transport::Channel;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, write_side};

/// Events in the log, and what that is called.
const SIZES: [(usize, &str); 3] =
    [(0, "empty log"), (2_500_000, "2.5 M events"), (20_000_000, "20 M events")];
/// The same for a run that only shows that all works.
const QUICK: [(usize, &str); 2] = [(0, "empty log"), (100_000, "0.1 M events")];

struct Contestant {
    name: &'static str,
    rig: Rig,
    channels: Vec<Channel>,
    items: Vec<Items>,
}

fn sizes(pace: &Pace) -> &'static [(usize, &'static str)] {
    if pace.is_quick { &QUICK } else { &SIZES }
}

/// Makes the large logs, if they are not there.
pub async fn prepare(pace: &Pace) -> anyhow::Result<()> {
    for (events, name) in sizes(pace).iter().filter(|(events, _)| *events > 0) {
        let contestant = contestant(*events, name).await?;
        contestant.rig.cluster.shut_down().await;
    }
    Ok(())
}

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut all = Vec::new();
    for (events, name) in sizes(&pace) {
        all.push(contestant(*events, name).await?);
    }
    for _ in 0..pace.rounds {
        for Contestant { name, rig, channels, items } in &mut all {
            let load = Load::closed(CLIENTS, pace.time);
            rig.sell(name, load, (channels, items)).await;
        }
    }
    let mut samples = Vec::new();
    let mut points = Vec::new();
    for Contestant { name, mut rig, .. } in all {
        let rates = rig.samples.iter().map(|sample| sample.rate);
        points.push((rig.head().await as f64, median(rates)));
        samples.append(&mut rig.samples);
        let killed = rig.cluster.shut_down().await;
        anyhow::ensure!(killed.is_empty(), "{name}: {killed:?} did not stop");
    }
    let ratios = [("20 M events", "empty log", "≥ 0.9"), ("2.5 M events", "empty log", "")];
    let mut report = report(&samples, &ratios);
    report.plots.push(Plot {
        name: "size",
        title: "Throughput against log size, the write side alone",
        x: Axis { label: "events in the log", is_logarithmic: false },
        y: Axis { label: "commands/s", is_logarithmic: false },
        series: vec![Series { name: "Headwater".to_owned(), points }],
    });
    Ok(report)
}

async fn contestant(events: usize, name: &'static str) -> anyhow::Result<Contestant> {
    let mut options = write_side();
    if events > 0 {
        let size = Size { is_disposable: false, ..Size::LAPTOP };
        options = Options { size, kept: Some(kept(&format!("log-{events}"))?), ..options };
    }
    let rig = Rig::start(options).await?;
    let there = usize::try_from(rig.head().await)?;
    if there < events {
        println!("  making a log of {events} events, which is kept in {:?}", rig.cluster.root());
        let log = EventLog::connect(&rig.cluster.command_url(), 1).await?;
        fill(&log, events - there).await?;
        log.close().await;
    }
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    Ok(Contestant { name, rig, channels, items })
}

/// A folder that is kept between runs, beside that of `make up`.
pub fn kept(name: &str) -> anyhow::Result<PathBuf> {
    let mut root = default_root()?.into_os_string();
    root.push("-bench");
    Ok(PathBuf::from(root).join(name))
}
