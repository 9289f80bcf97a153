//! From a command's receipt to the reply of a read that shows it, read with the receipt's token on
//! a replica, at constant rates.

use headwater_tests::bench::load::{Load, QUANTILES};
use headwater_tests::bench::report::{Axis, Plot, Report, Series};
use headwater_tests::bench::retail;

use super::report;
use crate::rig::{Pace, Rig, as_up, of};

const RATES: [f64; 3] = [200.0, 1_000.0, 3_000.0];
const CLIENTS: usize = 128;

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let commands = rig.channels("command-svc").await?;
    let queries = rig.channels("query-svc").await?;
    rig.settle().await;
    let mut series = Vec::new();
    for rate in RATES {
        let load = Load::open(CLIENTS, pace.time * 2, rate);
        let name = format!("{rate} commands/s");
        let round = rig.round(&name, load, |client, turns| {
            let channels = (of(&commands, client), of(&queries, client));
            retail::see(channels.0, channels.1, items[client].clone(), turns)
        });
        let round = round.await;
        // From right to left: the part of commands that is not visible yet.
        let points = QUANTILES.iter().zip(&round.latencies).filter(|(part, _)| **part < 1.0);
        let points = points.map(|(part, ms)| (*ms, (1.0 - part) * 100.0)).collect();
        series.push(Series { name, points });
    }
    let mut report = report(&rig.samples, &[]);
    report.text += "\nLatencies are from the receipt to the reply; the CPU is that of both.\n";
    report.plots.push(Plot {
        name: "visible",
        title: "Commands not visible yet, by the time since their receipt",
        x: Axis { label: "ms since the receipt", is_logarithmic: true },
        y: Axis { label: "% of commands", is_logarithmic: true },
        series,
    });
    Ok(report)
}
