//! The data that the last release's programs left is taken over: migrated while programs of both
//! releases append, finished, and served by a whole stack of this release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_domain_proto::users::v1::{UserRegistered, UserRenamed};
use headwater_eventlog::{Command, Edition, EventLog, Fact, FactKind, LogError, Outcome};
use headwater_kernel::{NewEvent, Partition, StreamId, StreamVersion};
use headwater_previous as previous;
use headwater_tests::harness::{Cluster, Options, eventually, restore, temporary_folder};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);
/// Events that the last release left.
const LEFT: u64 = 460;
const USER: &str = "01993c2f-0000-7000-8000-000000000001";
const STORE: &str = "01993c2f-0000-7000-8000-000000000002";
const ITEM: &str = "01993c2f-0000-7000-8000-000000000003";

/// What happens to a user at this version.
fn event(user: StreamId, version: u64) -> Vec<NewEvent> {
    let name = format!("Name {version}");
    let (type_name, payload) = match version {
        0 => {
            let registered = UserRegistered { email: email(user), name };
            ("users.v1.UserRegistered", registered.encode_to_vec())
        }
        _ => ("users.v1.UserRenamed", UserRenamed { name }.encode_to_vec()),
    };
    vec![NewEvent { type_name, schema_version: 1, payload, tags: Vec::new(), subject: None }]
}

/// The address, taken with the first event.
fn claims(user: StreamId, version: u64) -> Vec<String> {
    (version == 0).then(|| format!("email/{}", email(user))).into_iter().collect()
}

fn email(user: StreamId) -> String {
    format!("{}@example.org", user.0.simple())
}

/// A program that appends to one stream, one event a command, until it is told to stop. Gives the
/// version that it came to, every command having been acknowledged once.
fn of_this_release(log: EventLog, over: Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let stream = StreamId(Uuid::now_v7());
        let (mut appender, mut version) = (log.appender(Partition(0)), 0);
        while !over.load(Ordering::Relaxed) {
            let mut claim = claims(stream, version);
            let kind = FactKind::TakeClaim;
            let command = Command {
                stream,
                expected: StreamVersion(version),
                command_id: Uuid::now_v7(),
                caller: None,
                traceparent: None,
                key: None,
                events: event(stream, version),
                facts: claim.drain(..).map(|name| Fact { kind, name }).collect(),
                boundary: None,
            };
            match appender.append(&[command]).await.as_deref() {
                Ok([Outcome::Committed(_)]) => version += 1,
                // Nothing was committed: again, on the schema as it is now.
                Err(LogError::Migrated | LogError::Collision(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        version
    })
}

fn of_the_last_release(log: previous::EventLog, over: Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let stream = StreamId(Uuid::now_v7());
        let (mut appender, mut version) = (log.appender(Partition(0)), 0);
        while !over.load(Ordering::Relaxed) {
            let mut claim = claims(stream, version);
            let kind = previous::FactKind::TakeClaim;
            let command = previous::Command {
                stream,
                expected: StreamVersion(version),
                command_id: Uuid::now_v7(),
                caller: None,
                traceparent: None,
                key: None,
                events: event(stream, version),
                facts: claim.drain(..).map(|name| previous::Fact { kind, name }).collect(),
            };
            match appender.append(&[command]).await.as_deref() {
                Ok([previous::Outcome::Committed(_)]) => version += 1,
                other => panic!("{other:?}"),
            }
        }
        version
    })
}

async fn succeeds(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.headwater(args).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Migrates under load of both, and finishes; gives the number of events afterwards.
async fn migrate(cluster: &Cluster) -> u64 {
    let url = cluster.command_url();
    let (write, read) = (cluster.write_owner_url(), cluster.read_owner_url());
    let owners = ["--write-owner-url", &write, "--read-owner-url", &read];
    let new = EventLog::connect(&url, 2).await.expect("connected");
    assert_eq!(new.info().edition, Edition::Old);
    let old = previous::EventLog::connect(&url, 2).await.expect("connected");
    let over: [Arc<AtomicBool>; 2] = Default::default();
    let working = of_this_release(new.clone(), Arc::clone(&over[0]));
    let leaving = of_the_last_release(old.clone(), Arc::clone(&over[1]));
    succeeds(cluster, &[&["migrate"], &owners[..]].concat()).await;
    over[1].store(true, Ordering::Relaxed);
    let by_old = leaving.await.expect("no panic");
    old.close().await;
    drop(old);
    let finish = [&["migrate"], &owners[..], &["--finish"]].concat();
    // Until the server has noticed that the last release's sessions are gone.
    eventually(SOON, || async {
        let output = cluster.headwater(&finish).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "{said}");
        anyhow::Ok(())
    })
    .await;
    over[0].store(true, Ordering::Relaxed);
    let by_new = working.await.expect("no panic");
    assert!(by_old > 0 && by_new > 0, "{by_old} {by_new}");
    new.close().await;
    succeeds(cluster, &["verify", "log", "--write-url", &cluster.feed_url()]).await;
    let claims = succeeds(cluster, &["verify", "claims", "--write-owner-url", &write]).await;
    assert!(claims.contains("claims and marks are those of"), "{claims}");
    LEFT + by_old + by_new
}

async fn call(cluster: &Cluster, method: &str, request: Value) -> Value {
    let said = succeeds(cluster, &["call", method, &request.to_string()]).await;
    serde_json::from_str(&said).expect("JSON")
}

async fn refused(cluster: &Cluster, method: &str, request: Value, reason: &str) {
    let output = cluster.headwater(&["call", method, &request.to_string()]).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(reason), "{reason}: {said}");
}

fn sale(key: &str) -> Value {
    let amount = json!({"currency": "NOK", "minor_units": 1000});
    json!({"store_id": STORE, "item_id": ITEM, "quantity": 1, "amount": amount,
           "options": {"idempotency_key": key}})
}

#[tokio::test]
async fn the_last_releases_data_is_migrated_under_load_and_served() {
    let folder = temporary_folder(false).expect("a folder");
    let kept = Some(folder.clone());
    let databases = Options { replicas: 0, kept: kept.clone(), ..Options::databases_only() };
    let cluster = Cluster::start(databases).await.expect("databases");
    restore(cluster.plan()).await.expect("restored");
    let events = migrate(&cluster).await;
    assert_eq!(cluster.shut_down().await, Vec::<String>::new());

    let cluster = Cluster::start(Options { replicas: 1, kept, ..Options::default() }).await;
    let cluster = cluster.expect("a stack");
    let strong = json!({"strong": true});
    let item = json!({"item_id": ITEM, "consistency": strong});
    let found = call(&cluster, "stores.v1.StockQueryService/GetItem", item).await;
    assert_eq!(found["item"]["on_hand"], json!(390), "{found}");
    assert_eq!(found["item"]["version"], json!(112));
    let overview = json!({"store_id": STORE});
    let found = call(&cluster, "stores.v1.StoreQueryService/GetStoreOverview", overview).await;
    assert_eq!(found["overview"]["manager_name"], json!("Ada"), "{found}");

    let record = "stores.v1.StockCommandService/RecordSale";
    let again = call(&cluster, record, sale("key-7")).await;
    assert_eq!(
        (&again["receipt"]["replayed"], &again["receipt"]["version"]),
        (&json!(true), &json!(9))
    );
    let sold = call(&cluster, record, sale("key-111")).await;
    assert_eq!(sold["receipt"]["version"], json!(113));
    let other = json!({"email": "ada@example.org", "name": "Another"});
    refused(&cluster, "users.v1.UserCommandService/RegisterUser", other, "EMAIL_TAKEN").await;
    let price = json!({"currency": "NOK", "minor_units": 1});
    let same_sku = json!({"store_id": STORE, "sku": "K-1", "name": "Another", "price": price});
    refused(&cluster, "stores.v1.StockCommandService/ListItem", same_sku, "SKU_TAKEN").await;

    let verified = succeeds(&cluster, &["verify", "log"]).await;
    assert!(verified.contains(&format!("the log is sound: {} events", events + 1)), "{verified}");
    let user = json!({"user_id": USER});
    let user = call(&cluster, "users.v1.UserQueryService/GetUser", user).await;
    assert_eq!(user["user"]["email"], json!("ada@example.org"));
    drop(cluster);
    let _ = std::fs::remove_dir_all(folder);
}
