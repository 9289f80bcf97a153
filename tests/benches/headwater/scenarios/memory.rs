//! Resident memory of each program under full load, a reading each second. `--seconds` is a tenth
//! of how long: 600 s are `--seconds 60`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_cli::local::Kind;
use headwater_tests::bench::load::Load;
use headwater_tests::bench::machine::resident;
use headwater_tests::bench::report::{Axis, Plot, Report, Series, number};

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up};

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("router").await?;
    let mut programs = Vec::new();
    for name in Kind::ALL.map(Kind::binary) {
        programs.push((name, rig.cluster.pid(name).await));
    }
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(programs, Arc::clone(&over)));
    let load = Load::closed(CLIENTS, pace.time * 10);
    rig.sell("commands via router", load, (&channels, &items)).await;
    over.store(true, Ordering::Relaxed);
    let series = watching.await?;
    rig.settle().await;
    let mut report = report(&rig.samples, &[]);
    report.text += "\nResident memory, MiB; the goal is at most 128, and flat:\n\n\
                    | program | at the start | half-way | at the end | most |\n|---|---|---|---|---|\n";
    for Series { name, points } in &series {
        let at = |index: usize| number(points.get(index).map_or(f64::NAN, |point| point.1));
        let most = number(points.iter().map(|point| point.1).fold(f64::NAN, f64::max));
        let last = points.len().saturating_sub(1);
        report.text +=
            &format!("| {name} | {} | {} | {} | {most} |\n", at(0), at(points.len() / 2), at(last));
    }
    report.plots.push(Plot {
        name: "memory",
        title: "Resident memory under full load through the router",
        x: Axis { label: "s", is_logarithmic: false },
        y: Axis { label: "MiB", is_logarithmic: false },
        series,
    });
    Ok(report)
}

async fn watch(programs: Vec<(&'static str, u32)>, over: Arc<AtomicBool>) -> Vec<Series> {
    let started = Instant::now();
    let empty = |(name, _): &(&str, u32)| Series { name: (*name).to_owned(), points: Vec::new() };
    let mut series: Vec<Series> = programs.iter().map(empty).collect();
    while !over.load(Ordering::Relaxed) {
        for ((_, pid), series) in programs.iter().zip(&mut series) {
            let mib = resident(*pid).unwrap_or(f64::NAN);
            series.points.push((started.elapsed().as_secs_f64(), mib));
        }
        // tidy: allow sleep: the distance of readings
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    series
}
