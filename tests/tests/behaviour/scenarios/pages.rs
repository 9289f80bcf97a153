//! Lists: filters, order, and pages that are complete and disjoint.

use headwater_domain_proto::stores::v1::{
    BatchGetItemsRequest, BatchGetStoresRequest, ItemOrder, ListItemsRequest, ListStoresRequest,
    SearchStoresRequest, Store, StoreStatus,
};
use headwater_domain_proto::users::v1::BatchGetUsersRequest;
use headwater_proto::headwater::v1::consistency::Requirement;
use uuid::Uuid;

use super::client::{Client, address, at_least, covering, done, require};
use super::refusal::{fields, refused};

/// A page's rows and the token of the next one.
type Page = (Vec<Store>, String);

/// All pages of a list, checked to be as long as they were asked for, and the last alone shorter.
async fn all<F: Future<Output = Page>>(size: usize, page: impl Fn(String) -> F) -> Vec<Store> {
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let (page, next) = page(token).await;
        assert!(page.len() == size || (next.is_empty() && page.len() < size), "{}", page.len());
        rows.extend(page);
        if next.is_empty() {
            return rows;
        }
        token = next;
    }
}

fn names(stores: &[Store]) -> Vec<&str> {
    stores.iter().map(|store| store.name.as_str()).collect()
}

pub async fn stores_by_city_and_status(client: Client) {
    let city = format!("City {}", Uuid::new_v4().simple());
    let mut tokens = Vec::new();
    let mut expected = Vec::new();
    // Names out of order, four of them the same; every third store closes.
    for number in 0..17_usize {
        let name = match number % 4 {
            3 => "Same".to_owned(),
            _ => format!("Name {:02}", (number * 7) % 17),
        };
        let (store, opened) = client.open(&name, &city).await;
        let is_closed = number % 3 == 0;
        tokens.push(if is_closed { client.close(&store).await.token } else { opened.token });
        expected.push((name, store.parse::<Uuid>().expect("an id"), is_closed));
    }
    let (_, elsewhere) = client.open("Name 00", "Elsewhere").await;
    tokens.push(elsewhere.token);
    expected.sort();
    let token = covering(&tokens);

    use StoreStatus::{Closed, Open, Unspecified};
    for (status, size) in [(Unspecified, 5), (Unspecified, 17), (Open, 4), (Closed, 1)] {
        let list = |page_token: String| {
            let (city, consistency) = (city.clone(), at_least(&token));
            let (status, page_size) = (status.into(), size as i32);
            let request = ListStoresRequest { city, status, page_size, page_token, consistency };
            let mut queries = client.store_queries();
            async move {
                let page = done(queries.list_stores(request).await);
                (page.stores, page.next_page_token)
            }
        };
        let stores = all(size, list).await;
        let shown: Vec<(String, String)> =
            stores.iter().map(|store| (store.name.clone(), store.store_id.clone())).collect();
        let wanted = |is_closed: bool| status == Unspecified || (status == Closed) == is_closed;
        let wanted: Vec<(String, String)> = expected
            .iter()
            .filter(|(_, _, is_closed)| wanted(*is_closed))
            .map(|(name, id, _)| (name.clone(), id.to_string()))
            .collect();
        assert_eq!(shown, wanted, "{status:?} by {size}");
    }
    without_a_city(&client, &city, &token).await;
    a_store_opened_meanwhile(&client, &city, &token).await;
}

/// Of all cities: the same stores are among them, in the same order, once.
async fn without_a_city(client: &Client, city: &str, token: &str) {
    for status in [StoreStatus::Unspecified, StoreStatus::Closed] {
        let list = |page_token: String, city: String, page_size: i32| {
            let (status, consistency) = (status.into(), at_least(token));
            let request = ListStoresRequest { city, status, page_size, page_token, consistency };
            let mut queries = client.store_queries();
            async move {
                let page = done(queries.list_stores(request).await);
                (page.stores, page.next_page_token)
            }
        };
        let mut stores = all(20, |token| list(token, String::new(), 20)).await;
        let in_order =
            |one: &Store, next: &Store| (&one.name, &one.store_id) < (&next.name, &next.store_id);
        assert!(stores.is_sorted_by(in_order), "by name and id, none twice");
        stores.retain(|store| store.city == city);
        // Without a page size there are fifty on a page.
        let (of_city, next) = list(String::new(), city.to_owned(), 0).await;
        assert_eq!((stores, next), (of_city, String::new()), "{status:?}");
    }
}

/// What is added before the place where a list stands moves nothing; what is added after it comes.
async fn a_store_opened_meanwhile(client: &Client, city: &str, token: &str) {
    let list = |page_token: String, token: &str| {
        let (city, consistency) = (city.to_owned(), at_least(token));
        let request =
            ListStoresRequest { city, page_size: 9, page_token, consistency, ..Default::default() };
        let mut queries = client.store_queries();
        async move { done(queries.list_stores(request).await) }
    };
    let first = list(String::new(), token).await;
    let before = list(first.next_page_token.clone(), token).await;
    let (_, one) = client.open("A first of all", city).await;
    let (_, other) = client.open("Zoo", city).await;
    let token = covering(&[token.to_owned(), one.token, other.token]);
    let after = list(first.next_page_token, &token).await;
    assert_eq!(names(&after.stores[..8]), names(&before.stores));
    assert_eq!(names(&after.stores[8..]), ["Zoo"]);
}

pub async fn stores_by_words(client: Client) {
    let city = format!("q{}", Uuid::new_v4().simple());
    let mut tokens = Vec::new();
    for name in ["Lakeside Grocer", "Grocer by the lake", "Lake's Best Grocery", "Hill Grocer"] {
        tokens.push(client.open(&format!("{name} {city}"), &city).await.1.token);
    }
    let token = covering(&tokens);
    let search = |query: String, page_size: i32, page_token: String| {
        let consistency = at_least(&token);
        let request = SearchStoresRequest { query, page_size, page_token, consistency };
        let mut queries = client.store_queries();
        async move { queries.search_stores(request).await }
    };
    let table: [(&str, &[&str]); 8] = [
        ("", &["Grocer by the lake", "Hill Grocer", "Lake's Best Grocery", "Lakeside Grocer"]),
        ("lake", &["Grocer by the lake", "Lake's Best Grocery", "Lakeside Grocer"]),
        ("LAKE gro", &["Grocer by the lake", "Lake's Best Grocery", "Lakeside Grocer"]),
        ("lakes", &["Lakeside Grocer"]),
        ("grocery", &["Lake's Best Grocery"]),
        ("side", &[]),
        ("gro & hill", &["Hill Grocer"]),
        ("gro | !best", &["Lake's Best Grocery"]),
    ];
    for (words, expected) in table {
        let page = done(search(format!("{city} {words}"), 0, String::new()).await);
        let expected: Vec<String> = expected.iter().map(|name| format!("{name} {city}")).collect();
        assert_eq!(names(&page.stores), expected, "{words}");
    }
    let page = |token: String| {
        let found = search(format!("{city} gro"), 3, token);
        async move {
            let page = done(found.await);
            (page.stores, page.next_page_token)
        }
    };
    assert_eq!(all(3, page).await.len(), 4);
    for (query, size) in [("", 0), ("& |", 0), (&*"x".repeat(101), 0)] {
        let status =
            refused(search(query.to_owned(), size, String::new()).await, "INVALID_REQUEST");
        assert_eq!(fields(&status), ["query"], "{query}");
    }
}

pub async fn items_by_price_and_sku(client: Client) {
    let (store, _) = client.open("Sorted", "Bern").await;
    let mut items = Vec::new();
    let mut token = String::new();
    for number in 0..11_i64 {
        let (sku, price) = (format!("K-{:02}", (number * 5) % 11), (number * 3) % 4 * 100);
        let (item, listed) = client.list(&store, &sku, price).await;
        items.push((sku, price, item));
        token = listed.token;
    }
    let list = |order: ItemOrder, page_size: i32, page_token: String| {
        let (store_id, consistency) = (store.clone(), at_least(&token));
        let order = order.into();
        let request = ListItemsRequest { store_id, order, page_size, page_token, consistency };
        let mut queries = client.stock_queries();
        async move { done(queries.list_items(request).await) }
    };
    for order in [ItemOrder::Unspecified, ItemOrder::Sku, ItemOrder::Price] {
        let mut shown = Vec::new();
        let mut page_token = String::new();
        for expected in [4, 4, 3] {
            let page = list(order, 4, page_token).await;
            assert_eq!(page.items.len(), expected);
            shown.extend(page.items.into_iter().map(|item| item.item_id));
            page_token = page.next_page_token;
        }
        assert_eq!(page_token, "", "the last page");
        match order {
            ItemOrder::Price => items.sort_by_key(|(_, price, id)| (*price, id.clone())),
            ItemOrder::Sku | ItemOrder::Unspecified => items.sort(),
        }
        let expected: Vec<&String> = items.iter().map(|(_, _, id)| id).collect();
        assert_eq!(shown.iter().collect::<Vec<_>>(), expected, "{order:?}");
    }
    // A store that nobody knows has no items.
    let store_id = Uuid::now_v7().to_string();
    let request = ListItemsRequest { store_id, ..Default::default() };
    assert!(done(client.stock_queries().list_items(request).await).items.is_empty());
}

pub async fn a_page_token_belongs_to_its_list(client: Client) {
    let city = format!("City {}", Uuid::new_v4().simple());
    let mut tokens = Vec::new();
    for name in ["One", "Two", "Three"] {
        tokens.push(client.open(name, &city).await.1.token);
    }
    let token = covering(&tokens);
    let list = |city: &str, status: StoreStatus, page_size: i32, page_token: &str| {
        let city = city.to_owned();
        let status = status.into();
        let page_token = page_token.to_owned();
        let consistency = at_least(&token);
        let request = ListStoresRequest { city, status, page_size, page_token, consistency };
        let mut queries = client.store_queries();
        async move { queries.list_stores(request).await }
    };
    use StoreStatus::{Open, Unspecified};
    let next = done(list(&city, Unspecified, 1, "").await).next_page_token;
    // The size may change from page to page, the parameters may not.
    assert_eq!(names(&done(list(&city, Unspecified, 5, &next).await).stores), ["Three", "Two"]);
    refused(list(&city, Open, 1, &next).await, "PAGE_TOKEN_MALFORMED");
    refused(list("", Unspecified, 1, &next).await, "PAGE_TOKEN_MALFORMED");
    refused(list(&city, Unspecified, 1, "AAAA").await, "PAGE_TOKEN_MALFORMED");
    refused(list(&city, Unspecified, 1, &next[1..]).await, "PAGE_TOKEN_MALFORMED");
    let search =
        SearchStoresRequest { query: "One".to_owned(), page_token: next, ..Default::default() };
    refused(client.store_queries().search_stores(search).await, "PAGE_TOKEN_MALFORMED");
    for size in [-1, 501] {
        let status = refused(list(&city, Unspecified, size, "").await, "INVALID_REQUEST");
        assert_eq!(fields(&status), ["page_size"]);
    }
}

/// What was asked for twice comes twice; what does not exist is named.
pub async fn a_batch_keeps_the_order_of_its_ids(client: Client) {
    let (one, first) = (client.shop(1).await, address("batch"));
    let two = client.shop(2).await;
    let (user, registered) = client.register(&first, "Batch").await;
    let tokens = vec![one.token.clone(), two.token.clone(), registered.token];
    let token = covering(&tokens);
    let unknown = Uuid::now_v7().to_string();
    let of = |one: &str, two: &str| [two, &unknown, one, two].map(str::to_owned).to_vec();
    let consistency = || at_least(&token);

    let request =
        BatchGetStoresRequest { store_ids: of(&one.store, &two.store), consistency: consistency() };
    let found = done(client.store_queries().batch_get_stores(request).await);
    let ids: Vec<&String> = found.stores.iter().map(|store| &store.store_id).collect();
    assert_eq!(ids, [&two.store, &one.store, &two.store]);
    assert_eq!(found.missing_ids, std::slice::from_ref(&unknown));

    let request =
        BatchGetItemsRequest { item_ids: of(&one.item, &two.item), consistency: consistency() };
    let found = done(client.stock_queries().batch_get_items(request).await);
    let stock: Vec<i64> = found.items.iter().map(|item| item.on_hand).collect();
    assert_eq!((stock, found.missing_ids), (vec![2, 1, 2], vec![unknown.clone()]));

    let request = BatchGetUsersRequest { user_ids: of(&user, &user), consistency: consistency() };
    let found = done(client.user_queries().batch_get_users(request).await);
    assert_eq!((found.users.len(), found.missing_ids), (3, vec![unknown.clone()]));

    let ids = |count: usize| vec![unknown.clone(); count];
    for (count, is_right) in [(0, false), (1, true), (100, true), (101, false)] {
        let consistency = require(Requirement::Any(true));
        let request = BatchGetUsersRequest { user_ids: ids(count), consistency };
        let result = client.user_queries().batch_get_users(request).await;
        assert_eq!(result.is_ok(), is_right, "{count}");
        if !is_right {
            assert_eq!(fields(&refused(result, "INVALID_REQUEST")), ["user_ids"]);
        }
    }
}
