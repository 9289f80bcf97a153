//! Idempotency keys: a command that is sent again is answered again, and applied once.

use futures_util::future::join_all;
use headwater_domain_proto::stores::v1::{
    CloseStoreRequest, OpenStoreRequest, RecordSaleRequest, RemoveManagerRequest,
    RenameStoreRequest,
};
use headwater_domain_proto::users::v1::RegisterUserRequest;
use headwater_proto::headwater::v1::{CommandOptions, Receipt};
use tonic::{Request, Status};
use uuid::Uuid;

use super::client::{
    Client, Shop, address, decoded, done, eur, key, receipt, record_sale, register,
};
use super::refusal::{fields, refused};

fn new_key() -> String {
    format!("key {}", Uuid::new_v4())
}

fn open(store: &str, options: Option<CommandOptions>) -> OpenStoreRequest {
    OpenStoreRequest {
        store_id: store.to_owned(),
        name: "Once".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        options,
    }
}

fn rename(store: &str, name: &str, options: Option<CommandOptions>) -> RenameStoreRequest {
    RenameStoreRequest { store_id: store.to_owned(), name: name.to_owned(), options }
}

fn sale(shop: &Shop, quantity: i64, key_text: &str) -> RecordSaleRequest {
    let sale = record_sale(&shop.store, &shop.item, quantity, quantity * 250);
    RecordSaleRequest { options: key(key_text), ..sale }
}

/// The same receipt, but for being replayed; its token may cover more.
#[track_caller]
fn assert_replayed(first: &Receipt, again: &Receipt) {
    assert!(!first.replayed && again.replayed, "{first:?} {again:?}");
    assert_eq!((again.version, again.recorded_time), (first.version, first.recorded_time));
    let mut both = decoded(&again.token);
    both.merge(&decoded(&first.token)).expect("of one log");
    assert_eq!(both, decoded(&again.token), "it proves all that the first one did");
}

pub async fn a_key_is_applied_once(client: Client) {
    let mut commands = client.store_commands();
    // Without an id, one is made; a repetition is answered with the first one's.
    let options = key(&new_key());
    let opened = done(commands.open_store(open("", options.clone())).await);
    let again = done(commands.open_store(open("", options)).await);
    assert_eq!(again.store_id, opened.store_id);
    assert_replayed(&receipt(opened.receipt), &receipt(again.receipt));

    // With an id, it is not refused because of its own effect.
    let (id, options) = (Uuid::now_v7().to_string(), key(&new_key()));
    let opened = done(commands.open_store(open(&id, options.clone())).await);
    let again = done(commands.open_store(open(&id, options)).await);
    assert_replayed(&receipt(opened.receipt), &receipt(again.receipt));

    // By metadata; and the options (here an expected version, which has passed) are no payload.
    let text = new_key();
    let by_metadata = |message| {
        let mut request = Request::new(message);
        request.metadata_mut().insert("idempotency-key", text.parse().expect("ascii"));
        request
    };
    let first = commands.rename_store(by_metadata(rename(&id, "Twice", None))).await;
    let first = receipt(done(first).receipt);
    let later = client.rename_store(&id, "Thrice").await;
    let options = CommandOptions {
        idempotency_key: text.clone(),
        expected_version: Some(1),
        token: later.token.clone(),
        ..CommandOptions::default()
    };
    let again = done(commands.rename_store(rename(&id, "Twice", Some(options))).await);
    let again = receipt(again.receipt);
    assert_replayed(&first, &again);
    let store = client.store(&id, &again.token).await;
    assert_eq!((&*store.name, store.version), ("Thrice", 3), "the repetition changed nothing");

    // The field wins: under its key nothing was sent yet.
    let mut request = by_metadata(rename(&id, "Four", None));
    request.get_mut().options = key(&new_key());
    assert_eq!(receipt(done(commands.rename_store(request).await).receipt).version, 4);

    // A sale of all there was is repeated although there is nothing left.
    let (shop, text) = (client.shop(4).await, new_key());
    let mut stock = client.stock_commands();
    let first = receipt(done(stock.record_sale(sale(&shop, 4, &text)).await).receipt);
    let again = receipt(done(stock.record_sale(sale(&shop, 4, &text)).await).receipt);
    assert_replayed(&first, &again);
    let item = client.item(&shop.item, &again.token).await;
    assert_eq!((item.on_hand, item.units_sold, item.revenue), (0, 4, eur(1_000)));
}

/// All of these are in flight together, so that none finds the first one's receipt when it comes.
pub async fn ten_at_once_have_one_effect(client: Client) {
    let ten = 0..10;
    // Ids are made for each, in all partitions; all but one have no effect.
    let options = key(&new_key());
    let opened = join_all(ten.clone().map(|_| {
        let (mut commands, request) = (client.store_commands(), open("", options.clone()));
        async move { done(commands.open_store(request).await) }
    }));
    let opened = opened.await;
    assert!(opened.iter().all(|other| other.store_id == opened[0].store_id), "{opened:?}");
    once(opened.into_iter().map(|opened| receipt(opened.receipt)).collect());

    // The unique address is not taken by the command itself.
    let request =
        RegisterUserRequest { options: key(&new_key()), ..register(&address("ten"), "Ten") };
    let registered = join_all(ten.clone().map(|_| {
        let (mut commands, request) = (client.user_commands(), request.clone());
        async move { done(commands.register_user(request).await) }
    }));
    let registered = registered.await;
    assert!(registered.iter().all(|other| other.user_id == registered[0].user_id));
    once(registered.into_iter().map(|registered| receipt(registered.receipt)).collect());

    let (shop, text) = (client.shop(100).await, new_key());
    let sold = join_all(ten.map(|_| {
        let (mut commands, request) = (client.stock_commands(), sale(&shop, 3, &text));
        async move { receipt(done(commands.record_sale(request).await).receipt) }
    }));
    let token = once(sold.await).token;
    let item = client.item(&shop.item, &token).await;
    assert_eq!((item.on_hand, item.units_sold, item.version), (97, 3, 3));
}

/// One of them is the first; the others repeat it.
#[track_caller]
fn once(receipts: Vec<Receipt>) -> Receipt {
    let (mut first, rest): (Vec<_>, Vec<_>) = receipts.into_iter().partition(|r| !r.replayed);
    assert_eq!((first.len(), rest.len()), (1, 9));
    let first = first.remove(0);
    rest.iter().for_each(|again| assert_replayed(&first, again));
    first
}

pub async fn a_key_stands_for_its_payload(client: Client) {
    let (store, _) = client.open("Payload", "Bern").await;
    let (other, _) = client.open("Payload", "Bern").await;
    let mut commands = client.store_commands();
    let text = new_key();
    let removed = commands
        .remove_manager(RemoveManagerRequest { store_id: store.clone(), options: key(&text) })
        .await;
    assert_eq!(receipt(done(removed).receipt).version, 1, "what changes nothing keeps its key too");
    // Another method with the same message, another message, another aggregate.
    let close = CloseStoreRequest { store_id: store.clone(), options: key(&text) };
    refused(commands.close_store(close).await, "IDEMPOTENCY_KEY_REUSED");
    let renaming = rename(&store, "Reused", key(&text));
    refused(commands.rename_store(renaming).await, "IDEMPOTENCY_KEY_REUSED");
    let elsewhere = RemoveManagerRequest { store_id: other, options: key(&text) };
    refused(commands.remove_manager(elsewhere).await, "IDEMPOTENCY_KEY_REUSED");
    let again = RemoveManagerRequest { store_id: store.clone(), options: key(&text) };
    let again = receipt(done(commands.remove_manager(again).await).receipt);
    assert!(again.replayed);
    assert_eq!(client.store(&store, &again.token).await.name, "Payload");

    let longest = "k".repeat(255);
    done(commands.rename_store(rename(&store, "Longest", key(&longest))).await);
    for wrong in [&*"k".repeat(256), "kö", "a\tb"] {
        let status = refused(
            commands.rename_store(rename(&store, "Wrong", key(wrong))).await,
            "INVALID_REQUEST",
        );
        assert_eq!(fields(&status), ["options.idempotency_key"], "{wrong:?}");
    }
}

/// A refusal is no effect: once the state allows it, the same command passes under its key.
pub async fn what_was_refused_may_be_tried_again(client: Client) {
    let (shop, text) = (client.shop(1).await, new_key());
    let mut stock = client.stock_commands();
    for _ in 0..2 {
        refused(stock.record_sale(sale(&shop, 2, &text)).await, "INSUFFICIENT_STOCK");
    }
    client.receive(&shop.store, &shop.item, 1).await;
    let first = receipt(done(stock.record_sale(sale(&shop, 2, &text)).await).receipt);
    let again = receipt(done(stock.record_sale(sale(&shop, 2, &text)).await).receipt);
    assert_replayed(&first, &again);
    // And what was refused was not applied later by itself.
    let item = client.item(&shop.item, &again.token).await;
    assert_eq!((item.on_hand, item.units_sold), (0, 2));
    let unknown: Result<_, Status> =
        stock.record_sale(RecordSaleRequest { options: key(&text), ..sale(&shop, 1, "") }).await;
    refused(unknown, "IDEMPOTENCY_KEY_REUSED");
}
