//! `StoreOverview`, which joins a store, its items and its manager, whose events come from two
//! partitions.

use headwater_domain_proto::stores::v1::{
    AdjustStockRequest, AssignManagerRequest, DelistItemRequest, ListItemsRequest,
    ListStoreOverviewsRequest, RemoveManagerRequest, RepriceItemRequest, StoreOverview,
    StoreStatus,
};
use headwater_domain_proto::users::v1::RegisterUserRequest;

use super::client::{Client, address, after, at_least, covering, done, eur, receipt, register};

pub async fn an_overview_is_the_sum_of_its_items(client: Client) {
    let (store, opened) = client.open("Sums", "Bern").await;
    let mut expected = StoreOverview {
        store_id: store.clone(),
        name: "Sums".to_owned(),
        city: "Bern".to_owned(),
        status: StoreStatus::Open.into(),
        manager_id: String::new(),
        manager_name: String::new(),
        items: 0,
        units_in_stock: 0,
        stock_value: eur(0),
        units_sold: 0,
        revenue: eur(0),
    };
    assert_eq!(client.overview(&store, &opened.token).await, expected);

    let mut stock = client.stock_commands();
    let mut items = Vec::new();
    for (number, price) in [199, 250, 1_000, 5].into_iter().enumerate() {
        let (item, _) = client.list(&store, &format!("S-{number}"), price).await;
        client.receive(&store, &item, 10 + number as i64).await;
        client.sell(&store, &item, 2, price * 2 - 1).await;
        items.push(item);
    }
    let store_id = store.clone();
    let item_id = items[1].clone();
    let options = None;
    let request = RepriceItemRequest { store_id, item_id, price: eur(300), options };
    done(stock.reprice_item(request).await);
    for (item, delta) in [(&items[2], 7), (&items[3], -11)] {
        let store_id = store.clone();
        let item_id = item.clone();
        let reason = "counted".to_owned();
        let request = AdjustStockRequest { store_id, item_id, delta, reason, options: None };
        done(stock.adjust_stock(request).await);
    }
    // Sold out and delisted: what it brought in still counts, the item does not.
    let (store_id, item_id) = (store.clone(), items[3].clone());
    let request = DelistItemRequest { store_id, item_id, options: None };
    let delisted = receipt(done(stock.delist_item(request).await).receipt);

    // By hand: 8 x 199 + 9 x 300 + 17 x 1000, and 397 + 499 + 1999 + 9.
    (expected.items, expected.units_in_stock, expected.stock_value) = (3, 34, eur(21_292));
    (expected.units_sold, expected.revenue) = (8, eur(2_904));
    assert_eq!(client.overview(&store, &delisted.token).await, expected);
    let report = client.report(&store, &delisted.token).await;
    assert_eq!(report.overview.as_ref(), Some(&expected));
    let sold = report.best_sellers.iter().map(|item| (item.units_sold, item.item_id.clone()));
    let sold: Vec<_> = sold.collect();
    items.sort();
    assert_eq!(sold, items.iter().map(|item| (2, item.clone())).collect::<Vec<_>>());
    assert_eq!(report.manager, None);

    // And from the items themselves, as far as they are still listed.
    let (store_id, consistency) = (store.clone(), at_least(&delisted.token));
    let request = ListItemsRequest { store_id, consistency, ..Default::default() };
    let items = done(client.stock_queries().list_items(request).await).items;
    let value = |item: &_| -> i64 {
        let item: &headwater_domain_proto::stores::v1::StockItem = item;
        item.on_hand * item.price.as_ref().expect("a price").minor_units
    };
    assert_eq!(items.len() as i64, expected.items);
    assert_eq!(items.iter().map(|item| item.on_hand).sum::<i64>(), expected.units_in_stock);
    assert_eq!(eur(items.iter().map(value).sum()), expected.stock_value);
}

pub async fn a_managers_name_is_followed(client: Client) {
    let (store, opened) = client.open("Managed", "Bern").await;
    let mut stores = client.store_commands();
    let assign = |user: &str, token: &str| AssignManagerRequest {
        store_id: store.clone(),
        user_id: user.to_owned(),
        options: after(token),
    };
    let manager = |token: String| {
        let (client, store) = (client.clone(), store.clone());
        async move {
            let shown = client.overview(&store, &token).await;
            (shown.manager_id, shown.manager_name)
        }
    };
    // Assigned before anybody knows the user, who then registers in another partition, if there is
    // one.
    let user = client.id_in(client.partition(&store).0 + 1);
    let assigned = receipt(done(stores.assign_manager(assign(&user, "")).await).receipt);
    assert_eq!(manager(assigned.token.clone()).await, (user.clone(), String::new()));
    let request = RegisterUserRequest {
        user_id: user.clone(),
        options: after(&assigned.token),
        ..register(&address("manager"), "Mo")
    };
    let registered = receipt(done(client.user_commands().register_user(request).await).receipt);
    assert_eq!(manager(registered.token.clone()).await, (user.clone(), "Mo".to_owned()));

    let renamed = client.rename_user(&user, "Mo the Second").await;
    assert_eq!(manager(renamed.token).await, (user.clone(), "Mo the Second".to_owned()));

    // Another one, who is known already; the first one's names no longer matter.
    let (other, known) = client.register(&address("other"), "Kim").await;
    let replaced = receipt(done(stores.assign_manager(assign(&other, &known.token)).await).receipt);
    assert_eq!(manager(replaced.token).await, (other.clone(), "Kim".to_owned()));
    let renamed = client.rename_user(&user, "Mo the Third").await;
    assert_eq!(manager(renamed.token).await, (other.clone(), "Kim".to_owned()));

    let request = RemoveManagerRequest { store_id: store.clone(), options: after(&opened.token) };
    let removed = receipt(done(stores.remove_manager(request).await).receipt);
    assert_eq!(manager(removed.token).await, (String::new(), String::new()));
}

/// Other scenarios open stores meanwhile; these three stand in their order among them.
pub async fn the_largest_revenue_comes_first(client: Client) {
    let mut shops = Vec::new();
    let mut tokens = Vec::new();
    for amount in [900, 700, 800, 700] {
        let shop = client.shop(1).await;
        tokens.push(client.sell(&shop.store, &shop.item, 1, amount).await.token);
        shops.push((-amount, shop.store));
    }
    let token = covering(&tokens);
    shops.sort();
    let mut shown = Vec::new();
    let mut revenues = Vec::new();
    let mut page_token = String::new();
    loop {
        let consistency = at_least(&token);
        let request = ListStoreOverviewsRequest { page_size: 5, page_token, consistency };
        let page = done(client.store_queries().list_store_overviews(request).await);
        assert!(page.overviews.len() <= 5);
        revenues.extend(page.overviews.iter().map(|o| o.revenue.clone().expect("one").minor_units));
        shown.extend(page.overviews.into_iter().map(|overview| overview.store_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(revenues.is_sorted_by(|one, next| one >= next), "{revenues:?}");
    shown.retain(|store| shops.iter().any(|(_, mine)| mine == store));
    assert_eq!(shown, shops.into_iter().map(|(_, store)| store).collect::<Vec<_>>());
}
