//! Faults as data: each scenario is a timeline of faults over the same load, and names what must
//! hold (`scenarios/table.rs`). They follow each other on one cluster, each undoing its damage.
//! After each of them everybody is answered again; nothing is lost, doubled, or older than asked
//! for; and the log and the views are whole, by the stories' audit and by the product's own.
//!
//! Two faults are not among them, since they take more than a process may do: a clock that jumps
//! (it takes a library that is loaded before the programs' own), and an fsync that is slow in the
//! device itself (`commit_delay` makes each flush of the WAL slow instead).
//!
//! HEADWATER_SOAK_SECONDS makes the faults long (`make soak`), and HEADWATER_SCENARIO picks those
//! that have these words in their names. The table at the end is printed, and written to
//! `target/fault-scenarios.txt`.

mod fault;
mod load;
mod summary;
mod table;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use headwater_cli::local::connect;
use headwater_tests::harness::{Options, eventually};
use uuid::Uuid;

use super::stories::world::{Stage, World};
use load::{Counts, Load};
use summary::{Row, Summary};
use table::{Kind, SCENARIOS, Scenario, Step};

/// Two projectors, of which one waits for the other; links that can be cut, and disks that can be
/// full.
fn options() -> Options {
    Options {
        partitions: 2,
        replicas: 2,
        projectors: 2,
        linked: true,
        disk_mib: Some(768),
        ..Options::default()
    }
}

/// Whatever is killed or hangs is missed by those who need it, and each of them warns. What is not
/// listed is an alarm all the same: a panic, a stop of the projection, an event that is parked
/// without having been meant to, damage.
const EXPECTED: &[&str] =
    &[r#""level":"WARN""#, "the outcome of an append could not be found out in time"];
/// Sales before the first fault.
const SETTLED: usize = 20;
/// What goes on is answered within this time on a busy machine, retries and all.
const GOES_ON: Duration = Duration::from_secs(4);
/// What does not is answered again by then, from the end of the last fault on.
const BACK: Duration = Duration::from_secs(20);
/// Everything is as it was by then.
const CALM: Duration = Duration::from_secs(60);

/// Every scenario of the table, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_is_survived() {
    let is_long = std::env::var_os("HEADWATER_SOAK_SECONDS").is_some();
    let wanted = std::env::var("HEADWATER_SCENARIO").unwrap_or_default();
    // Not a static one, which is never dropped: its file systems are to be unmounted.
    let stage = Stage::new(options);
    let mut summary = Summary::default();
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&wanted)) {
        let begun = Instant::now();
        stage.play(async |world| summary.rows.push(play(world, scenario, is_long).await)).await;
        summary.rows.last_mut().expect("played").took = begun.elapsed();
    }
    assert!(!summary.rows.is_empty(), "there is no such scenario");
    let broken = summary.broken();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

async fn play(world: &World, scenario: &Scenario, is_long: bool) -> Row {
    world.cluster.expect_logs(EXPECTED);
    let Scenario { name, faults, .. } = *scenario;
    let mut row = Row {
        name,
        faults: faults.iter().map(Step::told).collect::<Vec<_>>().join(", "),
        counts: Counts::default(),
        lost: 0,
        doubled: 0,
        took: Duration::ZERO,
        broken: Vec::new(),
    };
    let disks = faults.iter().filter_map(|Step(_, _, fault)| fault.disk());
    if let Some(node) = disks.into_iter().find(|node| world.cluster.disk(node).is_none()) {
        row.faults = format!("skipped: no file system may be mounted for {node}");
        return row;
    }
    let load = Load::start(world);
    settle(world).await;
    let begun = Instant::now();
    join_all(faults.iter().map(|step| step.play(world, begun, is_long))).await;
    let lasted = begun.elapsed();
    calm_down(world).await;
    load.until_told(world).await;
    row.counts = load.stop().await;
    [row.lost, row.doubled] = lost_and_doubled(world).await;
    row.broken = broken(scenario, &row, lasted);
    fault::verify_views(world).await;
    let parked = fault::parked(world).await.expect("a list");
    assert_eq!(parked, 0, "{name}: rows wait behind parked events");
    println!("{name}: {:?}", row.counts.reasons);
    row
}

impl Step {
    async fn play(&self, world: &World, begun: Instant, is_long: bool) {
        let Step(at, lasts, fault) = *self;
        let begins = begun + Duration::from_millis(at);
        // tidy: allow sleep: when a fault comes is part of the scenario
        tokio::time::sleep_until(begins.into()).await;
        let struck = fault.strike(world, is_long).await;
        // tidy: allow sleep: how long it lasts is, too
        tokio::time::sleep(lasts.now(is_long)).await;
        struck.mend(world).await;
    }

    fn told(&self) -> String {
        let Step(at, _, fault) = self;
        if *at == 0 { format!("{fault:?}") } else { format!("{fault:?} at {at} ms") }
    }
}

/// What should have held and did not.
fn broken(scenario: &Scenario, row: &Row, lasted: Duration) -> Vec<String> {
    let mut broken = Vec::new();
    for (what, count) in
        [("lost", row.lost), ("doubled", row.doubled), ("stale", row.counts.stale.len() as u64)]
    {
        if count > 0 {
            broken.push(format!("{count} {what}: {:?}", row.counts.stale.iter().take(3)));
        }
    }
    let counts = &row.counts;
    for (kind, outage) in
        [(Kind::Writes, counts.writes), (Kind::Own, counts.own), (Kind::Any, counts.any)]
    {
        let goes_on = scenario.go_on.contains(&kind);
        let longest = if goes_on { GOES_ON } else { lasted + BACK };
        if outage.longest > longest {
            let found = outage.longest;
            broken.push(format!("{kind:?}: {found:?} without an answer, not {longest:?} at most"));
        }
    }
    broken
}

/// Until the load is under way.
async fn settle(world: &World) {
    let enough = world.ledger.count() + SETTLED;
    eventually(CALM, || async {
        let count = world.ledger.count();
        if count >= enough { Ok(()) } else { Err(format!("{count} sales, not {enough}")) }
    })
    .await;
}

/// Until everything is as it was: programs are ready, every read node is used, and shows what was
/// in the log when the wait began.
async fn calm_down(world: &World) {
    let plan = world.cluster.plan();
    for node in &plan.nodes {
        eventually(CALM, || async {
            if !world.cluster.is_running(&node.name).await {
                world.cluster.start_again(&node.name).await?;
            }
            world.superuser(&node.name).await
        })
        .await;
    }
    for program in &plan.programs {
        eventually(CALM, || async {
            if !world.cluster.is_running(&program.name).await {
                world.cluster.launch(&program.name).await?;
            }
            world.is_ready(&program.name).await
        })
        .await;
    }
    let heads = eventually(CALM, || heads(world)).await;
    for node in world.read_nodes() {
        eventually(CALM, || shows(world, &node, &heads)).await;
    }
    eventually(CALM, || async {
        let left_out = world.metric("query-svc", "headwater_node_breaker_state", &[]).await?;
        anyhow::ensure!(left_out == 0.0, "a read node is left out");
        anyhow::Ok(())
    })
    .await;
}

async fn heads(world: &World) -> anyhow::Result<Vec<i64>> {
    let client = connect(&world.cluster.write_owner_url()).await?;
    let sql = "SELECT array_agg(position ORDER BY partition) FROM headwater_log.head";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn shows(world: &World, node: &str, heads: &[i64]) -> anyhow::Result<()> {
    let client = world.superuser(node).await?;
    let sql = "SELECT positions FROM headwater_read.checkpoint";
    let shown: Vec<i64> = client.query_one(sql, &[]).await?.get(0);
    let all = shown.iter().zip(heads).all(|(shown, head)| shown >= head);
    anyhow::ensure!(all, "{node} shows {shown:?} of {heads:?}");
    Ok(())
}

/// Acknowledged sales that the log lacks, and sales in it beyond those that were acknowledged.
/// (Clients give up on none.)
async fn lost_and_doubled(world: &World) -> [u64; 2] {
    let acknowledged = world.ledger.acknowledged();
    let stream = |item_id: &str| Uuid::parse_str(item_id).expect("an id");
    let streams: Vec<Uuid> =
        acknowledged.iter().map(|one| stream(&one.sale.item.item_id)).collect();
    let versions: Vec<i64> = acknowledged.iter().map(|one| one.receipt.version as i64).collect();
    let sql = "SELECT count(*) FILTER (WHERE t.s IS NOT NULL), count(*)
                 FROM headwater_log.event e
                 LEFT JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::bigint[]) t(s, v)) t
                   ON e.stream = t.s AND e.version = t.v
                WHERE e.type = 'stores.v1.SaleRecorded'";
    let client = connect(&world.cluster.write_owner_url()).await.expect("a connection");
    let row = client.query_one(sql, &[&streams, &versions]).await.expect("counts");
    let [found, all] = [row.get::<_, i64>(0), row.get(1)].map(|count: i64| count as u64);
    let told = acknowledged.len() as u64;
    [told.saturating_sub(found), all.saturating_sub(told)]
}
