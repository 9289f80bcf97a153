//! `headwater rebuild views` on a whole stack, while commands, queries and watches go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_cli::local::connect;
use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::stores::v1::store_change::Change;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_proto::headwater::v1::Consistency;
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_tests::harness::{Cluster, Options};
use tokio::time::timeout;
use tonic::Streaming;

/// Longer than any message takes: one comes every 5 s in any case.
const PATIENCE: Duration = Duration::from_secs(20);

fn at_least(token: &str) -> Option<Consistency> {
    let requirement = Some(Requirement::AtLeast(token.to_owned()));
    Some(Consistency { requirement, ..Default::default() })
}

async fn open(cluster: &Cluster, name: &str) -> (String, String) {
    let (name, city) = (name.to_owned(), "Bern".to_owned());
    let currency = "EUR".to_owned();
    let request = stores::OpenStoreRequest { name, city, currency, ..Default::default() };
    let mut client = StoreCommandServiceClient::new(cluster.router());
    let opened = client.open_store(request).await.expect("opened").into_inner();
    (opened.store_id, opened.receipt.expect("a receipt").token)
}

async fn watch(
    cluster: &Cluster,
    (store_id, token): (&str, &str),
) -> Streaming<stores::WatchStoreResponse> {
    let consistency = at_least(token);
    let request =
        stores::WatchStoreRequest { store_id: store_id.to_owned(), consistency, options: None };
    let mut client = StoreQueryServiceClient::new(cluster.router());
    client.watch_store(request).await.expect("it opens").into_inner()
}

/// The state that the next message tells of.
async fn told(stream: &mut Streaming<stores::WatchStoreResponse>) -> stores::Store {
    loop {
        let message = timeout(PATIENCE, stream.message()).await.expect("a message in time");
        let message = message.expect("the watch goes on").expect("no end");
        let change = message.changes.into_iter().filter_map(|change| change.change).next_back();
        if let Some(Change::Store(store)) = change {
            return store;
        }
    }
}

/// Renames the store again and again, and reads each name back, by one statement and by several.
/// The last name.
async fn rename_and_read(cluster: &Cluster, store: &str, ended: &AtomicBool) -> String {
    let mut commands = StoreCommandServiceClient::new(cluster.router());
    let mut queries = StoreQueryServiceClient::new(cluster.router());
    for number in 1.. {
        let (store_id, name) = (store.to_owned(), format!("Name {number}"));
        let request = stores::RenameStoreRequest { store_id, name: name.clone(), options: None };
        let renamed = commands.rename_store(request).await.expect("renamed").into_inner();
        let token = renamed.receipt.expect("a receipt").token;
        let (store_id, consistency) = (store.to_owned(), at_least(&token));
        let request = stores::GetStoreRequest { store_id, consistency };
        let read = queries.get_store(request).await.expect("read").into_inner();
        assert_eq!(read.store.expect("a store").name, name, "stale");
        let (store_id, consistency) = (store.to_owned(), at_least(&token));
        let request = stores::GetStoreReportRequest { store_id, consistency };
        let read = queries.get_store_report(request).await.expect("read").into_inner();
        let report = read.report.expect("a report");
        assert_eq!(report.overview.expect("an overview").name, name, "stale");
        if ended.load(Ordering::Relaxed) {
            return name;
        }
    }
    unreachable!("it ends when it is told")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_rebuilt_while_everything_goes_on() {
    let options = Options { replicas: 2, partitions: 2, ..Options::default() };
    let cluster = Arc::new(Cluster::start(options).await.expect("a cluster"));
    let (busy, busy_token) = open(&cluster, "Busy").await;
    let (damaged, damaged_token) = open(&cluster, "Damaged").await;
    let mut busy_watch = watch(&cluster, (&busy, &busy_token)).await;
    let mut damaged_watch = watch(&cluster, (&damaged, &damaged_token)).await;
    assert_eq!(told(&mut damaged_watch).await.name, "Damaged");
    let ended = Arc::new(AtomicBool::new(false));
    let load = {
        let (cluster, ended) = (Arc::clone(&cluster), Arc::clone(&ended));
        let busy = busy.clone();
        tokio::spawn(async move { rename_and_read(&cluster, &busy, &ended).await })
    };
    let owner = connect(&cluster.read_owner_url()).await.expect("a connection");
    let damage = format!(
        "UPDATE headwater_read.store_v1 SET name = 'Wrong' WHERE store_id = '{damaged}';
         DELETE FROM headwater_read.store_overview_v1 WHERE store_id = '{damaged}'"
    );
    owner.batch_execute(&damage).await.expect("damaged");
    for args in [&["rebuild", "views"][..], &["rebuild", "views", "--rollback"]] {
        let output = cluster.headwater(args).await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("queries for"), "{said}");
        eprintln!("{said}");
        if args.len() == 2 {
            assert_eq!(told(&mut damaged_watch).await.name, "Damaged", "it is told");
            let verified = cluster.headwater(&["verify", "views"]).await.expect("it runs");
            let said = String::from_utf8_lossy(&verified.stdout).into_owned();
            assert!(verified.status.success(), "{said}");
        }
    }
    assert_eq!(told(&mut damaged_watch).await.name, "Wrong", "as it was before the rebuild");
    ended.store(true, Ordering::Relaxed);
    let last = load.await.expect("no command or query failed, and none was stale");
    let mut version = 0;
    loop {
        let store = told(&mut busy_watch).await;
        assert!(store.version > version, "it never goes back");
        version = store.version;
        if store.name == last {
            break;
        }
    }
}
