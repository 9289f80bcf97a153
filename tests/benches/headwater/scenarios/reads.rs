//! Point reads with `at_least(token)`, straight to query-svc, through the router, and through other
//! proxies in its place, against an echo (the health check) on the same stack.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headwater_tests::bench::load::{Load, repeat};
use headwater_tests::bench::peers::{Server, envoy, haproxy};
use headwater_tests::bench::report::Report;
use headwater_tests::bench::retail::{self, Answered};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::report;
use crate::rig::{CLIENTS, Pace, Rig, as_up, channels, of};

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let mut rig = Rig::start(as_up()).await?;
    let commands = rig.channels("command-svc").await?;
    let (items, token) = retail::set_up(commands[0].clone(), CLIENTS).await;
    let ids = Arc::new(retail::ids(&items));
    rig.settle().await;
    let direct = rig.channels("query-svc").await?;
    let mut ways = vec![("reads direct", direct.clone())];
    ways.push(("reads via router", rig.channels("router").await?));
    let upstream = rig.cluster.grpc("query-svc");
    let proxies = [("Envoy", envoy(upstream).await), ("HAProxy", haproxy(upstream).await)];
    let mut servers: Vec<Server> = Vec::new();
    for (name, proxy) in proxies {
        match proxy {
            Ok(server) => {
                rig.watch(name, server.pid());
                let way = if name == "Envoy" { "reads via Envoy" } else { "reads via HAProxy" };
                ways.push((way, channels(&format!("http://{}", server.address)).await?));
                servers.push(server);
            }
            Err(error) => println!("  without {name}: {error:#}"),
        }
    }
    let answered = Arc::new(Answered::default());
    let load = Load::closed(CLIENTS, pace.time.mul_f64(0.6));
    for _ in 0..pace.rounds {
        for (name, channels) in &ways {
            rig.round(name, load, |client, turns| {
                let channel = of(channels, client);
                retail::read(channel, ids.clone(), token.clone(), answered.clone(), turns)
            })
            .await;
        }
        echo(&mut rig, load, &direct).await;
    }
    // Nothing is written.
    rig.samples.iter_mut().for_each(|sample| sample.cost.storage = None);
    let mut report = report(
        &rig.samples,
        &[
            ("reads direct", "echo", ""),
            ("reads via router", "echo", ""),
            ("reads via router", "reads via Envoy", ""),
            ("reads via router", "reads via HAProxy", ""),
        ],
    );
    let [replica, all] = [&answered.by_replica, &answered.all].map(|n| n.load(Ordering::Relaxed));
    report.text += &format!("\n{replica} of {all} reads were answered by replicas.\n");
    Ok(report)
}

async fn echo(rig: &mut Rig, load: Load, direct: &[Channel]) {
    rig.round("echo", load, |client, turns| {
        let health = HealthClient::new(of(direct, client));
        repeat(turns, move || {
            let mut health = health.clone();
            async move { u64::from(health.check(HealthCheckRequest::default()).await.is_ok()) }
        })
    })
    .await;
}
