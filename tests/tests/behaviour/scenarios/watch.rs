//! Streams of changes: nothing is lost, nothing told twice, and each message proves where it leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::stores::v1::{
    StoreStatus, WatchStoreRequest, WatchStoreResponse, WatchStoresRequest, WatchStoresResponse,
    item_change, store_change, store_overview_change,
};
use headwater_domain_proto::users::v1::{WatchUserRequest, user_change};
use headwater_kernel::{Epoch, LogId, Partition, Position, Token};
use headwater_proto::headwater::v1::{Freshness, WatchOptions};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::client::{Client, address, at_least, decoded, done, receipt};
use super::refusal::{fields, reason};

/// Longer than any message takes: one comes every 5 s in any case.
const PATIENCE: Duration = Duration::from_secs(20);

fn resume_after(token: &str) -> Option<WatchOptions> {
    Some(WatchOptions { resume_after: token.to_owned() })
}

async fn next<M>(stream: &mut Streaming<M>) -> M {
    let message = timeout(PATIENCE, stream.message()).await.expect("a message in time");
    message.expect("no error").expect("no end")
}

/// The next message that tells of changes: while nothing happens, others say that time passes.
macro_rules! next_changes {
    ($stream:expr) => {
        loop {
            let message = next($stream).await;
            if !message.changes.is_empty() {
                break message.changes;
            }
        }
    };
}

async fn watch_store(
    client: &Client,
    store: &str,
    options: Option<WatchOptions>,
) -> Streaming<WatchStoreResponse> {
    let store_id = store.to_owned();
    let request = WatchStoreRequest { store_id, options, ..Default::default() };
    done(client.store_queries().watch_store(request).await)
}

async fn watch_stores(
    client: &Client,
    city: &str,
    options: Option<WatchOptions>,
) -> Streaming<WatchStoresResponse> {
    let (city, status) = (city.to_owned(), StoreStatus::Open.into());
    let request = WatchStoresRequest { city, status, options, ..Default::default() };
    done(client.store_queries().watch_stores(request).await)
}

/// The stores of one city as a watcher knows them.
#[derive(Default)]
struct Known {
    stores: BTreeMap<String, stores::Store>,
    /// The last version seen of each, also of those that are gone.
    versions: BTreeMap<String, u64>,
    token: String,
    resume_token: String,
}

impl Known {
    fn told(&mut self, message: WatchStoresResponse) {
        self.learn(message.changes, message.freshness);
        self.resume_token = message.resume_token;
    }

    fn learn(&mut self, changes: Vec<stores::StoreChange>, freshness: Option<Freshness>) {
        for change in changes {
            match change.change.expect("a change") {
                store_change::Change::Store(store) => {
                    let before = self.versions.insert(store.store_id.clone(), store.version);
                    let again = before.is_some_and(|before| before >= store.version);
                    assert!(!again, "{before:?} and then {store:?}");
                    self.stores.insert(store.store_id.clone(), store);
                }
                store_change::Change::RemovedStoreId(id) => {
                    self.stores.remove(&id);
                }
            }
        }
        let token = freshness.expect("every message is dated").token;
        let covers = |token: &str| {
            let partitions = (0..64).map(Partition);
            partitions.map(|p| decoded(token).position(p)).collect::<Vec<_>>()
        };
        if !self.token.is_empty() {
            let (before, after) = (covers(&self.token), covers(&token));
            let forward = before.iter().zip(&after).all(|(before, after)| before <= after);
            assert!(forward, "from {before:?} back to {after:?}");
        }
        self.token = token;
    }

    fn covers(&self, token: &str) -> bool {
        let (known, wanted) = (decoded(&self.token), decoded(token));
        (0..64).map(Partition).all(|p| known.position(p) >= wanted.position(p))
    }
}

pub async fn one_entity_is_followed(client: Client) {
    let (store, opened) = client.open("First", "Bern").await;
    let request = WatchStoreRequest {
        store_id: store.clone(),
        consistency: at_least(&opened.token),
        options: None,
    };
    let mut stream = done(client.store_queries().watch_store(request).await);
    let mut known = Known::default();
    let first = next(&mut stream).await;
    known.learn(first.changes, first.freshness);
    assert_eq!(known.stores[&store].name, "First", "the state to begin with");
    for number in 2..=12_u64 {
        let renamed = client.rename_store(&store, &format!("Name {number}")).await;
        while !known.covers(&renamed.token) {
            let message = next(&mut stream).await;
            known.learn(message.changes, message.freshness);
        }
        assert_eq!((known.stores[&store].version, renamed.version), (number, number));
    }
    let read = client.store(&store, &known.token).await;
    assert_eq!(read, known.stores[&store], "the token proves what was told");
}

pub async fn a_list_is_followed(client: Client) {
    // A city of its own: scenarios share the stack.
    let (city, elsewhere) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let (first, opened) = client.open("First", &city).await;
    let (other, _) = client.open("Other", &elsewhere).await;
    let list = stores::ListStoresRequest {
        city: city.clone(),
        consistency: at_least(&opened.token),
        ..Default::default()
    };
    let listed = done(client.store_queries().list_stores(list).await);
    let token = listed.freshness.expect("dated").token;
    let mut stream = watch_stores(&client, &city, resume_after(&token)).await;
    let mut known = Known { token, ..Known::default() };
    known.stores.extend(listed.stores.into_iter().map(|store| (store.store_id.clone(), store)));

    let (second, _) = client.open("Second", &city).await;
    client.rename_store(&first, "First of all").await;
    client.rename_store(&other, "Not watched").await;
    client.close(&second).await;
    let (third, _) = client.open("Third", &city).await;
    let moved = |store: &str, city: &str| stores::RelocateStoreRequest {
        store_id: store.to_owned(),
        city: city.to_owned(),
        options: None,
    };
    let moving = [moved(&other, &city), moved(&third, &elsewhere)];
    let mut last = String::new();
    for request in moving {
        let response = done(client.store_commands().relocate_store(request).await);
        let written = receipt(response.receipt).token;
        // Streams of different partitions: all of it must have come.
        while !known.covers(&written) {
            let message = next(&mut stream).await;
            known.learn(message.changes, message.freshness);
        }
        last = written;
    }
    let mut names: Vec<&str> = known.stores.values().map(|store| store.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["First of all", "Not watched"], "after {last}");
    assert!(!known.stores.contains_key(&second) && !known.stores.contains_key(&third));
}

pub async fn a_watch_goes_on_where_it_was_cut(client: Client) {
    let city = Uuid::new_v4().to_string();
    let (a, _) = client.open("A", &city).await;
    let (b, opened) = client.open("B", &city).await;
    let read = client.store(&b, &opened.token).await;
    assert_eq!(read.version, 1);
    let mut known = Known::default();
    let mut stream = watch_stores(&client, &city, None).await;
    let begun = next(&mut stream).await;
    known.told(begun);
    // A message may tell of many changes: no more than these are made before the next one.
    let allowed = Arc::new(Semaphore::new(4));
    let writer = {
        let client = client.clone();
        let a = a.clone();
        let b = b.clone();
        let allowed = Arc::clone(&allowed);
        tokio::spawn(async move {
            let mut tokens = Vec::new();
            for number in 0..40 {
                allowed.acquire().await.expect("it is not closed").forget();
                let store = if number % 3 == 0 { &b } else { &a };
                tokens.push(client.rename_store(store, &format!("Name {number}")).await.token);
            }
            tokens
        })
    };
    // Cut after every second message, whatever is on its way.
    let mut cuts = 0;
    let seen = async |known: &Known| {
        known.versions.get(&a).copied().unwrap_or(1) + known.versions.get(&b).copied().unwrap_or(1)
    };
    while seen(&known).await < 42 {
        drop(stream);
        cuts += 1;
        stream = watch_stores(&client, &city, resume_after(&known.resume_token)).await;
        for _ in 0..2 {
            let message = next(&mut stream).await;
            known.told(message);
            allowed.add_permits(4);
            if seen(&known).await >= 42 {
                break;
            }
        }
    }
    assert!(cuts >= 2, "{cuts}");
    for token in writer.await.expect("no panic") {
        assert!(known.covers(&token));
    }
    // From the very beginning of the log: told once more, each with its last state.
    let empty = Token::empty(decoded(&known.token).log, decoded(&known.token).epoch).encode();
    let mut again = Known { token: empty.clone(), ..Known::default() };
    let mut stream = watch_stores(&client, &city, resume_after(&empty)).await;
    while !again.covers(&known.token) {
        let message = next(&mut stream).await;
        again.told(message);
    }
    assert_eq!(again.stores, known.stores);
}

pub async fn every_kind_is_watched(client: Client) {
    let shop = client.shop(5).await;
    let (user, registered) = client.register(&address("watched"), "Before").await;
    let tokens = [shop.token.clone(), registered.token];
    let consistency = at_least(&tokens.join(","));
    let (store_id, item_id) = (shop.store.clone(), shop.item.clone());
    let (mut stock, mut queries) = (client.stock_queries(), client.store_queries());
    let request =
        stores::WatchItemRequest { item_id, consistency: consistency.clone(), options: None };
    let mut item = done(stock.watch_item(request).await);
    let request = stores::WatchItemsRequest {
        store_id: store_id.clone(),
        consistency: consistency.clone(),
        options: None,
    };
    let mut items = done(stock.watch_items(request).await);
    let request = stores::WatchStoreOverviewRequest {
        store_id: store_id.clone(),
        consistency: consistency.clone(),
        options: None,
    };
    let mut overview = done(queries.watch_store_overview(request).await);
    let request = WatchUserRequest { user_id: user.clone(), consistency, options: None };
    let mut watched = done(client.user_queries().watch_user(request).await);

    // What each begins with.
    let change = next(&mut item).await.changes.remove(0).change;
    let Some(item_change::Change::Item(before)) = change else { panic!("{change:?}") };
    assert_eq!((before.on_hand, before.units_sold), (5, 0));
    assert_eq!(next(&mut items).await.changes, [], "a list begins with what comes next");
    let change = next(&mut overview).await.changes.remove(0).change;
    let Some(store_overview_change::Change::Overview(before)) = change else {
        panic!("{change:?}")
    };
    assert_eq!(before.units_in_stock, 5);
    let change = next(&mut watched).await.changes.remove(0).change;
    let Some(user_change::Change::User(before)) = change else { panic!("{change:?}") };
    assert_eq!(before.name, "Before");

    client.sell(&shop.store, &shop.item, 5, 1_250).await;
    client.rename_user(&user, "After").await;
    let change = next_changes!(&mut item).remove(0).change;
    let Some(item_change::Change::Item(after)) = change else { panic!("{change:?}") };
    assert_eq!((after.on_hand, after.units_sold), (0, 5));
    let change = next_changes!(&mut items).remove(0).change;
    assert_eq!(change, Some(item_change::Change::Item(after)));
    let change = next_changes!(&mut overview).remove(0).change;
    let Some(store_overview_change::Change::Overview(after)) = change else { panic!("{change:?}") };
    assert_eq!((after.units_in_stock, after.units_sold), (0, 5));
    let change = next_changes!(&mut watched).remove(0).change;
    let Some(user_change::Change::User(after)) = change else { panic!("{change:?}") };
    assert_eq!(after.name, "After");

    // An item that is not listed any more leaves the list, but not the watch of the item itself.
    let (store_id, item_id) = (shop.store.clone(), shop.item.clone());
    let request = stores::DelistItemRequest { store_id, item_id, options: None };
    done(client.stock_commands().delist_item(request).await);
    let change = next_changes!(&mut items).remove(0).change;
    assert_eq!(change, Some(item_change::Change::RemovedItemId(shop.item.clone())));
    let change = next_changes!(&mut item).remove(0).change;
    let Some(item_change::Change::Item(after)) = change else { panic!("{change:?}") };
    assert!(!after.listed);
}

pub async fn time_passes_for_a_watcher_too(client: Client) {
    let nobody = Uuid::now_v7().to_string();
    let mut stream = watch_store(&client, &nobody, None).await;
    let first = next(&mut stream).await;
    assert_eq!(first.changes, [], "there is no such store");
    let first = first.freshness.expect("dated").as_of.expect("a time");
    let second = next(&mut stream).await;
    assert_eq!(second.changes, []);
    let second = second.freshness.expect("dated");
    assert!(second.as_of.expect("a time").seconds > first.seconds, "{second:?}");
    assert!(!second.token.is_empty() && !second.stale);
}

pub async fn what_cannot_be_watched_is_refused(client: Client) {
    let watch = async |store: &str, options| {
        let store_id = store.to_owned();
        let request = WatchStoreRequest { store_id, options, ..Default::default() };
        client.store_queries().watch_store(request).await.map(|_| ()).expect_err("refused")
    };
    let store = Uuid::now_v7().to_string();
    let status: Status = watch("no id", None).await;
    assert_eq!(fields(&status), ["store_id"], "{status:?}");
    assert_eq!(reason(&watch(&store, resume_after("nonsense")).await), "TOKEN_MALFORMED");
    let other = Token::of_positions(LogId(Uuid::new_v4()), Epoch(1), &[Position(1)]).encode();
    assert_eq!(reason(&watch(&store, resume_after(&other)).await), "TOKEN_FOREIGN");
    // Of this log, from a time that never comes.
    let (_, opened) = client.open("Now", "Bern").await;
    let mut late = decoded(&opened.token);
    late.raise(Partition(0), Position(1_000_000_000));
    let status = watch(&store, resume_after(&late.encode())).await;
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    let request = WatchStoresRequest { status: 99, ..Default::default() };
    let status =
        client.store_queries().watch_stores(request).await.map(|_| ()).expect_err("refused");
    assert_eq!(fields(&status), ["status"], "{status:?}");
}
