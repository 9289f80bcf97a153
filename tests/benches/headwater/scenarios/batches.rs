//! Many commands in one call: sales by the batch, each with its own key and expected version.

use headwater_tests::bench::load::Load;
use headwater_tests::bench::report::Report;
use headwater_tests::bench::retail;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up, of};

/// Requests at work at once: these clients load, and hold a batch each.
const LOADERS: usize = 8;

/// Straight to command-svc, everything on, by a few loaders and by many, beside UmaDB's appends.
pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    for _ in 0..pace.rounds {
        for (name, clients) in [("batches, 8 clients", LOADERS), ("batches", CLIENTS)] {
            let load = Load::closed(clients, pace.time);
            rig.round(name, load, |client, turns| {
                retail::sell_batches(of(&channels, client), items[client].clone(), turns)
            })
            .await;
            let lag = rig.lag().await;
            println!("    lag of the views when the clients stopped: {lag} events");
            rig.settle().await;
        }
        let load = Load::closed(CLIENTS, pace.time);
        rig.sell("commands", load, (&channels, &items)).await;
        rig.settle().await;
        rig.peer("UmaDB", load, &mut umadb).await?;
    }
    let ratios = [("batches", "UmaDB", "≥ 2"), ("batches", "commands", "")];
    Ok(report(&rig.samples, &ratios))
}
