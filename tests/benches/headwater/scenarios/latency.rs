//! Latency against offered load: requests arrive on a constant schedule, and wait if they must.

use headwater_tests::bench::load::{Load, Round};
use headwater_tests::bench::report::{Axis, Plot, Report, Series};

use super::report;
use crate::rig::{Pace, Rig, as_up};

/// Requests a second. A system is not asked for more once it has not kept up.
const RATES: [f64; 9] =
    [500.0, 1_000.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0, 16_000.0];
/// More than are ever at work at once, unless a system does not keep up.
const CLIENTS: usize = 256;
/// A system that does less than this part of what arrives does not keep up.
const KEPT_UP: f64 = 0.95;
const SHOWN: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

#[derive(Default)]
struct Curve(Vec<(f64, Round)>);

impl Curve {
    fn keeps_up(&self) -> bool {
        self.0.last().is_none_or(|(rate, round)| round.rate() >= KEPT_UP * rate)
    }

    fn series(&self, name: &str) -> Vec<Series> {
        let of = |(label, quantile): (&str, f64)| {
            let points = self.0.iter().map(|(rate, round)| (*rate, round.latency(quantile)));
            Series { name: format!("{name} {label}"), points: points.collect() }
        };
        SHOWN.into_iter().map(of).collect()
    }
}

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    let mut headwater = Curve::default();
    let mut peer = Curve::default();
    for rate in RATES {
        let load = Load::open(CLIENTS, pace.time, rate);
        if headwater.keeps_up() {
            let round = rig.sell(&format!("commands, {rate}/s"), load, (&channels, &items)).await;
            headwater.0.push((rate, round));
            rig.settle().await;
        }
        if peer.keeps_up() && umadb.is_some() {
            rig.peer(&format!("UmaDB, {rate}/s"), load, &mut umadb).await?;
            let last = rig.samples.last().and_then(|sample| sample.round.clone());
            peer.0.extend(last.map(|round| (rate, round)));
        }
    }
    let mut report = report(&rig.samples, &[]);
    report.plots.push(Plot {
        name: "latency",
        title: "Latency against offered load, from when a request should have been sent",
        x: Axis { label: "requests offered a second", is_logarithmic: false },
        y: Axis { label: "ms", is_logarithmic: true },
        series: [headwater.series("Headwater"), peer.series("UmaDB")].concat(),
    });
    Ok(report)
}
