//! The history checker at work: many clients command and query a cluster while its parts are
//! paused, cut off, killed and restarted; everything that they did and were told is recorded, and
//! the checker (`headwater_tests::history`) proves from the record and the log that no promise was
//! broken.
//!
//! The seed is printed, and HEADWATER_SEED repeats its choices: what each client does in which
//! order, and which faults come. What answers come, and when, is up to the machine.
//! HEADWATER_SOAK_SECONDS makes it long: `make soak` has an upgrade from the last release in the
//! middle of it.

mod clock;
mod session;
mod shop;

mod commands;
mod queries;

mod client;
mod last_release;
mod load;
mod nemesis;
mod upgrade;
mod watcher;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_tests::history::record::Operation;
use headwater_tests::history::{Kind, Violation, check};

use crate::machine;
use last_release::LastRelease;
use load::Load;
use queries::Enforcement;
use world::{Release, World};

/// How long the clients are at it by default.
const SHORT: Duration = Duration::from_secs(25);
/// And with an upgrade.
const SHORT_WITH_UPGRADE: Duration = Duration::from_secs(20);
/// The longest that may be asked for: the record is kept in memory, at some 300 KB a second.
const SOAK_SECONDS_MAX: u64 = 60 * 60;
/// How long replicas stand still where they are to be caught at it, and how often.
const PAUSED: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// How many broken promises of each kind a failed test shows.
const SHOWN: usize = 3;

/// Twelve clients work on a few stores, items and users through the router, and one fault follows
/// the other. Then everything is mended, and everything is read once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_through_every_fault() {
    let _machine = machine::whole().await;
    let seed = seed();
    let world = World::start(seed, Release::This).await;
    let load = Load::start(&world, Enforcement::On);
    let until = Instant::now() + soak().unwrap_or(SHORT);
    let faults = nemesis::torment(&world, seed, || Instant::now() > until).await;
    println!("faults: {faults:?}");
    prove(&world, load, Vec::new()).await;
}

/// The same on a log of the last release, which is migrated meanwhile, with its programs beside
/// those of this one until the migration is finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_through_every_fault_and_an_upgrade() {
    let _machine = machine::whole().await;
    let seed = seed();
    let world = World::start(seed, Release::Last).await;
    // They connect before anything is broken.
    let old = LastRelease::start(&world).await;
    let load = Load::start(&world, Enforcement::On);
    let is_over = AtomicBool::new(false);
    let upgraded = async {
        let upgraded = upgrade::upgrade(&world, old, soak().unwrap_or(SHORT_WITH_UPGRADE)).await;
        is_over.store(true, Ordering::Relaxed);
        upgraded
    };
    let torment = nemesis::torment(&world, seed, || is_over.load(Ordering::Relaxed));
    let (faults, upgraded) = tokio::join!(torment, upgraded);
    println!("faults: {faults:?}");
    let operations = prove(&world, load, upgraded.operations.clone()).await;
    upgraded.assert_worth_something(&operations);
}

/// Mends everything, ends the load, and checks what all of them did, those included who did the
/// rest. Gives all of it.
async fn prove(world: &World, load: Load, rest: Vec<Operation>) -> Vec<Operation> {
    world.calm_down().await;
    let mut operations = load.stop(world).await;
    operations.extend(rest);
    operations.extend(world.last_look().await);
    let log = world.log().await;
    world.verify_log().await;
    println!("{}", load::summary(&operations));
    let found = check(&log, &operations);
    assert!(found.is_empty(), "seed {}:\n{}", world.seed, report(&found));
    load::assert_worth_something(&operations);
    operations
}

/// What the checker would say if nobody held replies against the tokens of their requests: replicas
/// stop replaying, and the tokens get lost on the way. Readers see the past, and the checker must
/// notice each way in which they do; the rows are still those of the positions that they claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_nobody_checks_are_noticed() {
    let _machine = machine::whole().await;
    let world = World::start(seed(), Release::This).await;
    let load = Load::start(&world, Enforcement::Off);
    for _ in 0..ROUNDS {
        for replica in world.replicas() {
            world.on_node(replica, "SELECT pg_wal_replay_pause()").await;
        }
        load.run_for(PAUSED).await;
        for replica in world.replicas() {
            world.on_node(replica, "SELECT pg_wal_replay_resume()").await;
        }
        // A replica that lags for long is read only if there is no other node.
        world.calm_down().await;
    }
    let operations = load.stop(&world).await;
    let log = world.log().await;
    let found: BTreeSet<Kind> = check(&log, &operations).into_iter().map(|v| v.kind).collect();
    let expected = [Kind::OlderThanAsked, Kind::OwnWriteMissing, Kind::WentBack];
    assert!(expected.iter().all(|kind| found.contains(kind)), "found only {found:?}");
    let others: Vec<_> = found.iter().filter(|kind| !expected.contains(kind)).collect();
    assert!(others.is_empty(), "found {others:?} too");
}

/// How often each promise was broken, and how.
fn report(found: &[Violation]) -> String {
    let mut kinds: BTreeMap<Kind, Vec<&Violation>> = BTreeMap::new();
    for violation in found {
        kinds.entry(violation.kind).or_default().push(violation);
    }
    let shown = |violations: &[&Violation]| {
        let shown = violations.iter().take(SHOWN).map(ToString::to_string);
        shown.collect::<Vec<_>>().join("\n\n")
    };
    let kinds = kinds.iter();
    kinds.map(|(kind, all)| format!("{} x {kind:?}\n{}\n", all.len(), shown(all))).collect()
}

fn seed() -> u64 {
    let seed = number("HEADWATER_SEED").unwrap_or_else(rand::random);
    println!("HEADWATER_SEED={seed}");
    seed
}

fn soak() -> Option<Duration> {
    let seconds = number("HEADWATER_SOAK_SECONDS")?;
    assert!(seconds <= SOAK_SECONDS_MAX, "at most {SOAK_SECONDS_MAX} seconds");
    Some(Duration::from_secs(seconds))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
