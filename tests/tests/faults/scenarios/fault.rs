//! What can go wrong, how it is done, and how it is undone.

use std::time::Duration;

use headwater_cli::local::connect;
use headwater_domain_proto::stores::v1::RenameStoreRequest;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_proto::headwater::v1::CommandOptions;
use headwater_tests::harness::{Line, eventually};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::super::stories::talk::{passes, within};
use super::super::stories::wires::Waits;
use super::super::stories::world::{PATIENCE, SOON, World};

/// The projector that applies the projection when the fault comes.
pub const LEADER: &str = "the leading projector";

/// Names of sessions.
const PROJECTING: &str = "headwater-projector";
const APPENDING: &str = headwater_eventlog::APPLICATION_NAME;
/// Far more than one of the nodes here takes.
const CONNECTIONS_MAX: usize = 1_000;

/// A fault. Names are those of the cluster's members, or [`LEADER`].
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL to a member; started again when it is over.
    Kill(&'static str),
    /// SIGKILL to every node and program at once, as when the power fails.
    KillAll,
    /// Asked to stop; started again when it is over.
    Stop(&'static str),
    /// SIGSTOP to a member: it hangs, with its connections open.
    Pause(&'static str),
    /// The leading projector is killed so often, each time while it commits a batch.
    KillInBatches(Times),
    /// command-svc is killed so often, each time while it appends a batch.
    KillInAppends(Times),
    /// The links from one member to another are in this condition.
    Link(&'static str, &'static str, Line),
    /// A replica answers, and replays nothing of what it receives.
    PauseReplay(&'static str),
    /// A replica answers, and receives nothing.
    CutReplication(&'static str),
    /// No room is left on the file system of a primary.
    FillDisk(&'static str),
    /// Each flush of the WAL takes 0.1 s longer (`commit_delay`).
    SlowFlush(&'static str),
    /// Somebody else takes every connection that a node has, those of the programs too.
    ExhaustConnections(&'static str),
    /// So many events that the read primary refuses. Over, they are tried again.
    Poison(Times),
    /// `headwater verify views` runs, and must find nothing, whatever else goes on.
    VerifyViews,
}

/// A number for `make test`, and one for `make soak`.
#[derive(Clone, Copy, Debug)]
pub struct Times(pub u32, pub u32);

/// What was done, as needed to undo it.
pub struct Struck {
    fault: Fault,
    members: Vec<String>,
    connections: Vec<Client>,
}

impl Times {
    pub fn now(self, is_long: bool) -> u32 {
        if is_long { self.1 } else { self.0 }
    }
}

impl Fault {
    /// The file system that it needs.
    pub fn disk(self) -> Option<&'static str> {
        if let Fault::FillDisk(node) = self { Some(node) } else { None }
    }

    pub async fn strike(self, world: &World, is_long: bool) -> Struck {
        let cluster = &world.cluster;
        let mut struck = Struck { fault: self, members: Vec::new(), connections: Vec::new() };
        match self {
            Fault::Kill(name) => {
                struck.members.push(resolved(world, name).await);
                cluster.kill(&struck.members[0]).await;
            }
            Fault::KillAll => {
                struck.members = members(world);
                for name in &struck.members {
                    cluster.kill(name).await;
                }
            }
            Fault::Stop(name) => {
                struck.members.push(resolved(world, name).await);
                assert!(cluster.stop(&struck.members[0]).await, "{name} had to be killed");
            }
            Fault::Pause(name) => {
                struck.members.push(resolved(world, name).await);
                cluster.pause(&struck.members[0]).await;
            }
            Fault::KillInBatches(times) => kill_in_batches(world, times.now(is_long)).await,
            Fault::KillInAppends(times) => kill_in_appends(world, times.now(is_long)).await,
            Fault::Link(from, to, line) => cluster.link(from, to, line),
            Fault::PauseReplay(node) => sql(world, node, &["SELECT pg_wal_replay_pause()"]).await,
            Fault::CutReplication(node) => {
                sql(world, node, &["ALTER SYSTEM SET primary_conninfo = ''", RELOAD]).await;
            }
            Fault::FillDisk(node) => {
                cluster.disk(node).expect("a disk").fill().expect("it is filled");
            }
            Fault::SlowFlush(node) => {
                let delay = "ALTER SYSTEM SET commit_delay = 100000";
                sql(world, node, &[delay, "ALTER SYSTEM SET commit_siblings = 0", RELOAD]).await;
            }
            Fault::ExhaustConnections(node) => struck.connections = hog(world, node).await,
            Fault::Poison(times) => poison(world, times.now(is_long)).await,
            Fault::VerifyViews => verify_views(world).await,
        }
        struck
    }
}

impl Struck {
    pub async fn mend(self, world: &World) {
        let cluster = &world.cluster;
        match self.fault {
            Fault::Kill(_) | Fault::KillAll | Fault::Stop(_) => {
                for name in &self.members {
                    // A program is not waited for: what it needs may be away.
                    match cluster.plan().node(name) {
                        Some(_) => cluster.start_again(name).await.expect("it starts again"),
                        None => cluster.launch(name).await.expect("it can be started"),
                    }
                }
            }
            Fault::Pause(_) => cluster.resume(&self.members[0]).await,
            Fault::KillInBatches(_) | Fault::KillInAppends(_) | Fault::VerifyViews => {}
            Fault::Link(from, to, _) => cluster.link(from, to, Line::Up),
            Fault::PauseReplay(node) => sql(world, node, &["SELECT pg_wal_replay_resume()"]).await,
            Fault::CutReplication(node) => {
                cluster.follow(node, cluster.view_node()).await.expect("it follows");
            }
            Fault::FillDisk(node) => {
                cluster.disk(node).expect("a disk").free().expect("it was filled");
                // A server that could not write its WAL has ended itself, or starts anew.
                if !cluster.is_running(node).await {
                    cluster.start_again(node).await.expect("it starts again");
                }
            }
            Fault::SlowFlush(node) => {
                let delay = "ALTER SYSTEM RESET commit_delay";
                sql(world, node, &[delay, "ALTER SYSTEM RESET commit_siblings", RELOAD]).await;
            }
            Fault::ExhaustConnections(_) => drop(self.connections),
            Fault::Poison(_) => retry_parked(world).await,
        }
    }
}

const RELOAD: &str = "SELECT pg_reload_conf()";

/// Statements on a node, each by itself, as its superuser.
async fn sql(world: &World, node: &str, statements: &[&str]) {
    for statement in statements {
        eventually(SOON, || async {
            let client = world.superuser(node).await?;
            client.batch_execute(statement).await?;
            anyhow::Ok(())
        })
        .await;
    }
}

/// All members, nodes first.
fn members(world: &World) -> Vec<String> {
    let plan = world.cluster.plan();
    let nodes = plan.nodes.iter().map(|node| node.name.clone());
    nodes.chain(plan.programs.iter().map(|program| program.name.clone())).collect()
}

async fn resolved(world: &World, name: &str) -> String {
    if name == LEADER { leader(world).await } else { name.to_owned() }
}

async fn leader(world: &World) -> String {
    let names: Vec<String> =
        members(world).into_iter().filter(|name| name.starts_with("projector")).collect();
    eventually(SOON, || async {
        for name in &names {
            let leads = world.metric(name, "headwater_projection_leader", &[]).await;
            if leads.unwrap_or_default() == 1.0 {
                return Ok(name.clone());
            }
        }
        Err("nobody leads")
    })
    .await
}

async fn kill_in_batches(world: &World, times: u32) {
    for _ in 0..times {
        // Before its table is locked: a projector cannot take over then.
        let leader = leader(world).await;
        let lock = world.hold_projections().await;
        world.until_held(world.cluster.view_node(), PROJECTING, Waits::ForLock).await;
        world.kill(&leader).await;
        drop(lock);
        world.cluster.launch(&leader).await.expect("it can be started");
    }
}

async fn kill_in_appends(world: &World, times: u32) {
    for _ in 0..times {
        let lock = world.hold_appends().await;
        world.until_held(world.cluster.log_node(), APPENDING, Waits::ForLock).await;
        world.kill("command-svc").await;
        drop(lock);
        world.start_again("command-svc").await;
    }
}

/// Takes what connections there are, ends those of others, and takes theirs.
async fn hog(world: &World, node: &str) -> Vec<Client> {
    let superuser = world.superuser(node).await.expect("a connection");
    let url = world.cluster.owner_url(node);
    let mut taken = Vec::new();
    for _ in 0..2 {
        while let Ok(client) = connect(&url).await {
            taken.push(client);
            assert!(taken.len() < CONNECTIONS_MAX, "{node} takes any number of connections");
        }
        let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE application_name LIKE 'headwater-%' AND backend_type = 'client backend'";
        superuser.batch_execute(others).await.expect("ended");
    }
    taken
}

/// The table of the view of stores.
async fn store_table(client: &Client) -> String {
    let sql = "SELECT max(table_name::text) FROM information_schema.tables
                WHERE table_schema = 'headwater_read' AND table_name ~ '^store_v[0-9]+$'";
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

/// Renames stores to what their view does not take.
async fn poison(world: &World, times: u32) {
    world.cluster.expect_logs(&["an event is parked"]);
    let client = connect(&world.cluster.read_owner_url()).await.expect("a connection");
    let table = store_table(&client).await;
    let check = format!(
        "ALTER TABLE headwater_read.{table} ADD CONSTRAINT tame CHECK (name NOT LIKE 'wild%')"
    );
    client.batch_execute(&check).await.expect("constrained");
    for number in 0..times {
        let stores = &world.shop.stores;
        rename(world, &stores[number as usize % stores.len()], &format!("wild {number}")).await;
    }
    let expected = world.shop.stores.len().min(times as usize);
    eventually(SOON, || async {
        let waiting = parked(world).await?;
        anyhow::ensure!(waiting >= expected, "{waiting} of {expected} wait");
        anyhow::Ok(())
    })
    .await;
}

async fn rename(world: &World, store_id: &str, name: &str) {
    let key = Uuid::now_v7().to_string();
    eventually(SOON, || async {
        let request = RenameStoreRequest {
            store_id: store_id.to_owned(),
            name: name.to_owned(),
            options: Some(CommandOptions { idempotency_key: key.clone(), ..Default::default() }),
        };
        let mut stores = StoreCommandServiceClient::new(world.router());
        let renamed = stores.rename_store(within(PATIENCE, request)).await;
        renamed.map(drop).inspect_err(|status| assert!(passes(status), "{status:?}"))
    })
    .await;
}

/// The view takes everything again.
async fn retry_parked(world: &World) {
    let client = connect(&world.cluster.read_owner_url()).await.expect("a connection");
    let table = store_table(&client).await;
    let free = format!("ALTER TABLE headwater_read.{table} DROP CONSTRAINT tame");
    client.batch_execute(&free).await.expect("free");
    let retried = world.cluster.headwater(&["parked", "retry", "--all"]).await;
    let retried = retried.expect("it runs");
    assert!(retried.status.success(), "{retried:?}");
}

/// How many rows wait behind parked events.
pub async fn parked(world: &World) -> anyhow::Result<usize> {
    let output = world.cluster.headwater(&["parked", "list", "--json"]).await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice::<Vec<Value>>(&output.stdout)?.len())
}

/// Every row of every view on every node is what the log comes to.
pub async fn verify_views(world: &World) {
    let verify = tokio::time::timeout(
        Duration::from_secs(120),
        world.cluster.headwater(&["verify", "views"]),
    );
    let output = verify.await.expect("in time").expect("it runs");
    assert!(output.status.success(), "{output:?}");
}
