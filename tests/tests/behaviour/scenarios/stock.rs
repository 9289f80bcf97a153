//! Stock items: what a store sells, how much of it there is, and what it brought in.

use headwater_domain_proto::stores::v1::{
    AdjustStockRequest, DelistItemRequest, GetItemBySkuRequest, ListItemRequest, Money,
    RepriceItemRequest, StockItem,
};
use tonic::Request;
use uuid::Uuid;

use super::client::{
    Client, Shop, at_least, done, eur, list_item, receipt, receive_stock, record_sale,
};
use super::refusal::refused;

fn usd(minor_units: i64) -> Option<Money> {
    Some(Money { currency: "USD".to_owned(), minor_units })
}

fn reprice(shop: &Shop, price: Option<Money>) -> RepriceItemRequest {
    let (store_id, item_id) = (shop.store.clone(), shop.item.clone());
    RepriceItemRequest { store_id, item_id, price, options: None }
}

fn adjust(shop: &Shop, delta: i64) -> AdjustStockRequest {
    let (store_id, item_id) = (shop.store.clone(), shop.item.clone());
    AdjustStockRequest { store_id, item_id, delta, reason: "counted".to_owned(), options: None }
}

fn delist(shop: &Shop) -> DelistItemRequest {
    let (store_id, item_id) = (shop.store.clone(), shop.item.clone());
    DelistItemRequest { store_id, item_id, options: None }
}

pub async fn an_item_lives_in_its_store(client: Client) {
    let shop = client.shop(0).await;
    let mut stock = client.stock_commands();
    let mut expected = StockItem {
        item_id: shop.item.clone(),
        store_id: shop.store.clone(),
        sku: "A-1".to_owned(),
        name: "A-1".to_owned(),
        price: eur(250),
        on_hand: 0,
        units_sold: 0,
        revenue: eur(0),
        listed: true,
        version: 1,
    };
    assert_eq!(client.item(&shop.item, &shop.token).await, expected);

    let received = client.receive(&shop.store, &shop.item, 40).await;
    (expected.on_hand, expected.version) = (40, 2);
    assert_eq!(client.item(&shop.item, &received.token).await, expected);

    let sold = client.sell(&shop.store, &shop.item, 3, 700).await;
    (expected.on_hand, expected.units_sold, expected.version) = (37, 3, 3);
    expected.revenue = eur(700);
    assert_eq!(client.item(&shop.item, &sold.token).await, expected);

    let repriced = receipt(done(stock.reprice_item(reprice(&shop, eur(300))).await).receipt);
    (expected.price, expected.version) = (eur(300), 4);
    assert_eq!(client.item(&shop.item, &repriced.token).await, expected);

    for (delta, on_hand, version) in [(-7, 30, 5), (2, 32, 6)] {
        let adjusted = receipt(done(stock.adjust_stock(adjust(&shop, delta)).await).receipt);
        (expected.on_hand, expected.version) = (on_hand, version);
        assert_eq!(client.item(&shop.item, &adjusted.token).await, expected);
    }

    refused(stock.delist_item(delist(&shop)).await, "ITEM_HAS_STOCK");
    done(stock.adjust_stock(adjust(&shop, -32)).await);
    let delisted = receipt(done(stock.delist_item(delist(&shop)).await).receipt);
    (expected.on_hand, expected.listed, expected.version) = (0, false, 8);
    assert_eq!(client.item(&shop.item, &delisted.token).await, expected);
    nothing_can_be_done_with_a_delisted_item(&client, &shop).await;
}

async fn nothing_can_be_done_with_a_delisted_item(client: &Client, shop: &Shop) {
    let mut stock = client.stock_commands();
    let (store, item) = (&*shop.store, &*shop.item);
    refused(stock.receive_stock(receive_stock(store, item, 1)).await, "ITEM_DELISTED");
    refused(stock.record_sale(record_sale(store, item, 1, 1)).await, "ITEM_DELISTED");
    refused(stock.adjust_stock(adjust(shop, 1)).await, "ITEM_DELISTED");
    refused(stock.reprice_item(reprice(shop, eur(1))).await, "ITEM_DELISTED");
    let again = ListItemRequest { item_id: item.to_owned(), ..list_item(store, "A-2", 1) };
    refused(stock.list_item(again).await, "ITEM_EXISTS");
}

pub async fn a_sku_is_unique_and_free_again(client: Client) {
    let shop = client.shop(0).await;
    let other = client.shop(0).await;
    let mut stock = client.stock_commands();
    refused(stock.list_item(list_item(&shop.store, "A-1", 300)).await, "SKU_TAKEN");
    // Its own store's alone: `other` has one too, and case counts.
    client.list(&shop.store, "a-1", 300).await;

    let by_sku = |store: &str, token: &str| GetItemBySkuRequest {
        store_id: store.to_owned(),
        sku: "A-1".to_owned(),
        consistency: at_least(token),
    };
    let mut queries = client.stock_queries();
    let first = queries.get_item_by_sku(by_sku(&shop.store, &shop.token)).await.expect("listed");
    let first_tag = first.metadata().get("etag").expect("a tag").clone();
    let delisted = receipt(done(stock.delist_item(delist(&shop)).await).receipt);
    let gone = queries.get_item_by_sku(by_sku(&shop.store, &delisted.token)).await;
    refused(gone, "NOT_FOUND");

    // Several want it at once: one gets it.
    let wanted = (0..6).map(|_| {
        let mut stock = client.stock_commands();
        let request = list_item(&shop.store, "A-1", 500);
        async move { stock.list_item(request).await }
    });
    let (listed, rest): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(wanted).await.into_iter().partition(Result::is_ok);
    assert_eq!(listed.len(), 1);
    rest.into_iter().for_each(|other| drop(refused(other, "SKU_TAKEN")));

    let listed = listed.into_iter().map(done).next().expect("the winner");
    let token = receipt(listed.receipt).token;
    let found = done(queries.get_item_by_sku(by_sku(&shop.store, &token)).await).item;
    let found = found.expect("the new one");
    assert_eq!((found.item_id, found.price), (listed.item_id, eur(500)));
    // It has the version that the first one had when it was listed, and is not that one.
    let mut conditional = Request::new(by_sku(&shop.store, &token));
    conditional.metadata_mut().insert("if-none-match", first_tag);
    let changed = done(queries.get_item_by_sku(conditional).await);
    assert_eq!(changed.item.expect("it is sent").version, 1);
    assert!(changed.freshness.is_some_and(|freshness| !freshness.not_modified));
    let kept = done(queries.get_item_by_sku(by_sku(&other.store, &other.token)).await).item;
    assert_eq!(kept.expect("the other store's").item_id, other.item);
}

pub async fn stock_is_never_negative(client: Client) {
    let shop = client.shop(10).await;
    let other = client.shop(0).await;
    let mut stock = client.stock_commands();
    let (store, item) = (&*shop.store, &*shop.item);
    refused(stock.record_sale(record_sale(store, item, 11, 2_750)).await, "INSUFFICIENT_STOCK");
    refused(stock.adjust_stock(adjust(&shop, -11)).await, "INSUFFICIENT_STOCK");

    // Money of another currency, by every command that takes money.
    let mut sale = record_sale(store, item, 1, 0);
    sale.amount = usd(250);
    refused(stock.record_sale(sale).await, "CURRENCY_MISMATCH");
    refused(stock.reprice_item(reprice(&shop, usd(250))).await, "CURRENCY_MISMATCH");
    let mut listing = list_item(store, "U-1", 0);
    listing.price = usd(250);
    refused(stock.list_item(listing).await, "STORE_NOT_OPEN");

    // An item is one of its own store only.
    let elsewhere = record_sale(&other.store, item, 1, 250);
    refused(stock.record_sale(elsewhere).await, "ITEM_NOT_FOUND");
    let nowhere = receive_stock(store, &Uuid::now_v7().to_string(), 1);
    refused(stock.receive_stock(nowhere).await, "ITEM_NOT_FOUND");
    let no_store = list_item(&Uuid::now_v7().to_string(), "A-1", 1);
    refused(stock.list_item(no_store).await, "STORE_NOT_OPEN");

    // Fifteen want one of the ten: all ten are sold, and none twice.
    let sales = (0..15).map(|_| {
        let mut stock = client.stock_commands();
        let request = record_sale(store, item, 1, 250);
        async move { stock.record_sale(request).await }
    });
    let (sold, rest): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(sales).await.into_iter().partition(Result::is_ok);
    assert_eq!(sold.len(), 10);
    rest.into_iter().for_each(|other| drop(refused(other, "INSUFFICIENT_STOCK")));
    let newest = sold.into_iter().map(|sold| receipt(done(sold).receipt));
    let newest = newest.max_by_key(|receipt| receipt.version).expect("ten");
    let item = client.item(item, &newest.token).await;
    assert_eq!((item.on_hand, item.units_sold, item.revenue), (0, 10, eur(2_500)));
    assert_eq!(item.version, 12, "one event a sale");
}
