//! One command service and two: through the router, which sends each command to either of them, and
//! directly, each client to one of them, so that an item's commands meet its state where they come.

use headwater_tests::bench::load::Load;
use headwater_tests::bench::report::Report;
use headwater_tests::harness::Options;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up};

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut all = Vec::new();
    for (routed, direct, command_svcs) in
        [("one, via router", "one, direct", 1), ("two, via router", "two, each item at one", 2)]
    {
        let rig = Rig::start(Options { command_svcs, ..as_up() }).await?;
        let items = rig.items(CLIENTS).await?;
        let via_router = rig.channels("router").await?;
        let mut copies = rig.channels("command-svc").await?;
        if command_svcs == 2 {
            let second = rig.channels("command-svc-2").await?;
            copies = copies.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
        }
        all.push((rig, items, [(routed, via_router), (direct, copies)]));
    }
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        for (rig, items, ways) in &mut all {
            for (name, channels) in ways {
                rig.sell(name, load, (channels, items)).await;
                rig.settle().await;
            }
        }
    }
    let samples: Vec<_> = all.into_iter().flat_map(|(rig, ..)| rig.samples).collect();
    let ratios = [
        ("two, via router", "one, via router", "≥ 0.9"),
        ("two, each item at one", "one, direct", "≥ 0.9"),
    ];
    Ok(report(&samples, &ratios))
}
