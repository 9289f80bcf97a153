//! Three copies of command-svc on one log, and one item that everybody sells.

use std::collections::BTreeSet;

use headwater_domain_proto::stores::v1::RecordSaleRequest;
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_eventlog::EventLog;
use headwater_kernel::StreamId;
use headwater_tests::harness::{Cluster, Options};
use tonic::transport::Channel;

use super::client::{Client, Shop, covering, eur, key, receipt, record_sale};
use super::refusal::reason;

const COPIES: [&str; 3] = ["command-svc", "command-svc-2", "command-svc-3"];
const SELLERS: u64 = 12;
const SALES: u64 = 10;
/// Fewer than all of them want.
const STOCK: i64 = 300;

/// What one seller got: amounts and versions of its sales, and its last token.
#[derive(Default)]
struct Sold {
    amounts: Vec<i64>,
    versions: Vec<u64>,
    tokens: Vec<String>,
    out_of_stock: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_item_through_three_copies_at_once() {
    let options = Options { command_svcs: 3, replicas: 1, ..Options::default() };
    // Leaked rather than shared: the client wants it for as long as the test runs.
    let cluster: &'static Cluster =
        Box::leak(Box::new(Cluster::start(options).await.expect("a cluster")));
    cluster.expect_logs(&super::SLOW);
    let client = Client::of(cluster);
    let shop = client.shop(STOCK).await;
    let sellers = COPIES.iter().flat_map(|copy| (0..SELLERS).map(move |seller| (copy, seller)));
    let sellers: Vec<_> = sellers
        .map(|(copy, seller)| {
            let commands = StockCommandServiceClient::new(cluster.channel(copy));
            tokio::spawn(sell(commands, sale(&shop), format!("{copy}/{seller}")))
        })
        .collect();
    let mut all = Sold::default();
    for seller in sellers {
        let sold = seller.await.expect("no panic");
        all.amounts.extend(sold.amounts);
        all.versions.extend(sold.versions);
        all.tokens.extend(sold.tokens);
        all.out_of_stock += sold.out_of_stock;
    }

    // Every unit was sold once, and each seller was told the truth.
    let wanted = COPIES.len() as u64 * SELLERS * SALES;
    assert_eq!(all.amounts.len() as i64, STOCK);
    assert_eq!(all.out_of_stock, wanted - STOCK as u64);
    all.versions.sort_unstable();
    assert_eq!(all.versions, (3..3 + STOCK as u64).collect::<Vec<_>>(), "dense");
    let item = client.item(&shop.item, &covering(&all.tokens)).await;
    assert_eq!((item.on_hand, item.units_sold), (0, STOCK));
    assert_eq!(item.revenue, eur(all.amounts.iter().sum()));
    assert_eq!(item.version, 2 + STOCK as u64);
    the_log_is_whole(cluster, &shop).await;
    one_key_through_all_copies(&client).await;
    cluster.assert_quiet();
}

fn sale(shop: &Shop) -> RecordSaleRequest {
    record_sale(&shop.store, &shop.item, 1, 0)
}

/// Sells one unit after the other, each for an amount of its own. A sale that lost all its attempts
/// to others is tried again, under its key.
async fn sell(
    mut commands: StockCommandServiceClient<Channel>,
    sale: RecordSaleRequest,
    name: String,
) -> Sold {
    let mut sold = Sold::default();
    for number in 0..SALES {
        let amount = 100 + (number as i64 * 37) % 900;
        let options = key(&format!("{name}/{number}"));
        let request = RecordSaleRequest { amount: eur(amount), options, ..sale.clone() };
        loop {
            match commands.record_sale(request.clone()).await {
                Ok(reply) => {
                    let receipt = receipt(reply.into_inner().receipt);
                    sold.amounts.push(amount);
                    sold.versions.push(receipt.version);
                    sold.tokens.push(receipt.token);
                }
                Err(status) if reason(&status) == "CONTENTION" => continue,
                Err(status) if reason(&status) == "INSUFFICIENT_STOCK" => sold.out_of_stock += 1,
                Err(status) => panic!("{name}: {status:?}"),
            }
            break;
        }
    }
    sold
}

async fn the_log_is_whole(cluster: &Cluster, shop: &Shop) {
    let log = EventLog::connect(&cluster.write_owner_url(), 1).await.expect("the log");
    let stream = StreamId(shop.item.parse().expect("an id"));
    let loaded = log.load(&[stream], false).await.expect("loaded");
    let versions: Vec<u64> = loaded[0].events.iter().map(|event| event.version.0).collect();
    assert_eq!(versions, (1..=2 + STOCK as u64).collect::<Vec<_>>());
    let commands: BTreeSet<_> = loaded[0].events.iter().map(|event| event.command_id).collect();
    assert_eq!(commands.len(), versions.len(), "no command twice");

    let verified = cluster.headwater(&["verify", "log"]).await.expect("run");
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && text.contains("the log is sound"), "{verified:?}");
}

/// A client that does not know which copy had its command may send it to all of them.
async fn one_key_through_all_copies(client: &Client) {
    let shop = client.shop(9).await;
    let request = RecordSaleRequest { options: key("all copies"), ..sale(&shop) };
    let sent = COPIES.iter().cycle().take(9).map(|copy| {
        let mut commands = StockCommandServiceClient::new(client.cluster.channel(copy));
        let request = request.clone();
        async move { commands.record_sale(request).await.expect("answered").into_inner() }
    });
    let receipts: Vec<_> = futures_util::future::join_all(sent)
        .await
        .into_iter()
        .map(|r| receipt(r.receipt))
        .collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt.version == 3), "{receipts:?}");
    let item = client.item(&shop.item, &receipts[0].token).await;
    assert_eq!((item.on_hand, item.version), (8, 3));
}
