//! Validation at the edge: what is wrong is named field by field, all of it at once.

use std::fmt::Debug;

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::users::v1 as users;
use tonic::{Response, Status};

use super::client::{Client, at_least, done, list_item, receipt, record_sale};
use super::refusal::{fields, refused};

const ID: &str = "0198c1c6-4d2e-7e4f-9f0c-5b1f6f3f2a10";

#[track_caller]
fn check<T: Debug>(result: Result<Response<T>, Status>, expected: &[&str]) {
    assert_eq!(fields(&refused(result, "INVALID_REQUEST")), expected);
}

pub async fn wrong_fields_are_named(client: Client) {
    of_stores(&client).await;
    of_money_and_numbers(&client).await;
    of_times(&client).await;
    of_items(&client).await;
    of_users(&client).await;
    of_queries(&client).await;
}

async fn of_stores(client: &Client) {
    use stores::{
        AssignManagerRequest, CloseStoreRequest, OpenStoreRequest, RelocateStoreRequest,
        RemoveManagerRequest, RenameStoreRequest,
    };
    let mut stores = client.store_commands();
    let right = OpenStoreRequest {
        store_id: ID.to_owned(),
        name: "Name".to_owned(),
        city: "City".to_owned(),
        currency: "EUR".to_owned(),
        options: None,
    };
    let nil = "00000000-0000-0000-0000-000000000000".to_owned();
    let table: Vec<(OpenStoreRequest, &[&str])> = vec![
        (OpenStoreRequest::default(), &["city", "currency", "name"]),
        (OpenStoreRequest { store_id: "7".to_owned(), ..right.clone() }, &["store_id"]),
        (OpenStoreRequest { store_id: nil, ..right.clone() }, &["store_id"]),
        (OpenStoreRequest { name: "n".repeat(201), ..right.clone() }, &["name"]),
        (OpenStoreRequest { name: " \u{a0}".to_owned(), ..right.clone() }, &["name"]),
        (OpenStoreRequest { name: "a\nb".to_owned(), ..right.clone() }, &["name"]),
        (OpenStoreRequest { city: "ü".repeat(101), ..right.clone() }, &["city"]),
        (OpenStoreRequest { currency: "eur".to_owned(), ..right.clone() }, &["currency"]),
        (OpenStoreRequest { currency: "EURO".to_owned(), ..right.clone() }, &["currency"]),
        (OpenStoreRequest { currency: "ÄÖ".to_owned(), ..right }, &["currency"]),
    ];
    for (request, expected) in table {
        check(stores.open_store(request).await, expected);
    }
    check(stores.rename_store(RenameStoreRequest::default()).await, &["name", "store_id"]);
    check(stores.relocate_store(RelocateStoreRequest::default()).await, &["city", "store_id"]);
    check(stores.assign_manager(AssignManagerRequest::default()).await, &["store_id", "user_id"]);
    check(stores.remove_manager(RemoveManagerRequest::default()).await, &["store_id"]);
    check(stores.close_store(CloseStoreRequest::default()).await, &["store_id"]);
    // At the limits.
    let (name, city) = ("ü".repeat(200), "ü".repeat(100));
    let (store, _) = client.open(&name, &city).await;
    client.rename_store(&store, "x").await;
}

async fn of_money_and_numbers(client: &Client) {
    let mut stock = client.stock_commands();
    let money = |currency: &str, minor_units| {
        Some(stores::Money { currency: currency.to_owned(), minor_units })
    };
    for (amount, expected) in [
        (None, "amount"),
        (money("", 1), "amount.currency"),
        (money("usd", 1), "amount.currency"),
        (money("EUR", -1), "amount.minor_units"),
        (money("EUR", 1_000_000_000_001), "amount.minor_units"),
    ] {
        let sale = stores::RecordSaleRequest { amount, ..record_sale(ID, ID, 1, 1) };
        check(stock.record_sale(sale).await, &[expected]);
    }
    let both = stores::RecordSaleRequest { amount: money("", -1), ..record_sale(ID, ID, 0, 1) };
    let expected = ["amount.currency", "amount.minor_units", "quantity"];
    check(stock.record_sale(both).await, &expected);
    for quantity in [0, -1, 1_000_000_001, i64::MAX] {
        check(stock.record_sale(record_sale(ID, ID, quantity, 1)).await, &["quantity"]);
        let (store_id, item_id) = (ID.to_owned(), ID.to_owned());
        let request = stores::ReceiveStockRequest { store_id, item_id, quantity, options: None };
        check(stock.receive_stock(request).await, &["quantity"]);
    }
    for delta in [0, 1_000_000_001, -1_000_000_001, i64::MIN] {
        let (store_id, item_id) = (ID.to_owned(), ID.to_owned());
        let reason = "r".repeat(201);
        let request =
            stores::AdjustStockRequest { store_id, item_id, delta, reason, options: None };
        check(stock.adjust_stock(request).await, &["delta", "reason"]);
    }
}

async fn of_times(client: &Client) {
    let mut stock = client.stock_commands();
    for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (-62_135_596_801, 0)] {
        let sold_time = Some(prost_types::Timestamp { seconds, nanos });
        let sale = stores::RecordSaleRequest { sold_time, ..record_sale(ID, ID, 1, 1) };
        check(stock.record_sale(sale).await, &["sold_time"]);
    }
}

async fn of_items(client: &Client) {
    let mut stock = client.stock_commands();
    let all = ["name", "price", "sku", "store_id"];
    check(stock.list_item(stores::ListItemRequest::default()).await, &all);
    for sku in ["", "A\u{e4}", "A\tB", &*"s".repeat(65)] {
        let named = stores::ListItemRequest { name: "Name".to_owned(), ..list_item(ID, sku, 1) };
        check(stock.list_item(named).await, &["sku"]);
    }
    let request = stores::ListItemRequest { item_id: "7".to_owned(), ..list_item(ID, "A", 1) };
    check(stock.list_item(request).await, &["item_id"]);
    let ids = ["item_id", "store_id"];
    let request = stores::RepriceItemRequest::default();
    check(stock.reprice_item(request).await, &["item_id", "price", "store_id"]);
    check(stock.delist_item(stores::DelistItemRequest::default()).await, &ids);
    let request = stores::ReceiveStockRequest { quantity: 1, ..Default::default() };
    check(stock.receive_stock(request).await, &ids);
    let reason = "counted".to_owned();
    let request = stores::AdjustStockRequest { delta: 1, reason, ..Default::default() };
    check(stock.adjust_stock(request).await, &ids);
    // At the limits.
    let (store, _) = client.open("Limits", "Bern").await;
    client.list(&store, &"~".repeat(64), 1_000_000_000_000).await;
    // The smallest SKU there is; what is listed under it can be found by it.
    let blank = stores::ListItemRequest { name: "Blank".to_owned(), ..list_item(&store, " ", 0) };
    let listed = done(stock.list_item(blank).await);
    let (store_id, sku) = (store, " ".to_owned());
    let consistency = at_least(&receipt(listed.receipt).token);
    let request = stores::GetItemBySkuRequest { store_id, sku, consistency };
    let found = done(client.stock_queries().get_item_by_sku(request).await).item;
    assert_eq!(found.map(|item| item.item_id), Some(listed.item_id));
}

async fn of_users(client: &Client) {
    let mut users = client.user_commands();
    let register = |email: &str, name: &str| super::client::register(email, name);
    let long = format!("{}@example.org", "l".repeat(243));
    let wrong = ["", "ada", "@x", "a@", "a@b@c", "a b@example.org", "a@exam\nple.org", &*long];
    for email in wrong {
        check(users.register_user(register(email, "Ada")).await, &["email"]);
        let (user_id, email) = (ID.to_owned(), email.to_owned());
        let request = users::ChangeEmailRequest { user_id, email, options: None };
        check(users.change_email(request).await, &["email"]);
    }
    check(users.register_user(register("", "")).await, &["email", "name"]);
    let request = users::RegisterUserRequest {
        user_id: "7".to_owned(),
        ..register("a@example.org", &"n".repeat(201))
    };
    check(users.register_user(request).await, &["name", "user_id"]);
    check(users.rename_user(users::RenameUserRequest::default()).await, &["name", "user_id"]);
    check(users.deactivate_user(users::DeactivateUserRequest::default()).await, &["user_id"]);
}

async fn of_queries(client: &Client) {
    let (mut stores, mut stock) = (client.store_queries(), client.stock_queries());
    let mut users = client.user_queries();
    check(stores.get_store(stores::GetStoreRequest::default()).await, &["store_id"]);
    check(
        stores.get_store_overview(stores::GetStoreOverviewRequest::default()).await,
        &["store_id"],
    );
    check(stores.get_store_report(stores::GetStoreReportRequest::default()).await, &["store_id"]);
    check(stock.get_item(stores::GetItemRequest::default()).await, &["item_id"]);
    let request = stores::GetItemBySkuRequest { sku: "\t".to_owned(), ..Default::default() };
    check(stock.get_item_by_sku(request).await, &["sku", "store_id"]);
    let request = stores::ListItemsRequest { order: 9, page_size: 501, ..Default::default() };
    check(stock.list_items(request).await, &["order", "page_size", "store_id"]);
    check(users.get_user(users::GetUserRequest::default()).await, &["user_id"]);
    let request = users::GetUserByEmailRequest { email: "a".to_owned(), consistency: None };
    check(users.get_user_by_email(request).await, &["email"]);
    let request =
        stores::ListStoresRequest { status: 9, city: "\n".to_owned(), ..Default::default() };
    check(stores.list_stores(request).await, &["city", "status"]);

    let ids = |wrong: usize| {
        let id = |at| if at == wrong { "7".to_owned() } else { ID.to_owned() };
        (0..3).map(id).collect::<Vec<String>>()
    };
    let request = stores::BatchGetStoresRequest { store_ids: ids(1), consistency: None };
    check(stores.batch_get_stores(request).await, &["store_ids[1]"]);
    let request = stores::BatchGetItemsRequest { item_ids: ids(2), consistency: None };
    check(stock.batch_get_items(request).await, &["item_ids[2]"]);
    let request = users::BatchGetUsersRequest { user_ids: ids(0), consistency: None };
    check(users.batch_get_users(request).await, &["user_ids[0]"]);
    let request = stores::BatchGetStoresRequest::default();
    check(stores.batch_get_stores(request).await, &["store_ids"]);
}
