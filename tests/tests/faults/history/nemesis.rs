//! What goes wrong: one fault after the other, in an order that the seed decides, and sometimes a
//! second one inside of the first. Each is mended before the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng};

use super::world::World;

/// What can go wrong. Replicas are told apart by number: which node that is changes with each
/// failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A replica hangs, with its connections open.
    ReplicaHangs(usize),
    /// A replica answers, and replays nothing of what it receives.
    ReplicaLags(usize),
    /// A replica answers, and receives nothing.
    ReplicaCutOff(usize),
    /// A replica is killed, and started again.
    ReplicaDies(usize),
    /// The write primary is killed, and started again.
    WritePrimaryDies,
    /// The write primary hangs.
    WritePrimaryHangs,
    /// The read primary is killed, and started again.
    ReadPrimaryDies,
    /// The read primary hangs.
    ReadPrimaryHangs,
    /// The read primary is killed, and a replica is promoted. Then the old one comes back and takes
    /// writes, too, until it is made a replica of the new one.
    ReadPrimaryIsReplaced,
    /// A program is killed, and started again.
    ProgramDies(&'static str),
}

/// Each of them comes once before any comes again.
const FAULTS: [Fault; 19] = [
    Fault::ReplicaHangs(0),
    Fault::ReplicaHangs(1),
    Fault::ReplicaLags(0),
    Fault::ReplicaLags(1),
    Fault::ReplicaCutOff(0),
    Fault::ReplicaCutOff(1),
    Fault::ReplicaDies(0),
    Fault::ReplicaDies(1),
    Fault::WritePrimaryDies,
    Fault::WritePrimaryHangs,
    Fault::ReadPrimaryDies,
    Fault::ReadPrimaryHangs,
    Fault::ReadPrimaryIsReplaced,
    Fault::ProgramDies("projector"),
    Fault::ProgramDies("query-svc"),
    Fault::ProgramDies("query-svc-2"),
    Fault::ProgramDies("command-svc"),
    Fault::ProgramDies("command-svc-2"),
    Fault::ProgramDies("router"),
];
/// In each round the failover is among so many first ones, so that a short run has one.
const FAILOVER_WITHIN: usize = 3;

/// Faults that leave everything usable, so that another one may come on top.
fn is_partial(fault: Fault) -> bool {
    match fault {
        Fault::ReplicaHangs(_) | Fault::ReplicaLags(_) | Fault::ReplicaCutOff(_) => true,
        Fault::ReplicaDies(_)
        | Fault::WritePrimaryDies
        | Fault::WritePrimaryHangs
        | Fault::ReadPrimaryDies
        | Fault::ReadPrimaryHangs
        | Fault::ReadPrimaryIsReplaced
        | Fault::ProgramDies(_) => false,
    }
}

/// Lets one fault follow the other until it is over. Gives how often each came. All are mended.
pub async fn torment(world: &World, seed: u64, is_over: impl Fn() -> bool) -> BTreeMap<Fault, u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut came = BTreeMap::new();
    let mut next = Vec::new();
    while !is_over() {
        if next.is_empty() {
            next = round(&mut rng);
        }
        let fault = next.pop().expect("one is left");
        let programs = || FAULTS.into_iter().filter(|f| matches!(f, Fault::ProgramDies(_)));
        let second: Vec<Fault> = programs().collect();
        let second = second.choose(&mut rng).copied().expect("some program");
        let second = Some(second).filter(|_| rng.random_bool(0.5) && is_partial(fault));
        let (held, pause) = (some(&mut rng, 300..2_000), some(&mut rng, 100..800));
        let turn = world.turn.lock().await;
        strike(world, fault).await;
        *came.entry(fault).or_default() += 1;
        pass(held).await;
        if fault == Fault::ReadPrimaryIsReplaced {
            replace(world, held).await;
        }
        if let Some(second) = second {
            strike(world, second).await;
            *came.entry(second).or_default() += 1;
            pass(held).await;
            mend(world, second).await;
        }
        mend(world, fault).await;
        drop(turn);
        pass(pause).await;
    }
    came
}

/// All of them, the last one first.
fn round(rng: &mut StdRng) -> Vec<Fault> {
    let mut faults = FAULTS.to_vec();
    faults.shuffle(rng);
    let failover = faults.iter().position(|fault| *fault == Fault::ReadPrimaryIsReplaced);
    let early = faults.len() - 1 - rng.random_range(0..FAILOVER_WITHIN);
    faults.swap(failover.expect("it is one of them"), early);
    faults
}

fn some(rng: &mut StdRng, millis: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(millis))
}

async fn pass(time: Duration) {
    // tidy: allow sleep: how long a fault lasts is part of the story
    tokio::time::sleep(time).await;
}

async fn strike(world: &World, fault: Fault) {
    let cluster = &world.cluster;
    match fault {
        Fault::ReplicaHangs(number) => cluster.pause(world.replicas()[number]).await,
        Fault::ReplicaLags(number) => {
            world.on_node(world.replicas()[number], "SELECT pg_wal_replay_pause()").await;
        }
        Fault::ReplicaCutOff(number) => {
            let replica = world.replicas()[number];
            world.on_node(replica, "ALTER SYSTEM SET primary_conninfo = ''").await;
            world.on_node(replica, "SELECT pg_reload_conf()").await;
        }
        Fault::ReplicaDies(number) => cluster.kill(world.replicas()[number]).await,
        Fault::WritePrimaryDies => cluster.kill(cluster.log_node()).await,
        Fault::WritePrimaryHangs => cluster.pause(cluster.log_node()).await,
        Fault::ReadPrimaryDies | Fault::ReadPrimaryIsReplaced => {
            cluster.kill(cluster.view_node()).await;
        }
        Fault::ReadPrimaryHangs => cluster.pause(cluster.view_node()).await,
        Fault::ProgramDies(name) => cluster.kill(name).await,
    }
}

async fn mend(world: &World, fault: Fault) {
    let cluster = &world.cluster;
    let restart = async |name| cluster.start_again(name).await.expect("it starts again");
    match fault {
        Fault::ReplicaHangs(number) => cluster.resume(world.replicas()[number]).await,
        Fault::ReplicaLags(number) => {
            world.on_node(world.replicas()[number], "SELECT pg_wal_replay_resume()").await;
        }
        Fault::ReplicaCutOff(number) => {
            let followed = cluster.follow(world.replicas()[number], cluster.view_node()).await;
            followed.expect("it follows");
        }
        Fault::ReplicaDies(number) => restart(world.replicas()[number]).await,
        Fault::WritePrimaryDies => restart(cluster.log_node()).await,
        Fault::WritePrimaryHangs => cluster.resume(cluster.log_node()).await,
        Fault::ReadPrimaryDies => restart(cluster.view_node()).await,
        Fault::ReadPrimaryHangs => cluster.resume(cluster.view_node()).await,
        // Replaced and taken back already.
        Fault::ReadPrimaryIsReplaced => {}
        // Not waited for: what it needs may be away.
        Fault::ProgramDies(name) => cluster.launch(name).await.expect("it can be started"),
    }
}

/// The failover of a read primary that was killed.
async fn replace(world: &World, held: Duration) {
    let cluster = &world.cluster;
    let (old, replicas) = (cluster.view_node(), world.replicas());
    let next = cluster.furthest(&replicas).await.expect("replicas");
    cluster.promote(next).await.expect("it is promoted");
    for replica in world.replicas().into_iter().filter(|name| *name != old) {
        cluster.follow(replica, next).await.expect("it follows");
    }
    pass(held).await;
    cluster.start_again(old).await.expect("it comes back");
    pass(held).await;
    cluster.rejoin(old, next).await.expect("it is taken back");
    cluster.until_streaming(old).await;
}
