//! `headwater parked` on a stack whose read primary refuses a row: listed, shown, tried again and
//! dropped, while everything else goes on.

use std::process::Stdio;
use std::time::Duration;

use headwater_tests::harness::{Cluster, Options, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);

/// Exit code, and all that was printed.
async fn headwater(cluster: &Cluster, args: &[&str], input: &str) -> (Option<i32>, String) {
    let own = std::env::current_exe().expect("this program");
    // target/<profile>/deps/<test>
    let binary = own.ancestors().nth(2).expect("the folder of the programs").join("headwater");
    let mut command = Command::new(binary);
    command.args(args).env("HEADWATER_DATA", cluster.root()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("headwater");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("read");
    drop(stdin);
    let ended = tokio::time::timeout(SOON, child.wait_with_output());
    let output = ended.await.expect("in time").expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

async fn call(cluster: &Cluster, method: &str, request: Value) -> Value {
    let args = ["call", "--no-session", method, &request.to_string()];
    let (code, printed) = headwater(cluster, &args, "").await;
    assert_eq!(code, Some(0), "{printed}");
    serde_json::from_str(&printed).expect("JSON")
}

async fn open(cluster: &Cluster, name: &str) -> String {
    let request = json!({"name": name, "city": "Bern", "currency": "EUR"});
    let opened = call(cluster, "stores.v1.StoreCommandService/OpenStore", request).await;
    opened["store_id"].as_str().expect("an id").to_owned()
}

async fn rename(cluster: &Cluster, store: &str, name: &str) {
    let request = json!({"store_id": store, "name": name});
    call(cluster, "stores.v1.StoreCommandService/RenameStore", request).await;
}

/// View, key and type of what waits.
async fn waiting(cluster: &Cluster) -> Vec<[String; 3]> {
    let (code, printed) = headwater(cluster, &["parked", "list", "--json"], "").await;
    assert_eq!(code, Some(0), "{printed}");
    let all: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.iter().map(|one| ["view", "key", "type"].map(|field| text(&one[field]))).collect()
}

async fn waits(cluster: &Cluster, rows: usize) {
    let look = || async {
        let found = waiting(cluster).await;
        if found.len() == rows { Ok(()) } else { Err(format!("{found:?}")) }
    };
    eventually(SOON, look).await;
}

async fn name(cluster: &Cluster, store: &str) -> Value {
    let request = json!({"store_id": store, "consistency": {"strong": true}});
    let got = call(cluster, "stores.v1.StoreQueryService/GetStore", request).await;
    got["store"]["name"].clone()
}

#[tokio::test]
async fn parked_events_are_listed_shown_retried_and_dropped() {
    let options = Options { replicas: 0, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.expect_logs(&["an event is parked"]);
    let (code, printed) = headwater(&cluster, &["parked", "list"], "").await;
    assert_eq!((code, printed.trim()), (Some(0), "nothing is parked"));
    let url = cluster.read_owner_url();
    let owner = async |statement: &'static str| {
        let mut connection = PgConnection::connect(&url).await.expect("the owner");
        sqlx::raw_sql(statement).execute(&mut connection).await.expect(statement);
    };
    owner("ALTER TABLE headwater_read.store_v1 ADD CONSTRAINT tame CHECK (name NOT LIKE 'wild%')")
        .await;
    let stores = [open(&cluster, "one").await, open(&cluster, "two").await];
    for store in &stores {
        rename(&cluster, store, "wild").await;
        rename(&cluster, store, "wilder").await;
    }
    waits(&cluster, 2).await;
    rename(&cluster, &stores[0], "calm").await;
    assert!(waiting(&cluster).await.iter().all(|[view, _, _]| view == "store"));
    assert_eq!(name(&cluster, &stores[0]).await, json!("one"));
    let (_, table) = headwater(&cluster, &["parked", "list"], "").await;
    assert!(table.contains("violates check constraint") && table.contains("(23514)"), "{table}");
    assert!(!table.contains("Failing row"), "{table}");
    let (code, shown) = headwater(&cluster, &["parked", "show", "store", &stores[0]], "").await;
    assert_eq!(code, Some(0), "{shown}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["event"]["data"]["name"], json!("wild"), "{shown}");

    // The first one has come to a name that is taken; the second one waits on, where it did.
    let (code, told) = headwater(&cluster, &["parked", "retry", "--all"], "").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("1 released") && told.contains("waits still: store"), "{told}");
    assert_eq!(name(&cluster, &stores[0]).await, json!("calm"));
    assert_eq!(waiting(&cluster).await[0][1], stores[1]);

    let drop = ["parked", "drop", "store", &stores[1]];
    let (code, asked) = headwater(&cluster, &drop, "no\n").await;
    assert!(code == Some(1) && asked.contains("nothing was dropped"), "{asked}");
    // What follows is refused, too: it waits behind that now.
    let (code, told) = headwater(&cluster, &drop, "yes\n").await;
    assert!(code == Some(1) && told.contains("waits still"), "{told}");
    let (code, told) = headwater(&cluster, &[&drop[..], &["--yes"]].concat(), "").await;
    assert_eq!(code, Some(0), "{told}");
    waits(&cluster, 0).await;
    rename(&cluster, &stores[1], "mild").await;
    assert_eq!(name(&cluster, &stores[1]).await, json!("mild"));
    let (code, told) = headwater(&cluster, &drop, "yes\n").await;
    assert!(code == Some(1) && told.contains("does not wait"), "{told}");
}
