//! Throughput against the number of clients, one client's latency included.

use headwater_tests::bench::load::Load;
use headwater_tests::bench::report::{Axis, Plot, Report, Sample, Series, median};

use super::report;
use crate::rig::{Pace, Rig, as_up};

const COUNTS: [usize; 5] = [1, 4, 16, 64, 256];

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(COUNTS[COUNTS.len() - 1]).await?;
    let channels = rig.channels("command-svc").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    for _ in 0..pace.rounds.min(3) {
        for count in COUNTS {
            let load = Load::closed(count, pace.time.mul_f64(0.6));
            rig.sell(&format!("commands, {count}"), load, (&channels, &items)).await;
            rig.settle().await;
            rig.peer(&format!("UmaDB, {count}"), load, &mut umadb).await?;
        }
    }
    let mut report = report(&rig.samples, &[("commands, 1", "UmaDB, 1", "")]);
    report.text += "\nGoal: one client's p50 at most that of UmaDB.\n";
    report.plots.push(Plot {
        name: "clients",
        title: "Throughput against clients: commands with everything on, conditional appends",
        x: Axis { label: "clients", is_logarithmic: true },
        y: Axis { label: "operations/s", is_logarithmic: false },
        series: vec![
            series("Headwater", "commands", &rig.samples),
            series("UmaDB", "UmaDB", &rig.samples),
        ],
    });
    Ok(report)
}

fn series(name: &str, measure: &str, samples: &[Sample]) -> Series {
    let points = COUNTS.iter().map(|count| {
        let wanted = format!("{measure}, {count}");
        let of = samples.iter().filter(|sample| sample.name == wanted);
        (*count as f64, median(of.map(|sample| sample.rate)))
    });
    Series { name: name.to_owned(), points: points.collect() }
}
