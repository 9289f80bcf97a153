//! `headwater load sales` with real input: a slice of a year of retail sales, through the router of
//! a whole stack. What the queries say afterwards is compared with plain sums over the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use headwater_domain_load::{Sales, Summary, sales};
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    ListItemsRequest, ListStoreOverviewsRequest, Money, StockItem, StoreOverview,
};
use headwater_tests::harness::{Cluster, Options, eventually};

const SOON: Duration = Duration::from_secs(60);
/// One for the store, two for the item, one for the sale.
const COMMANDS: u64 = 10 + 2 * 1_016 + 3_000;

/// Units sold and amount in cents.
type Sums = (i64, i64);

/// What the file says, of each item by store and product.
fn expected() -> BTreeMap<(String, String), Sums> {
    let mut sums = BTreeMap::new();
    let mut lines = csv::Reader::from_path(slice()).expect("the fixture");
    for line in lines.deserialize() {
        let (store, product, quantity, amount, _): (String, String, i64, i64, String) =
            line.expect("a line");
        let sum: &mut Sums = sums.entry((store, product)).or_default();
        *sum = (sum.0 + quantity, sum.1 + amount);
    }
    assert_eq!(sums.len(), 1_016);
    sums
}

fn slice() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sales_slice.csv"))
}

fn options(cluster: &Cluster) -> Sales {
    Sales {
        file: slice(),
        router: Some(cluster.grpc("router").to_string()),
        data: None,
        concurrency: 32,
        batch: 20,
        currency: "USD".to_owned(),
        city: "Bergen".to_owned(),
        patience: 60,
    }
}

async fn load(cluster: &Cluster) -> Summary {
    let summary = sales(options(cluster)).await.expect("the load");
    assert_eq!((summary.stores, summary.items, summary.sales), (10, 1_016, 3_000));
    summary
}

async fn overviews(cluster: &Cluster) -> Vec<StoreOverview> {
    let request = ListStoreOverviewsRequest { page_size: 500, ..Default::default() };
    let reply = StoreQueryServiceClient::new(cluster.router()).list_store_overviews(request).await;
    reply.expect("the overviews").into_inner().overviews
}

async fn items(cluster: &Cluster, store_id: &str) -> Vec<StockItem> {
    let mut client = StockQueryServiceClient::new(cluster.router());
    let (mut items, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListItemsRequest {
            store_id: store_id.to_owned(),
            page_size: 100,
            page_token,
            ..Default::default()
        };
        let page = client.list_items(request).await.expect("a page").into_inner();
        items.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return items;
        }
    }
}

async fn units_sold(cluster: &Cluster) -> i64 {
    overviews(cluster).await.iter().map(|store| store.units_sold).sum()
}

fn cents(money: &Option<Money>) -> i64 {
    let money = money.as_ref().expect("an amount");
    assert_eq!(money.currency, "USD");
    money.minor_units
}

/// Waits until the views have come as far as the file, then compares them with it, item by item
/// and store by store.
async fn assert_loaded(cluster: &Cluster) {
    let expected = expected();
    let all: i64 = expected.values().map(|(units, _)| units).sum();
    let arrived = || async {
        let sold = units_sold(cluster).await;
        if sold >= all { Ok(()) } else { Err(format!("{sold} of {all} units are sold")) }
    };
    eventually(SOON, arrived).await;

    let mut found = BTreeMap::new();
    for store in overviews(cluster).await {
        let of_store = expected.iter().filter(|((name, _), _)| *name == store.name);
        let sums = of_store.clone().fold((0, 0), |sum, (_, item)| (sum.0 + item.0, sum.1 + item.1));
        assert_eq!((store.units_sold, cents(&store.revenue)), sums, "{}", store.name);
        assert_eq!(store.items, of_store.count() as i64, "{}", store.name);
        assert_eq!((store.units_in_stock, cents(&store.stock_value)), (0, 0), "{}", store.name);
        for item in items(cluster, &store.store_id).await {
            assert_eq!(item.on_hand, 0, "{}: {}", store.name, item.sku);
            let sums = (item.units_sold, cents(&item.revenue));
            found.insert((store.name.clone(), item.sku), sums);
        }
    }
    assert_eq!(found, expected);
}

/// A malformed last line is named before anything is sent.
async fn refuse_a_bad_line(cluster: &Cluster) {
    let mut lines = std::fs::read_to_string(slice()).expect("the fixture");
    lines.push_str("Store 367,1082185,one,99,2017-03-24T12:51:07Z\n");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.csv");
    std::fs::write(&file, lines).expect("a file");
    let error = sales(Sales { file, ..options(cluster) }).await.expect_err("a bad line");
    let error = format!("{error:#}");
    assert!(error.contains("line 3002") && error.contains("quantity"), "{error}");
    assert!(overviews(cluster).await.is_empty(), "something was sent");
}

/// The story: a laptop goes to sleep, a connection drops, somebody presses Ctrl-C. Nothing says how
/// far the load had come, and its last commands may or may not have been applied.
#[tokio::test]
async fn an_interrupted_load_run_again_ends_in_the_same_state() {
    let cluster = Cluster::start(Options::default()).await.expect("a cluster");
    refuse_a_bad_line(&cluster).await;
    let file = slice();
    let file = file.to_str().expect("a path in UTF-8");
    // Slowly, so that there is a middle. It finds the router by the data folder.
    let args = ["load", "sales", file, "--city=Bergen", "--concurrency=2", "--batch=3"];
    let some_are_sold = || async {
        let sold = units_sold(&cluster).await;
        if sold > 0 { Ok(()) } else { Err("nothing is sold yet") }
    };
    tokio::select! {
        // Dropped, the process is killed.
        ended = cluster.headwater(&args) => panic!("it was not interrupted: {ended:?}"),
        () = eventually(SOON, some_are_sold) => {}
    }
    let second = load(&cluster).await;
    assert!(second.replays > 0 && second.applied > 0, "{second:?}");
    assert_eq!((second.applied + second.replays, second.found), (COMMANDS, 0), "{second:?}");
    assert_loaded(&cluster).await;

    let third = load(&cluster).await;
    assert_eq!((third.applied, third.replays), (0, COMMANDS), "{third:?}");
    assert_loaded(&cluster).await;
}

/// The story: the command service is killed in the middle, and comes back seconds later.
#[tokio::test]
async fn a_load_outlives_a_crash_of_the_command_service() {
    let partitions = 4;
    let cluster = Cluster::start(Options { partitions, ..Options::default() });
    let cluster = cluster.await.expect("a cluster");
    cluster.expect_logs(&["upstream", "endpoint", "command-svc"]);
    let crash = async {
        let some_are_sold = || async {
            let sold = units_sold(&cluster).await;
            if sold > 0 { Ok(()) } else { Err("nothing is sold yet") }
        };
        eventually(SOON, some_are_sold).await;
        cluster.restart("command-svc").await.expect("it starts again");
    };
    let (summary, ()) = tokio::join!(load(&cluster), crash);
    assert_eq!(summary.applied + summary.replays, COMMANDS, "{summary:?}");
    assert_loaded(&cluster).await;
}
