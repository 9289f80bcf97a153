//! An upgrade from the last release in the middle of a history, while clients work and faults come:
//! the log is migrated, programs are stopped and started again one by one, those of the last
//! release go, and the migration is finished.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::ensure;
use headwater_eventlog::{Edition, EventLog};
use headwater_tests::harness::eventually;
use headwater_tests::history::record::{Moment, Operation, Outcome, What};

use super::last_release::{self, LastRelease};
use super::world::World;

/// One of each kind that uses the log. The other copies go on: they are of this release already,
/// and meet both steps as they run.
const RESTARTED: [&str; 3] = ["command-svc", "projector", "query-svc"];
/// A step that a fault made fail is repeated, as an operator does, until then.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Commands that are acknowledged at least, on each of the three schemas: to clients, and to
/// programs of the last release on each of the first two.
const LEAST: usize = 10;

/// Steps of an upgrade that is done, and what programs of the last release did meanwhile.
pub struct Upgrade {
    /// When the schema was certainly the old one, the migrated one, and the finished one.
    phases: [Range<Moment>; 3],
    /// Operations of programs of the last release.
    pub operations: Vec<Operation>,
}

/// Carries it out over this time, or somewhat more, beside programs of the last release.
pub async fn upgrade(world: &World, old: LastRelease, time: Duration) -> Upgrade {
    let (part, until) = (time / 4, Instant::now() + time);
    is_of(world, Edition::Old).await;
    let begun = world.clock.now();
    pass(part).await;
    let old_schema = begun..world.clock.now();
    migrate(world, &[]).await;
    let migrated = world.clock.now();
    is_of(world, Edition::Both).await;
    world.allow_transfers();
    pass(part).await;
    for program in RESTARTED {
        world.restart(program).await;
    }
    let operations = old.stop().await;
    let migrated_schema = migrated..world.clock.now();
    migrate(world, &["--finish"]).await;
    let finished = world.clock.now();
    is_of(world, Edition::Finished).await;
    pass(until.saturating_duration_since(Instant::now()).max(part)).await;
    let phases = [old_schema, migrated_schema, finished..world.clock.now()];
    Upgrade { phases, operations }
}

async fn pass(time: Duration) {
    // tidy: allow sleep: how long there is which schema is part of the story
    tokio::time::sleep(time).await;
}

/// Runs `headwater migrate` until it succeeds.
async fn migrate(world: &World, more: &[&str]) {
    let partitions = world.cluster.plan().partitions.to_string();
    eventually(STEP_MAX, || async {
        let (write, read) = (world.cluster.write_owner_url(), world.cluster.read_owner_url());
        let mut args = vec!["migrate", "--write-owner-url", &write, "--read-owner-url", &read];
        args.extend(["--partitions", &partitions]);
        args.extend(more);
        let output = world.cluster.headwater(&args).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "migrate {more:?}: {said}");
        anyhow::Ok(())
    })
    .await;
}

async fn is_of(world: &World, wanted: Edition) {
    let found = eventually(STEP_MAX, || async {
        let log = EventLog::connect(&world.cluster.command_url(), 1).await?;
        let found = log.info().edition;
        log.close().await;
        anyhow::Ok(found)
    })
    .await;
    assert_eq!(found, wanted);
}

impl Upgrade {
    /// An upgrade at which nobody worked proves nothing.
    pub fn assert_worth_something(&self, operations: &[Operation]) {
        for (schema, phase) in ["old", "migrated", "finished"].into_iter().zip(&self.phases) {
            let within = |operation: &&Operation| {
                phase.start <= operation.began && operation.ended < phase.end
            };
            let told = operations.iter().filter(within).filter(is_acknowledged);
            let (old, new): (Vec<_>, Vec<_>) = told.partition(|o| is_of_last_release(o));
            let (old, new) = (old.len(), new.len());
            println!("{schema} schema: {new} commands acknowledged, {old} by the last release");
            let enough = old >= LEAST || schema == "finished";
            assert!(new >= LEAST && enough, "only {new} and {old} on the {schema} schema");
        }
    }
}

fn is_of_last_release(operation: &Operation) -> bool {
    last_release::NUMBERS.contains(&operation.client)
}

fn is_acknowledged(operation: &&Operation) -> bool {
    match &operation.what {
        What::Command(command) => matches!(command.outcome, Outcome::Acknowledged(_)),
        What::Query(_) => false,
    }
}
