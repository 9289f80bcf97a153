//! Commands with expected version, idempotency key and receipt, by 64 clients.

use headwater_tests::bench::load::Load;
use headwater_tests::bench::report::Report;
use headwater_tests::bench::retail;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up, of, write_side};

/// Straight to command-svc, everything on, beside the peers, each alone.
pub async fn with_views(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    let mut cqrs_es = rig.cqrs_es().await;
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        rig.pgbench(pace.time).await?;
        rig.sell("commands", load, (&channels, &items)).await;
        let lag = rig.lag().await;
        println!("    lag of the views when the clients stopped: {lag} events");
        rig.settle().await;
        rig.peer("UmaDB", load, &mut umadb).await?;
        rig.peer("cqrs-es", load, &mut cqrs_es).await?;
    }
    Ok(report(
        &rig.samples,
        &[("commands", "UmaDB", "≥ 1.1"), ("commands", "pgbench", ""), ("commands", "cqrs-es", "")],
    ))
}

/// The same without projector and replicas.
pub async fn alone(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(write_side()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        rig.pgbench(pace.time).await?;
        rig.sell("commands alone", load, (&channels, &items)).await;
        rig.peer("UmaDB", load, &mut umadb).await?;
    }
    let ratios = [("commands alone", "UmaDB", "≥ 1.5"), ("commands alone", "pgbench", "")];
    Ok(report(&rig.samples, &ratios))
}

/// Through the router, everything on.
pub async fn routed(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let direct = rig.channels("command-svc").await?;
    let routed = rig.channels("router").await?;
    let (_server, mut umadb) = rig.umadb(1).await;
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        rig.sell("commands via router", load, (&routed, &items)).await;
        rig.settle().await;
        rig.sell("commands", load, (&direct, &items)).await;
        rig.settle().await;
        rig.peer("UmaDB", load, &mut umadb).await?;
    }
    let ratios =
        [("commands via router", "UmaDB", "≥ 0.9"), ("commands via router", "commands", "")];
    Ok(report(&rig.samples, &ratios))
}

/// All clients sell one and the same item, with keys, on whatever version there is.
pub async fn hot(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let items = rig.items(CLIENTS).await?;
    let channels = rig.channels("command-svc").await?;
    let one = items[0].lock().await[0].clone();
    // Its clients' own list would go by a version that others have passed.
    let uniform = rig.items(CLIENTS).await?;
    let load = Load::closed(CLIENTS, pace.time);
    for _ in 0..pace.rounds {
        rig.round("one hot aggregate", load, |client, turns| {
            retail::sell_one(of(&channels, client), one.clone(), turns)
        })
        .await;
        rig.settle().await;
        rig.sell("uniform load", load, (&channels, &uniform)).await;
        rig.settle().await;
    }
    Ok(report(&rig.samples, &[("one hot aggregate", "uniform load", "≥ 0.7")]))
}
