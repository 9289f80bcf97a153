//! What goes wrong: one fault after the other, in an order that the seed decides, and sometimes a
//! second one inside of the first. Each is mended before the next one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng};

use super::world::World;

pub const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A replica hangs, with its connections open.
    ReplicaHangs(&'static str),
    /// A replica answers, and replays nothing of what it receives.
    ReplicaLags(&'static str),
    /// A replica answers, and receives nothing.
    ReplicaCutOff(&'static str),
    /// A node is killed, and started again.
    NodeDies(&'static str),
    /// A primary hangs.
    PrimaryHangs(&'static str),
    /// A program is killed, and started again.
    ProgramDies(&'static str),
}

/// Each of them comes once before any comes again.
const FAULTS: [Fault; 17] = [
    Fault::ReplicaHangs(REPLICAS[0]),
    Fault::ReplicaHangs(REPLICAS[1]),
    Fault::ReplicaLags(REPLICAS[0]),
    Fault::ReplicaLags(REPLICAS[1]),
    Fault::ReplicaCutOff(REPLICAS[0]),
    Fault::ReplicaCutOff(REPLICAS[1]),
    Fault::NodeDies(REPLICAS[0]),
    Fault::NodeDies(REPLICAS[1]),
    Fault::NodeDies("write"),
    Fault::NodeDies("read"),
    Fault::PrimaryHangs("write"),
    Fault::PrimaryHangs("read"),
    Fault::ProgramDies("projector"),
    Fault::ProgramDies("query-svc"),
    Fault::ProgramDies("query-svc-2"),
    Fault::ProgramDies("command-svc"),
    Fault::ProgramDies("router"),
];

/// Faults that leave everything usable, so that another one may come on top.
fn is_partial(fault: Fault) -> bool {
    match fault {
        Fault::ReplicaHangs(_) | Fault::ReplicaLags(_) | Fault::ReplicaCutOff(_) => true,
        Fault::NodeDies(_) | Fault::PrimaryHangs(_) | Fault::ProgramDies(_) => false,
    }
}

/// Lets one fault follow the other for this long. Gives how often each came. All are mended.
pub async fn torment(world: &World, seed: u64, time: Duration) -> BTreeMap<Fault, u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let until = Instant::now() + time;
    let mut came = BTreeMap::new();
    let mut next = Vec::new();
    while Instant::now() < until {
        if next.is_empty() {
            next = FAULTS.to_vec();
            next.shuffle(&mut rng);
        }
        let fault = next.pop().expect("one is left");
        let programs = || FAULTS.into_iter().filter(|f| matches!(f, Fault::ProgramDies(_)));
        let second: Vec<Fault> = programs().collect();
        let second = second.choose(&mut rng).copied().expect("some program");
        let second = Some(second).filter(|_| rng.random_bool(0.5) && is_partial(fault));
        let (held, pause) = (some(&mut rng, 300..2_000), some(&mut rng, 100..800));
        strike(world, fault).await;
        *came.entry(fault).or_default() += 1;
        pass(held).await;
        if let Some(second) = second {
            strike(world, second).await;
            *came.entry(second).or_default() += 1;
            pass(held).await;
            mend(world, second).await;
        }
        mend(world, fault).await;
        pass(pause).await;
    }
    came
}

fn some(rng: &mut StdRng, millis: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(millis))
}

async fn pass(time: Duration) {
    // tidy: allow sleep: how long a fault lasts is part of the story
    tokio::time::sleep(time).await;
}

async fn strike(world: &World, fault: Fault) {
    match fault {
        Fault::ReplicaHangs(node) | Fault::PrimaryHangs(node) => world.cluster.pause(node).await,
        Fault::ReplicaLags(node) => world.on_node(node, "SELECT pg_wal_replay_pause()").await,
        Fault::ReplicaCutOff(node) => {
            world.on_node(node, "ALTER SYSTEM SET primary_conninfo = ''").await;
            world.on_node(node, "SELECT pg_reload_conf()").await;
        }
        Fault::NodeDies(name) | Fault::ProgramDies(name) => world.cluster.kill(name).await,
    }
}

async fn mend(world: &World, fault: Fault) {
    match fault {
        Fault::ReplicaHangs(node) | Fault::PrimaryHangs(node) => world.cluster.resume(node).await,
        Fault::ReplicaLags(node) => world.on_node(node, "SELECT pg_wal_replay_resume()").await,
        Fault::ReplicaCutOff(node) => {
            world.on_node(node, "ALTER SYSTEM RESET primary_conninfo").await;
            world.on_node(node, "SELECT pg_reload_conf()").await;
        }
        Fault::NodeDies(name) => world.cluster.start_again(name).await.expect("it starts again"),
        // Not waited for: what it needs may be away.
        Fault::ProgramDies(name) => world.cluster.launch(name).await.expect("it can be started"),
    }
}
