//! Transfers of stock: decided across two items by two copies of command-svc, for 64 clients at
//! once that sell from the same items as well. No unit is made or lost.

use std::collections::{BTreeMap, HashMap};

use headwater_domain_model::ItemEvent;
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::{RecordSaleRequest, TransferStockRequest};
use headwater_eventlog::EventLog;
use headwater_kernel::{EventSet as _, RecordedEvent, StreamId};
use headwater_proto::headwater::v1::{CommandOptions, Receipt};
use headwater_tests::harness::{Cluster, Options};
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

use super::client::{Client, covering, key, receipt, record_sale};
use super::refusal::reason;

const COPIES: [&str; 2] = ["command-svc", "command-svc-2"];
const CLIENTS: usize = 64;
const ROUNDS: usize = 8;
const ITEMS: usize = 4;
/// Of each item: few, so that some transfers are refused.
const STOCK: i64 = 20;

/// What one client was told.
#[derive(Default)]
struct Told {
    transfers: Vec<(i64, Receipt)>,
    sold: i64,
    refused: usize,
    contended: usize,
    tokens: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_unit_is_made_or_lost_by_contending_transfers() {
    let options = Options { command_svcs: 2, replicas: 1, ..Options::default() };
    // Leaked rather than shared: the client wants it for as long as the test runs.
    let cluster: &'static Cluster =
        Box::leak(Box::new(Cluster::start(options).await.expect("a cluster")));
    cluster.expect_logs(&super::SLOW);
    let client = Client::of(cluster);
    let (store, _) = client.open("Shop", "Bern").await;
    let mut items = Vec::new();
    for number in 0..ITEMS {
        let (item, _) = client.list(&store, &format!("A-{number}"), 100 + number as i64).await;
        client.receive(&store, &item, STOCK).await;
        items.push(item);
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let channel = cluster.channel(COPIES[number % COPIES.len()]);
            let commands = StockCommandServiceClient::new(channel);
            tokio::spawn(move_and_sell(commands, (store.clone(), items.clone()), number))
        })
        .collect();
    let mut all = Told::default();
    for told in clients {
        let told = told.await.expect("no panic");
        all.transfers.extend(told.transfers);
        all.sold += told.sold;
        all.refused += told.refused;
        all.contended += told.contended;
        all.tokens.extend(told.tokens);
    }
    println!(
        "{} transfers, {} sold, {} refused, {} contended",
        all.transfers.len(),
        all.sold,
        all.refused,
        all.contended
    );
    assert!(all.transfers.len() > CLIENTS && all.sold > 0 && all.refused > 0);
    assert_eq!(all.transfers.len() + all.sold as usize + all.refused, CLIENTS * ROUNDS);

    let token = covering(&all.tokens);
    let mut on_hand = 0;
    for item in &items {
        on_hand += client.item(item, &token).await.on_hand;
    }
    assert_eq!(on_hand, ITEMS as i64 * STOCK - all.sold);
    let overview = client.overview(&store, &token).await;
    assert_eq!((overview.units_in_stock, overview.units_sold), (on_hand, all.sold));
    the_log_balances(cluster, &items, &all).await;
    a_key_is_applied_once_through_both(&client, &store, &items).await;
    cluster.assert_quiet();
}

/// Of its commands one is a sale and the others are transfers, each under a key of its own; one
/// that lost all its attempts to others is tried again under it.
async fn move_and_sell(
    mut commands: StockCommandServiceClient<Channel>,
    (store, items): (String, Vec<String>),
    number: usize,
) -> Told {
    let mut told = Told::default();
    for round in 0..ROUNDS {
        let quantity = 1 + (number + round) as i64 % 3;
        let (from, to) = ((number + round) % ITEMS, (number * 3 + round * 2 + 1) % ITEMS);
        let to = if from == to { (to + 1) % ITEMS } else { to };
        let options = key(&format!("{number}/{round}"));
        let is_transfer = !(number + round).is_multiple_of(ROUNDS);
        loop {
            let outcome = if is_transfer {
                let request = transfer(&store, (&items[from], &items[to]), quantity, &options);
                commands.transfer_stock(request).await.map(|reply| reply.into_inner().receipt)
            } else {
                let sale = record_sale(&store, &items[from], 1, 100);
                let request = RecordSaleRequest { options: options.clone(), ..sale };
                commands.record_sale(request).await.map(|reply| reply.into_inner().receipt)
            };
            match outcome {
                Ok(done) => {
                    let done = receipt(done);
                    told.tokens.push(done.token.clone());
                    if is_transfer {
                        told.transfers.push((quantity, done));
                    } else {
                        told.sold += 1;
                    }
                }
                Err(status) if reason(&status) == "CONTENTION" => {
                    told.contended += 1;
                    continue;
                }
                Err(status) => told.refused += refused(&status),
            }
            break;
        }
    }
    told
}

fn refused(status: &Status) -> usize {
    assert_eq!(reason(status), "INSUFFICIENT_STOCK", "{status:?}");
    1
}

fn transfer(
    store: &str,
    (from, to): (&str, &str),
    quantity: i64,
    options: &Option<CommandOptions>,
) -> TransferStockRequest {
    TransferStockRequest {
        store_id: store.to_owned(),
        from_item_id: from.to_owned(),
        to_item_id: to.to_owned(),
        quantity,
        options: options.clone(),
    }
}

/// At every place of the log no item has fewer than no units, each transfer has its two events side
/// by side, and all that clients were told of are there.
async fn the_log_balances(cluster: &Cluster, items: &[String], all: &Told) {
    let log = EventLog::connect(&cluster.write_owner_url(), 1).await.expect("the log");
    let streams: Vec<StreamId> =
        items.iter().map(|item| StreamId(item.parse().expect("an id"))).collect();
    let loaded = log.load(&streams, false).await.expect("loaded");
    let mut events: Vec<RecordedEvent> = loaded.into_iter().flat_map(|all| all.events).collect();
    events.sort_by_key(|event| event.position);
    let mut on_hand: HashMap<StreamId, i64> = HashMap::new();
    let mut transfers: BTreeMap<Uuid, Vec<(u64, i64)>> = BTreeMap::new();
    let mut versions = HashMap::new();
    for event in &events {
        let decoded = ItemEvent::decode(&event.type_name, event.schema_version, &event.payload);
        let (change, after) = match decoded.expect("an event of an item") {
            ItemEvent::Received(it) => (it.quantity, it.on_hand),
            ItemEvent::Sold(it) => (-it.quantity, it.on_hand),
            ItemEvent::TransferredOut(it) => (-it.quantity, it.on_hand),
            ItemEvent::TransferredIn(it) => (it.quantity, it.on_hand),
            _ => continue,
        };
        if event.type_name.contains("Transferred") {
            transfers.entry(event.command_id).or_default().push((event.position.0, change));
            versions.insert((event.position.0, change), event.version.0);
        }
        let units = on_hand.entry(event.stream).or_default();
        *units += change;
        assert!(*units >= 0 && *units == after, "{units} and {after} after {event:?}");
    }
    let mut quantities: Vec<i64> = Vec::new();
    for (command, parts) in &transfers {
        let [(first, taken_in), (second, sent)] = parts[..] else { panic!("{command}: {parts:?}") };
        assert_eq!((second, taken_in), (first + 1, -sent), "{command}");
        quantities.push(taken_in);
    }
    let mut told: Vec<i64> = all.transfers.iter().map(|(quantity, _)| *quantity).collect();
    quantities.sort_unstable();
    told.sort_unstable();
    assert_eq!(quantities, told, "each transfer that was acknowledged is there, once");
    let mut sent: Vec<u64> =
        versions.iter().filter(|((_, change), _)| *change < 0).map(|(_, v)| *v).collect();
    let mut told: Vec<u64> = all.transfers.iter().map(|(_, receipt)| receipt.version).collect();
    sent.sort_unstable();
    told.sort_unstable();
    assert_eq!(sent, told, "a receipt has the version of the item that the units come from");
    let verified = cluster.headwater(&["verify", "log"]).await.expect("run");
    assert!(verified.status.success(), "{verified:?}");
}

/// The same transfer through both copies at once, several times.
async fn a_key_is_applied_once_through_both(client: &Client, store: &str, items: &[String]) {
    client.receive(store, &items[0], 5).await;
    let request = transfer(store, (&items[0], &items[1]), 5, &key("both copies"));
    let sent = COPIES.iter().cycle().take(8).map(|copy| {
        let mut commands = StockCommandServiceClient::new(client.cluster.channel(copy));
        let request = request.clone();
        async move { commands.transfer_stock(request).await.expect("answered").into_inner() }
    });
    let receipts: Vec<Receipt> = futures_util::future::join_all(sent)
        .await
        .into_iter()
        .map(|reply| receipt(reply.receipt))
        .collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt.version == receipts[0].version));
}
