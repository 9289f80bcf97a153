//! The programs with the very settings of the manifests, on real databases that have the very roles
//! of the manifests: an owner who may not make roles, groups, and a login for each program.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use headwater_cli::local::connect;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{GetStoreRequest, OpenStoreRequest};
use headwater_proto::headwater::v1::{Consistency, consistency::Requirement};
use headwater_tests::harness::{Cluster, Options, eventually};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use super::manifest::{Manifests, array, rendered, text};
use super::program;

const SOON: Duration = Duration::from_secs(60);
/// Not the database that the harness has made and migrated.
const DATABASE: &str = "deployed";
/// What [`Manifests`] puts where a secret is.
const PASSWORD: &str = "***";

type Settings = BTreeMap<String, String>;

/// A program that runs; it is killed when this is dropped.
struct Running {
    grpc: String,
    _process: Child,
}

#[tokio::test]
async fn the_programs_work_with_the_settings_and_roles_of_the_manifests() {
    let overlays = rendered();
    let manifests = overlays.iter().find(|m| m.overlay == "local").expect("the local overlay");
    let options = Options { replicas: 0, ..Options::databases_only() };
    let cluster = Cluster::start(options).await.expect("databases");
    for (name, node) in [("write-db", "write"), ("read-db", "read")] {
        let superuser = connect(&cluster.superuser_url(node)).await.expect("the superuser");
        make_as_the_operator_does(&superuser, &manifests.get("Cluster", name)["spec"]).await;
    }
    migrate(&cluster);

    let mut running = BTreeMap::new();
    for name in ["command-svc", "projector", "query-svc", "router"] {
        let settings = local_settings(manifests, &cluster, &running, name);
        running.insert(name, start(name, &settings).await);
    }
    let router = format!("http://{}", running["router"].grpc);
    eventually(SOON, || write_and_read(&router)).await;

    let url = format!(
        "postgres://headwater_query_svc:{PASSWORD}@{}/{DATABASE}",
        address(&cluster, "read")
    );
    let client = connect(&url).await.expect("query-svc's login");
    let row = client.query_one("SHOW default_transaction_read_only", &[]).await.expect("a setting");
    assert_eq!(row.get::<_, String>(0), "on");
}

/// What the operator makes of a Cluster: the statements of initdb first, then its roles, in order.
async fn make_as_the_operator_does(superuser: &Client, spec: &Value) {
    let roles = array(&spec["managed"]["roles"]);
    for login in roles.iter().filter(|role| role["login"] == true) {
        // The harness's own, of the same name.
        run(superuser, &format!("DROP ROLE IF EXISTS {}", text(&login["name"]))).await;
    }
    for statement in array(&spec["bootstrap"]["initdb"]["postInitSQL"]) {
        run(superuser, text(statement)).await;
    }
    for role in roles {
        let name = text(&role["name"]);
        let exists = "SELECT FROM pg_roles WHERE rolname = $1";
        if superuser.query(exists, &[&name]).await.expect("the roles").is_empty() {
            run(superuser, &format!("CREATE ROLE {name}")).await;
        }
        if role["login"] == true {
            run(superuser, &format!("ALTER ROLE {name} LOGIN PASSWORD '{PASSWORD}'")).await;
        }
        for group in array(&role["inRoles"]) {
            run(superuser, &format!("GRANT {} TO {name}", text(group))).await;
        }
    }
    let owner = format!("CREATE ROLE deployed_owner LOGIN PASSWORD '{PASSWORD}'");
    run(superuser, &owner).await;
    run(superuser, &format!("CREATE DATABASE {DATABASE} OWNER deployed_owner")).await;
}

async fn run(client: &Client, statement: &str) {
    client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

fn address(cluster: &Cluster, node: &str) -> String {
    let url = cluster.superuser_url(node);
    let (_, place) = url.rsplit_once('@').expect("user:password@host:port/database");
    place.split('/').next().expect("split gives one part at least").to_owned()
}

fn migrate(cluster: &Cluster) {
    let url = |node| {
        let address = address(cluster, node);
        format!("postgres://deployed_owner:{PASSWORD}@{address}/{DATABASE}")
    };
    let settings = BTreeMap::from([
        ("HEADWATER_WRITE_OWNER_URL".to_owned(), url("write")),
        ("HEADWATER_READ_OWNER_URL".to_owned(), url("read")),
    ]);
    let output = program::run(&["headwater", "migrate"], &[], &settings);
    assert!(output.status.success(), "{output:?}");
}

/// A workload's settings, with the cluster's names replaced by what they stand for here.
fn local_settings(
    manifests: &Manifests,
    cluster: &Cluster,
    running: &BTreeMap<&str, Running>,
    name: &str,
) -> Settings {
    let workloads = manifests.workloads();
    let workload = workloads.iter().find(|workload| workload.name() == name).expect("a workload");
    let mut settings = workload.settings();
    for value in settings.values_mut() {
        for (host, node) in
            [("write-db-rw", "write"), ("read-db-rw", "read"), ("read-db-1", "read")]
        {
            let (there, here) = (format!("@{host}:5432/headwater"), address(cluster, node));
            *value = value.replace(&there, &format!("@{here}/{DATABASE}"));
        }
        for (upstream, program) in running {
            if value.starts_with(&format!("{upstream}:")) {
                value.clone_from(&program.grpc);
            }
        }
    }
    settings.insert("HEADWATER_LOG".to_owned(), "error".to_owned());
    for listen in ["HEADWATER_LISTEN", "HEADWATER_ADMIN_LISTEN"] {
        settings.insert(listen.to_owned(), "127.0.0.1:0".to_owned());
    }
    settings
}

/// Starts a program and waits for the line that tells its addresses.
async fn start(name: &str, settings: &Settings) -> Running {
    let mut command = Command::new(program::path(name));
    command.env_clear().envs(settings).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("it starts in time");
    let line = line.expect("UTF-8").unwrap_or_else(|| panic!("{name} ended"));
    let told = line.strip_prefix("headwater-ready ").unwrap_or_else(|| panic!("{name}: {line}"));
    let told: Value = serde_json::from_str(told).expect("JSON");
    Running { grpc: text(&told["grpc"]).to_owned(), _process: process }
}

/// A command, and a query that must see it: through all programs and both databases.
async fn write_and_read(router: &str) -> anyhow::Result<()> {
    let mut commands = StoreCommandServiceClient::connect(router.to_owned()).await?;
    let open = OpenStoreRequest {
        name: "Harbour Street".to_owned(),
        city: "Bergen".to_owned(),
        currency: "NOK".to_owned(),
        ..Default::default()
    };
    let opened = commands.open_store(open).await?.into_inner();
    let token = opened.receipt.unwrap_or_default().token;
    let mut queries = StoreQueryServiceClient::connect(router.to_owned()).await?;
    let get = GetStoreRequest {
        store_id: opened.store_id,
        consistency: Some(Consistency {
            requirement: Some(Requirement::AtLeast(token)),
            ..Default::default()
        }),
    };
    let store = queries.get_store(get).await?.into_inner().store;
    anyhow::ensure!(store.is_some_and(|store| store.city == "Bergen"));
    Ok(())
}
