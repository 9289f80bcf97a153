//! `headwater verify views` and `headwater repair`: rows that are damaged in every way are found,
//! on the primary and on a replica, and nothing else is named.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use headwater_cli::local::connect;
use headwater_tests::harness::{Cluster, Options, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

const SOON: Duration = Duration::from_secs(30);

struct Desk {
    cluster: Cluster,
}

/// Node, view, key, and what is wrong.
type Found = BTreeSet<(String, String, String, String)>;

impl Desk {
    async fn open() -> Self {
        let options = Options { replicas: 2, partitions: 2, ..Options::default() };
        let cluster = Cluster::start(options).await.expect("a cluster");
        // A repair overtakes the projector, and a replica is stopped.
        cluster.expect_logs(&["the projection starts anew", "Connection error"]);
        Self { cluster }
    }

    async fn call(&self, method: &str, request: Value) -> Value {
        let output = self.cluster.headwater(&["call", method, &request.to_string()]).await;
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{method}: {said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Stores with an item each, and a user who manages the first one.
    async fn stock(&self, stores: u32) {
        let user = json!({"user_id": id(0), "email": "a@b.example", "name": "Ada"});
        self.call("users.v1.UserCommandService/RegisterUser", user).await;
        for number in 1..=stores {
            let name = format!("Store number {number}");
            let store =
                json!({"store_id": id(number), "name": name, "city": "C", "currency": "EUR"});
            self.call("stores.v1.StoreCommandService/OpenStore", store).await;
            let price = json!({"currency": "EUR", "minor_units": 100 + number});
            let item = json!({"store_id": id(number), "item_id": id(100 + number), "sku": "A",
                              "name": "Thing", "price": price});
            self.call("stores.v1.StockCommandService/ListItem", item).await;
        }
        let manager = json!({"store_id": id(1), "user_id": id(0)});
        self.call("stores.v1.StoreCommandService/AssignManager", manager).await;
    }

    async fn sql(&self, url: &str, sql: &str) {
        let client = connect(url).await.expect("a connection");
        client.batch_execute(sql).await.expect(sql);
    }

    /// Every node's differences.
    async fn verify(&self) -> Found {
        let output = self.cluster.headwater(&["verify", "views", "--json"]).await;
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let reports: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"));
        let reports = reports.as_array().expect("reports");
        assert_eq!(reports.len(), 3, "of every node");
        let mut found = Found::new();
        for report in reports {
            assert!(report["rows"].as_u64().expect("a number") > 20, "{report}");
            for difference in report["differences"].as_array().expect("an array") {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let columns = difference["columns"].as_array().into_iter().flatten().map(text);
                let columns: Vec<_> = columns.collect();
                let what = format!("{} {}", text(&difference["kind"]), columns.join(","));
                let (view, key) = (text(&difference["view"]), text(&difference["key"]));
                found.insert((text(&report["node"]), view, key, what.trim_end().to_owned()));
            }
        }
        assert_eq!(output.status.success(), found.is_empty(), "{said}");
        found
    }

    /// Changes a text in the table of stores on a replica, which is not told by its checksums.
    async fn spoil(&self, replica: &str, from: &str, to: &str) {
        let primary = self.cluster.superuser_url(self.cluster.view_node());
        let client = connect(&primary).await.expect("a connection");
        client.batch_execute("CHECKPOINT").await.expect("a checkpoint");
        let trusting = "ALTER ROLE headwater_cli SET ignore_checksum_failure = on";
        client.batch_execute(trusting).await.expect(trusting);
        self.replicated().await;
        let at_replica = connect(&self.cluster.superuser_url(replica)).await.expect("a connection");
        at_replica.batch_execute("CHECKPOINT").await.expect("a checkpoint");
        let path = "SELECT pg_relation_filepath('headwater_read.store_v1')";
        let path: String = client.query_one(path, &[]).await.expect("a path").get(0);
        drop(at_replica);
        assert!(self.cluster.stop(replica).await, "it stops");
        let file = self.cluster.root().join(replica).join(path);
        let mut bytes = std::fs::read(&file).expect("the table");
        let place = bytes.windows(from.len()).rposition(|part| part == from.as_bytes());
        let place = place.expect("the text is in the table");
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&file, bytes).expect("written");
        self.cluster.start_again(replica).await.expect("it starts");
        self.replicated().await;
    }

    /// Until the replicas show what was done on the primary.
    async fn replicated(&self) {
        let primary = self.cluster.superuser_url(self.cluster.view_node());
        eventually(SOON, || async {
            let mut connection = PgConnection::connect(&primary).await?;
            let sql = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_flush_lsn()";
            let level: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            ensure!(level == 2, "{level} replicas are level");
            anyhow::Ok(())
        })
        .await;
    }
}

fn id(number: u32) -> String {
    format!("01993c2f-0000-7000-8000-{number:012}")
}

const NODES: [&str; 3] = ["read", "replica-1", "replica-2"];

/// View, key, what is wrong, and the statement that did it, but for the row.
const DAMAGES: [(&str, u32, &str, &str); 7] = [
    ("item", 101, "different price", "UPDATE item_v1 SET price = price + 1"),
    ("item", 102, "different sku,version", "UPDATE item_v1 SET sku = 'B', version = 9"),
    ("item", 103, "missing", "DELETE FROM item_v1"),
    ("store", 2, "different name", "UPDATE store_v1 SET name = name || ' '"),
    (
        "store_overview",
        1,
        "different manager_name",
        "UPDATE store_overview_v1 SET manager_name = NULL",
    ),
    (
        "store_overview",
        3,
        "different manager_id",
        "UPDATE store_overview_v1 SET manager_id = store_id",
    ),
    ("user", 0, "missing", "DELETE FROM user_v1"),
];
/// A row that no event made.
const STRAY: u32 = 999;

/// Damages rows on the primary; gives what an audit has to find.
async fn damage(desk: &Desk) -> Found {
    let mut found = Found::new();
    let mut sql = "SET search_path = headwater_read;".to_owned();
    let stray = ("store", STRAY, "extra", "");
    for (view, number, what, statement) in DAMAGES.into_iter().chain([stray]) {
        let column = if view.starts_with("store") { "store" } else { view };
        sql += &match statement {
            "" => format!(
                "INSERT INTO store_v1 SELECT '{}', name, city, currency, status, manager_id, \
                 opened_at, version FROM store_v1 LIMIT 1;",
                id(number)
            ),
            _ => format!("{statement} WHERE {column}_id = '{}';", id(number)),
        };
        for node in NODES {
            found.insert((node.to_owned(), view.to_owned(), id(number), what.to_owned()));
        }
    }
    desk.sql(&desk.cluster.read_owner_url(), &sql).await;
    desk.replicated().await;
    found
}

#[tokio::test]
async fn damaged_rows_are_found_on_every_node_and_mended() {
    let desk = Desk::open().await;
    desk.stock(8).await;
    assert_eq!(desk.verify().await, Found::new());
    let expected = damage(&desk).await;
    assert_eq!(desk.verify().await, expected);

    let dry = desk.cluster.headwater(&["repair", "--dry-run"]).await.expect("it runs");
    assert!(!dry.status.success());
    desk.replicated().await;
    assert_eq!(desk.verify().await, expected, "a dry run changes nothing");

    // Commands go on meanwhile, and the rows are those of their events, too.
    let price = json!({"currency": "EUR", "minor_units": 7});
    let repriced = json!({"store_id": id(1), "item_id": id(101), "price": price});
    desk.call("stores.v1.StockCommandService/RepriceItem", repriced).await;
    let repaired = desk.cluster.headwater(&["repair"]).await.expect("it runs");
    let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(repaired.status.success(), "{said}{}", String::from_utf8_lossy(&repaired.stderr));
    assert!(said.contains("rows mended"), "{said}");
    desk.replicated().await;
    assert_eq!(desk.verify().await, Found::new());
    let item = desk.call("stores.v1.StockQueryService/GetItem", json!({"item_id": id(101)})).await;
    assert_eq!(item["item"]["price"]["minor_units"], json!(7));

    // One replica alone, in its file.
    desk.spoil("replica-1", "Store number 5", "Store number ?").await;
    let texts = ["replica-1", "store", &id(5), "different name"].map(str::to_owned);
    assert_eq!(desk.verify().await, Found::from([texts.into()]));
}
