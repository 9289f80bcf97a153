//! Every refusal of the domain, provoked once, and what the router refuses itself.

use std::collections::BTreeSet;

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::users::v1 as users;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::client::register;
use super::client::{Client, Shop, address, done, eur, list_item, receive_stock, record_sale};
use super::refusal::{REFUSALS, fact, must_be};

/// The table has all of the domain's.
#[test]
fn the_domains_reasons_are_in_the_table() {
    for reason in headwater_domain_model::reasons::ALL {
        let is_listed =
            |(code, domain, _): &&(&str, &str, _)| *code == reason.code && *domain == reason.domain;
        assert!(REFUSALS.iter().any(|row| is_listed(&row)), "{reason:?}");
    }
}

/// Refusals as they come.
#[derive(Default)]
struct Provoked(BTreeSet<&'static str>);

impl Provoked {
    #[track_caller]
    fn add<T: std::fmt::Debug>(
        &mut self,
        reason: &'static str,
        result: Result<tonic::Response<T>, Status>,
    ) {
        must_be(&result.expect_err(reason), reason);
        self.0.insert(reason);
    }
}

pub async fn every_refusal_of_the_domain(client: Client) {
    let mut provoked = Provoked::default();
    let shop = client.shop(5).await;
    of_stores(&client, &shop, &mut provoked).await;
    of_items(&client, &shop, &mut provoked).await;
    of_totals(&client, &mut provoked).await;
    of_users(&client, &mut provoked).await;
    let all = headwater_domain_model::reasons::ALL.iter().map(|reason| reason.code);
    assert_eq!(provoked.0, all.collect(), "each was provoked");
}

async fn of_stores(client: &Client, shop: &Shop, provoked: &mut Provoked) {
    let mut commands = client.store_commands();
    let open = stores::OpenStoreRequest {
        store_id: shop.store.clone(),
        name: "Again".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        options: None,
    };
    provoked.add("STORE_EXISTS", commands.open_store(open).await);
    let close =
        |store: &str| stores::CloseStoreRequest { store_id: store.to_owned(), options: None };
    provoked.add("STORE_HAS_STOCK", commands.close_store(close(&shop.store)).await);
    let nowhere = Uuid::now_v7().to_string();
    provoked.add("STORE_NOT_FOUND", commands.close_store(close(&nowhere)).await);
    let (closed, _) = client.open("Closed", "Bern").await;
    client.close(&closed).await;
    let rename = stores::RenameStoreRequest {
        store_id: closed.clone(),
        name: "Open".to_owned(),
        options: None,
    };
    provoked.add("STORE_CLOSED", commands.rename_store(rename).await);
    let listing = client.stock_commands().list_item(list_item(&closed, "A-1", 1)).await;
    provoked.add("STORE_NOT_OPEN", listing);
}

async fn of_items(client: &Client, shop: &Shop, provoked: &mut Provoked) {
    let mut commands = client.stock_commands();
    let (store, item) = (&*shop.store, &*shop.item);
    let again = stores::ListItemRequest { item_id: item.to_owned(), ..list_item(store, "B-1", 1) };
    provoked.add("ITEM_EXISTS", commands.list_item(again).await);
    provoked.add("SKU_TAKEN", commands.list_item(list_item(store, "A-1", 1)).await);
    let nothing = Uuid::now_v7().to_string();
    let unknown = receive_stock(store, &nothing, 1);
    provoked.add("ITEM_NOT_FOUND", commands.receive_stock(unknown).await);
    let too_many = record_sale(store, item, 6, 1);
    provoked.add("INSUFFICIENT_STOCK", commands.record_sale(too_many).await);
    let mut dollars = record_sale(store, item, 1, 1);
    dollars.amount = Some(stores::Money { currency: "USD".to_owned(), minor_units: 1 });
    provoked.add("CURRENCY_MISMATCH", commands.record_sale(dollars).await);
    let delist = stores::DelistItemRequest {
        store_id: store.to_owned(),
        item_id: item.to_owned(),
        options: None,
    };
    provoked.add("ITEM_HAS_STOCK", commands.delist_item(delist.clone()).await);
    client.sell(store, item, 5, 1).await;
    done(commands.delist_item(delist).await);
    provoked.add("ITEM_DELISTED", commands.receive_stock(receive_stock(store, item, 1)).await);
}

/// Nine sales of the largest amount fit an item's revenue, the tenth does not.
async fn of_totals(client: &Client, provoked: &mut Provoked) {
    const LARGEST: i64 = 1_000_000_000_000;
    let shop = client.shop(20).await;
    for _ in 0..9 {
        client.sell(&shop.store, &shop.item, 1, LARGEST).await;
    }
    let mut commands = client.stock_commands();
    let tenth = record_sale(&shop.store, &shop.item, 1, LARGEST);
    provoked.add("AMOUNT_OVERFLOW", commands.record_sale(tenth).await);
    let last = client.sell(&shop.store, &shop.item, 1, 0).await;
    let item = client.item(&shop.item, &last.token).await;
    assert_eq!((item.on_hand, item.revenue), (10, eur(9 * LARGEST)));
}

async fn of_users(client: &Client, provoked: &mut Provoked) {
    let mut commands = client.user_commands();
    let email = address("refused");
    let (user, _) = client.register(&email, "Refused").await;
    let again = users::RegisterUserRequest {
        user_id: user.clone(),
        ..register(&address("refused"), "Refused")
    };
    provoked.add("USER_EXISTS", commands.register_user(again).await);
    provoked.add("EMAIL_TAKEN", commands.register_user(register(&email, "Other")).await);
    let leave = |user_id: String| users::DeactivateUserRequest { user_id, options: None };
    let nobody = leave(Uuid::now_v7().to_string());
    provoked.add("USER_NOT_FOUND", commands.deactivate_user(nobody).await);
    done(commands.deactivate_user(leave(user.clone())).await);
    let name = "Back".to_owned();
    let back = users::RenameUserRequest { user_id: user, name, options: None };
    provoked.add("USER_DEACTIVATED", commands.rename_user(back).await);
}

pub async fn what_the_router_does_not_know(client: Client) {
    let known = "/stores.v1.StoreCommandService/OpenStore";
    for path in [
        "/stores.v1.StoreCommandService/Open",
        "/stores.v1.StoreCommandService/openstore",
        "/stores.v2.StoreCommandService/OpenStore",
        "/stores.v1.StoreCommandService/OpenStore/",
        "/headwater/nothing",
        "/",
    ] {
        let status = call(&client, path).await.expect_err(path);
        must_be(&status, "METHOD_UNKNOWN");
        assert_eq!(fact(&status, "method").as_deref(), Some(path.trim_start_matches('/')));
    }
    let status = call(&client, known).await.expect_err("an empty request");
    must_be(&status, "INVALID_REQUEST");
}

async fn call(client: &Client, path: &'static str) -> Result<(), Status> {
    let mut grpc = Grpc::new(client.channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let codec = ProstCodec::<stores::OpenStoreRequest, stores::OpenStoreResponse>::default();
    let request = Request::new(stores::OpenStoreRequest::default());
    grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(|_| ())
}
