//! The tool as people use it: `headwater call`, `status`, `tail` and `verify` on a running stack.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use headwater_kernel::{Epoch, LogId, Position, Token};
use headwater_tests::harness::{Cluster, Options, Shared, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use uuid::Uuid;

/// A person at a terminal, with a session of their own.
struct Terminal<'c> {
    cluster: &'c Cluster,
    state: TempDir,
}

/// What a command printed, and how it ended.
struct Printed {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Printed {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Failed in the orderly way, and said all of this on standard error.
    #[track_caller]
    fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in\n{}", self.err);
        }
    }
}

impl<'c> Terminal<'c> {
    fn at(cluster: &'c Cluster) -> Self {
        Self { cluster, state: tempfile::tempdir().expect("a folder") }
    }

    async fn run(&self, args: &[&str]) -> Printed {
        self.run_with(args, "").await
    }

    async fn run_with(&self, args: &[&str], input: &str) -> Printed {
        let own = std::env::current_exe().expect("this program");
        // target/<profile>/deps/<test>
        let binary = own.ancestors().nth(2).expect("the folder of the programs").join("headwater");
        let mut command = Command::new(binary);
        command.args(args).env("HEADWATER_DATA", self.cluster.root());
        command.env("XDG_STATE_HOME", self.state.path()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("headwater");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("read");
        drop(stdin);
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
        Printed::of(ended.await.expect("in time").expect("it ends"))
    }

    /// `headwater call` that succeeds.
    async fn call(&self, method: &str, request: &Value) -> Value {
        let printed = self.run(&["call", method, &request.to_string()]).await;
        serde_json::from_str(&printed.succeeded()).expect("JSON")
    }

    async fn open(&self, name: &str) -> String {
        let request = json!({"name": name, "city": "Bern", "currency": "EUR"});
        let opened = self.call(OPEN, &request).await;
        opened["store_id"].as_str().expect("an id").to_owned()
    }

    fn session(&self) -> PathBuf {
        let router = self.cluster.grpc("router").to_string().replace(['.', ':'], "-");
        self.state.path().join("headwater").join(format!("session-{router}"))
    }
}

const OPEN: &str = "stores.v1.StoreCommandService/OpenStore";
const RENAME: &str = "stores.v1.StoreCommandService/RenameStore";
const GET: &str = "stores.v1.StoreQueryService/GetStore";

#[tokio::test]
async fn a_session_reads_its_own_writes() {
    let cluster = Cluster::shared(Shared::Default).await;
    let terminal = Terminal::at(cluster);
    let request = json!({"name": "Typed", "city": "Bern", "currency": "EUR"});
    let opened = terminal.call(OPEN, &request).await;
    let receipt = &opened["receipt"];
    assert_eq!((&receipt["version"], &receipt["replayed"]), (&json!(1), &json!(false)));
    let token = receipt["token"].as_str().expect("a token");
    let kept = std::fs::read_to_string(terminal.session()).expect("a session");
    assert_eq!(kept.trim(), token);

    let store = json!({"store_id": opened["store_id"]});
    for number in 0..5 {
        let name = format!("Typed {number}");
        let request = json!({"store_id": opened["store_id"], "name": name});
        terminal.call(RENAME, &request).await;
        let shown = terminal.call(GET, &store).await;
        assert_eq!(shown["store"]["name"], json!(name), "what was just typed");
        assert_eq!(shown["store"]["status"], json!("STORE_STATUS_OPEN"));
        assert_eq!(shown["store"]["manager_id"], json!(""), "zero values are shown");
    }
    // From standard input; and without a session nothing is kept.
    let other = Terminal::at(cluster);
    let printed = other.run_with(&["call", "--no-session", OPEN, "-"], &request.to_string()).await;
    assert!(printed.succeeded().contains("store_id"));
    assert!(!other.session().exists());
    cluster.assert_quiet();
}

/// A session whose log is gone (wiped, restored, or another stack on the same port) starts anew.
#[tokio::test]
async fn a_session_of_another_log_is_left_behind() {
    let cluster = Cluster::shared(Shared::Default).await;
    let terminal = Terminal::at(cluster);
    let store = json!({"store_id": terminal.open("Kept").await}).to_string();
    let foreign = Token::of_positions(LogId(Uuid::new_v4()), Epoch(1), &[Position(7)]).encode();
    std::fs::write(terminal.session(), &foreign).expect("written");

    // The new log may not show the store at once: this query has no token any more.
    let printed = eventually(Duration::from_secs(10), || async {
        std::fs::write(terminal.session(), &foreign).expect("written");
        let printed = terminal.run(&["call", GET, &store]).await;
        if printed.code == Some(0) { Ok(printed) } else { Err(printed.err) }
    })
    .await;
    assert!(printed.err.contains("starting a new session"), "{}", printed.err);
    assert!(printed.out.contains("Kept"), "{}", printed.out);
    let kept = std::fs::read_to_string(terminal.session()).expect("a new session");
    assert_ne!(kept.trim(), foreign);
    let printed = terminal.run(&["call", GET, &store]).await;
    assert!(!printed.err.contains("new session"), "{}", printed.err);
    printed.succeeded();

    // A token that was given, and not kept, is the caller's own affair.
    let header = format!("headwater-token: {foreign}");
    let printed = terminal.run(&["call", GET, &store, "-H", &header]).await;
    printed.failed(&["FailedPrecondition", "reason: TOKEN_FOREIGN (headwater)"]);
    cluster.assert_quiet();
}

#[tokio::test]
async fn a_failed_call_says_why() {
    let cluster = Cluster::shared(Shared::Default).await;
    let terminal = Terminal::at(cluster);
    let wrong = r#"{"currency": "eur", "city": "Bern"}"#;
    let printed = terminal.run(&["call", OPEN, wrong]).await;
    printed.failed(&["InvalidArgument", "INVALID_REQUEST (headwater)", "  currency: ", "  name: "]);

    let id = Uuid::now_v7().to_string();
    let request = json!({"store_id": id, "name": "x"}).to_string();
    let printed = terminal.run(&["call", RENAME, &request]).await;
    printed.failed(&["NotFound", "reason: STORE_NOT_FOUND (stores)"]);

    let store = terminal.open("Versioned").await;
    let request = json!({"store_id": store, "name": "x", "options": {"expected_version": 7}});
    let printed = terminal.run(&["call", RENAME, &request.to_string()]).await;
    printed.failed(&["Aborted", "VERSION_CONFLICT", "current_version: 1"]);

    // Mistakes that never reach a server.
    let table: [(&[&str], &[&str]); 6] = [
        (&["call", OPEN, "{"], &["not JSON"]),
        (&["call", OPEN, r#"{"nmae": "x"}"#], &["not a stores.v1.OpenStoreRequest", "nmae"]),
        (&["call", OPEN, "{} {}"], &["takes one message, not 2"]),
        (&["call", "stores.v1.StoreCommandService/Open"], &["has no method Open", "CloseStore"]),
        (&["call", "stores.v9.Nothing/Get"], &["no service stores.v9.Nothing", "stores.v1"]),
        (&["call", "--router", "127.0.0.1:1", OPEN], &["cannot reach 127.0.0.1:1"]),
    ];
    for (args, words) in table {
        terminal.run(args).await.failed(words);
    }
    cluster.assert_quiet();
}

#[tokio::test]
async fn what_can_be_called_is_listed() {
    let cluster = Cluster::shared(Shared::Default).await;
    let terminal = Terminal::at(cluster);
    let services = terminal.run(&["call"]).await.succeeded();
    for service in ["stores.v1.StoreCommandService", "users.v1.UserQueryService", "grpc.health.v1"]
    {
        assert!(services.contains(service), "{services}");
    }
    let methods = terminal.run(&["call", "stores.v1.StockQueryService"]).await.succeeded();
    let of = |name: &str| format!("stores.v1.StockQueryService/{name}");
    let queries = ["GetItem", "GetItemBySku", "BatchGetItems", "ListItems"];
    let expected = [&queries[..], &["WatchItem", "WatchItems"]].concat();
    let expected: Vec<String> = expected.into_iter().map(of).collect();
    assert_eq!(methods.lines().collect::<Vec<_>>(), expected);
    terminal.run(&["call", "nothing"]).await.failed(&["no service nothing"]);

    // Metadata, by which a repetition is told.
    let header = format!("Idempotency-Key: {}", Uuid::new_v4());
    let request = r#"{"name": "Once", "city": "Bern", "currency": "EUR"}"#;
    let mut stores = Vec::new();
    for replayed in [false, true] {
        let printed = terminal.run(&["call", OPEN, request, "-H", &header]).await.succeeded();
        let opened: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(opened["receipt"]["replayed"], json!(replayed));
        stores.push(opened["store_id"].clone());
    }
    assert_eq!(stores[0], stores[1]);
    cluster.assert_quiet();
}

#[tokio::test]
async fn tail_prints_the_log_decoded() {
    let cluster = Cluster::shared(Shared::Default).await;
    let terminal = Terminal::at(cluster);
    let store = terminal.open("Tailed").await;
    let request = json!({"store_id": store, "name": "Tailed again"}).to_string();
    let caller = "headwater-caller: somebody";
    terminal.run(&["call", RENAME, &request, "-H", caller]).await.succeeded();

    let lines = |text: String| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("JSON, a line each")).collect()
    };
    let tail = ["tail", "--no-follow", "--from"];
    let all = lines(terminal.run(&[&tail[..], &["start"]].concat()).await.succeeded());
    let positions: Vec<u64> = all.iter().filter_map(|event| event["position"].as_u64()).collect();
    assert_eq!(positions, (1..=all.len() as u64).collect::<Vec<_>>(), "from the first, dense");
    let own: Vec<&Value> = all.iter().filter(|event| event["stream"] == *store).collect();
    assert_eq!(own.len(), 2);
    let data = json!({"name": "Tailed", "city": "Bern", "currency": "EUR"});
    assert_eq!((&own[0]["type"], &own[0]["data"]), (&json!("stores.v1.StoreOpened"), &data));
    assert_eq!((&own[0]["version"], &own[0]["schema_version"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&own[1]["type"], &own[1]["version"]),
        (&json!("stores.v1.StoreRenamed"), &json!(2))
    );
    assert_eq!((&own[1]["caller"], own[0].get("caller")), (&json!("somebody"), None));

    let from = own[1]["position"].to_string();
    let rest = lines(terminal.run(&[&tail[..], &[&from]].concat()).await.succeeded());
    assert_eq!(rest.first().map(|event| &event["position"]), Some(&own[1]["position"]));
    let only = [&tail[..], &["start", "--type", "StoreRenamed"]].concat();
    let renamed = lines(terminal.run(&only).await.succeeded());
    let is_renamed = |event: &Value| event["type"] == "stores.v1.StoreRenamed";
    assert!(!renamed.is_empty() && renamed.iter().all(is_renamed));
    let end = [&tail[..], &["end", "--partition", "0"]].concat();
    terminal.run(&end).await.succeeded();
    let nowhere = [&tail[..], &["end", "--partition", "1"]].concat();
    terminal.run(&nowhere).await.failed(&["there is no partition 1"]);
    cluster.assert_quiet();
}

#[tokio::test]
async fn status_shows_what_is_down() {
    let cluster = Cluster::start(Options::default()).await.expect("a cluster");
    let terminal = Terminal::at(&cluster);
    terminal.open("Shown").await;
    let well = eventually(Duration::from_secs(10), || async {
        let text = terminal.run(&["status", "--json"]).await.succeeded();
        let status: Value = serde_json::from_str(&text).expect("JSON");
        let nodes = status["nodes"].as_array().expect("nodes").clone();
        let lag = |node: &Value| node["shows"]["Ok"]["projections"][0]["lag_events"].clone();
        if nodes.iter().all(|node| lag(node) == 0) { Ok(status) } else { Err(text) }
    })
    .await;
    assert_eq!(well["log"]["Ok"]["heads"], json!([1]));
    let nodes: Vec<(&Value, &Value)> = well["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (&node["name"], &node["shows"]["Ok"]["role"]))
        .collect();
    let expected = [("read", "primary"), ("replica-1", "replica"), ("replica-2", "replica")];
    let expected = expected.map(|(name, role)| (json!(name), json!(role)));
    assert_eq!(nodes, expected.iter().map(|(name, role)| (name, role)).collect::<Vec<_>>());
    let table = terminal.run(&["status"]).await.succeeded();
    for program in ["command-svc", "projector", "query-svc", "router"] {
        let line = table.lines().find(|line| line.trim().starts_with(program));
        assert!(line.is_some_and(|line| line.ends_with("ready")), "{program}:\n{table}");
    }

    cluster.expect_logs(&["deadpool.postgres"]);
    assert!(cluster.stop("replica-2").await, "it goes by itself");
    let printed = terminal.run(&["status"]).await;
    assert_eq!(printed.code, Some(1), "{}", printed.out);
    let line = printed.out.lines().find(|line| line.contains("replica-2")).unwrap_or_default();
    assert!(line.contains("DOWN"), "{}", printed.out);
    let printed = terminal.run(&["status", "--json"]).await;
    assert_eq!(printed.code, Some(1), "{}", printed.out);
    let status: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert!(status["nodes"][2]["shows"]["Err"].is_string(), "{status}");
    assert_eq!(status["nodes"][1]["shows"]["Ok"]["role"], json!("replica"), "the other is up");

    assert!(cluster.stop("query-svc").await, "it drains");
    let printed = terminal.run(&["status"]).await;
    let line = printed.out.lines().find(|line| line.trim().starts_with("query-svc"));
    assert!(line.is_some_and(|line| !line.ends_with("ready")), "{}", printed.out);
}

/// Claims and marks that a defect has set wrongly are found, and made what the events say.
#[tokio::test]
async fn claims_and_marks_are_compared_with_the_events_and_made_anew() {
    let options = Options { replicas: 0, partitions: 2, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    let terminal = Terminal::at(&cluster);
    let id = |number: u32| format!("01993c2f-0000-7000-8000-{number:012}");
    let opened = json!({"store_id": id(1), "name": "S", "city": "C", "currency": "EUR"});
    let registered = json!({"user_id": id(2), "email": "a@b.example", "name": "A"});
    for (method, request) in [
        ("stores.v1.StoreCommandService/OpenStore", opened),
        ("users.v1.UserCommandService/RegisterUser", registered),
    ] {
        terminal.run(&["call", method, &request.to_string()]).await.succeeded();
    }
    let url = cluster.write_owner_url();
    let claims =
        async |verb: &str| terminal.run(&[verb, "claims", "--write-owner-url", &url]).await;
    let text = claims("verify").await.succeeded();
    assert!(text.contains("claims and marks are those of 2 streams"), "{text}");

    let owner = async |statement: &'static str| {
        let mut connection = PgConnection::connect(&url).await.expect("the owner");
        sqlx::raw_sql(statement).execute(&mut connection).await.expect(statement);
    };
    owner(
        "UPDATE headwater_log.claim SET value = 'email/x@y.example';
         DELETE FROM headwater_log.mark;
         INSERT INTO headwater_log.mark SELECT 0, 'stray', stream FROM headwater_log.claim",
    )
    .await;
    claims("verify").await.failed(&["NOT those of 2 streams", "headwater rebuild claims"]);
    let text = claims("rebuild").await.succeeded();
    for words in [
        "claim email/a@b.example is missing, held by",
        "claim email/x@y.example is not held by",
        "mark stray is not held by",
        "/open/EUR is missing, held by",
        "4 rows changed",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    claims("verify").await.succeeded();
    let taken = json!({"user_id": id(3), "email": "a@b.example", "name": "B"}).to_string();
    let method = "users.v1.UserCommandService/RegisterUser";
    terminal.run(&["call", method, &taken]).await.failed(&["EMAIL_TAKEN"]);
}

#[tokio::test]
async fn a_tampered_log_does_not_verify() {
    let options = Options { replicas: 0, partitions: 2, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a cluster");
    // The projector stops, as it should, if it looks while an event is away.
    cluster.expect_logs(&["the projection has stopped"]);
    let terminal = Terminal::at(&cluster);
    for number in 0..6 {
        terminal.open(&format!("Store {number}")).await;
    }
    let verify = async || terminal.run(&["verify", "log"]).await;
    let text = verify().await.succeeded();
    assert!(text.contains("the log is sound: 6 events"), "{text}");

    let url = cluster.write_owner_url();
    let owner = async |statement: &'static str| {
        let mut connection = PgConnection::connect(&url).await.expect("the owner");
        sqlx::raw_sql(statement).execute(&mut connection).await.expect(statement);
    };
    owner("CREATE TABLE kept AS SELECT * FROM headwater_log.event").await;
    // Not by TRUNCATE: who has a snapshot already would see an empty table.
    let restore = "DELETE FROM headwater_log.event; \
                   INSERT INTO headwater_log.event SELECT * FROM kept";
    let not_sound = "the log is NOT sound";
    for (tampering, words) in [
        (
            "UPDATE headwater_log.event SET payload = payload || '\\x00' WHERE position = 1",
            [not_sound, "position 1"],
        ),
        (
            "UPDATE headwater_log.event SET recorded_at = recorded_at - interval '1 second'",
            [not_sound, "digest"],
        ),
        ("UPDATE headwater_log.event SET caller = 'me' WHERE position = 1", [not_sound, ""]),
        ("DELETE FROM headwater_log.event WHERE position = 1", [not_sound, "position 1"]),
    ] {
        owner(tampering).await;
        verify().await.failed(&words);
        owner(restore).await;
        verify().await.succeeded();
    }
    owner("DROP TABLE kept").await;
}
