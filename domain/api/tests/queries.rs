//! Every query of the domain, on real Postgres.
#![allow(clippy::unwrap_used)]

mod common;

use common::postgres::Postgres;
use common::service::{Service, at_least, detail, fields, get, metadata, reason};
use common::{Projector, id, store, token};
use headwater_domain_proto::stores::v1::{
    BatchGetItemsRequest, BatchGetStoresRequest, GetItemBySkuRequest, GetItemRequest,
    GetStoreOverviewRequest, GetStoreReportRequest, ItemOrder, ListItemsRequest,
    ListStoreOverviewsRequest, ListStoresRequest, Money, SearchStoresRequest, StoreStatus,
};
use headwater_domain_proto::users::v1::{
    BatchGetUsersRequest, GetUserByEmailRequest, GetUserRequest, UserStatus,
};
use headwater_edge::{ETag, History};
use headwater_kernel::{Epoch, LogId, Position, Token};
use headwater_proto::headwater::v1::NodeRole;
use tonic::{Code, Request};
use uuid::Uuid;

const WAIT_MS: u64 = 300;

async fn start() -> (Postgres, Projector, Service) {
    let primary = Postgres::init();
    let projector = Projector::start(&primary).await;
    let service = Service::ready(&[primary.url("query")], WAIT_MS).await;
    (primary, projector, service)
}

fn chf(minor_units: i64) -> Option<Money> {
    Some(Money { currency: "CHF".to_owned(), minor_units })
}

/// The ETag of an aggregate at this version.
fn tag_of(id: Uuid, version: u64) -> String {
    let history = History::of(id, common::LOG, common::EPOCH);
    ETag::of_version(version, 0, history).to_string()
}

fn item(n: u128, store: Uuid, sku: &str, price: i64, listed: bool) -> String {
    format!(
        "INSERT INTO headwater_read.item_v1 VALUES ('{}', '{store}', '{sku}', 'Item {sku}', \
         'CHF', {price}, 7, 3, {}, {listed}, 4)",
        id(n),
        3 * price
    )
}

#[tokio::test]
async fn stores() {
    let (_primary, mut projector, service) = start().await;
    projector.apply(&store(id(1), "Lakeside", "Bern", "open")).await;
    let written = projector.apply(&store(id(1), "Lakeside 2", "Bern", "open")).await;

    let request = Request::new(get(id(1), at_least(&written)));
    let response = service.get_store(request).await.unwrap();
    assert_eq!(metadata(&response, "etag"), tag_of(id(1), 2));
    assert_eq!(metadata(&response, "headwater-token"), written);
    let message = response.into_inner();
    let (store, freshness) = (message.store.unwrap(), message.freshness.unwrap());
    assert_eq!(store.store_id, id(1).to_string());
    assert_eq!((store.name.as_str(), store.city.as_str()), ("Lakeside 2", "Bern"));
    assert_eq!((store.currency.as_str(), store.manager_id.as_str()), ("CHF", ""));
    assert_eq!((store.status(), store.version), (StoreStatus::Open, 2));
    assert_eq!(store.opened_time.unwrap().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(freshness.token, written);
    assert_eq!(freshness.node_role(), NodeRole::Primary);
    assert!(freshness.staleness.unwrap().seconds < 60);

    let ids = [9, 1, 8, 9, 9].map(|n| id(n).to_string()).to_vec();
    let request = BatchGetStoresRequest { store_ids: ids, consistency: at_least(&written) };
    let batch = service.stores().batch_get_stores(request).await.unwrap();
    assert_eq!(metadata(&batch, "headwater-token"), written);
    let batch = batch.into_inner();
    assert_eq!(batch.stores.iter().map(|s| &s.name).collect::<Vec<_>>(), ["Lakeside 2"]);
    assert_eq!(batch.missing_ids, [id(9).to_string(), id(8).to_string()]);
    assert_eq!(batch.freshness.unwrap().token, written);
}

#[tokio::test]
async fn a_miss_is_dated_too() {
    let (_primary, mut projector, service) = start().await;
    let written = projector.open(id(1), "Lakeside").await;
    let status = service.get(id(2), at_least(&written)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    let shown = status.metadata().get("headwater-token").unwrap();
    assert_eq!(shown.to_str().unwrap(), written);
}

/// Follows a list from its first page to its last; gives what is on each page.
macro_rules! pages {
    ($client:expr, $method:ident, $request:expr, $rows:ident, $name:ident) => {{
        let mut pages: Vec<Vec<String>> = Vec::new();
        let mut request = $request;
        loop {
            let page = $client.$method(request.clone()).await.unwrap().into_inner();
            assert!(!page.freshness.unwrap().token.is_empty());
            pages.push(page.$rows.into_iter().map(|row| row.$name).collect());
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break pages;
            }
        }
    }};
}

#[tokio::test]
async fn lists_of_stores_are_filtered_ordered_and_paged() {
    let (_primary, mut projector, service) = start().await;
    // Two of one name in different cities; the id breaks the tie.
    let all = [
        (1, "Delta", "Bern", "open"),
        (2, "Alpha", "Bern", "closed"),
        (3, "Beta", "Chur", "open"),
        (4, "Beta", "Bern", "open"),
        (5, "Gamma", "Chur", "closed"),
    ];
    for (n, name, city, status) in all {
        projector.apply(&store(id(n), name, city, status)).await;
    }
    let list = |city: &str, status: StoreStatus, page_size| ListStoresRequest {
        city: city.to_owned(),
        status: status.into(),
        page_size,
        page_token: String::new(),
        consistency: at_least(&token(5)),
    };
    let mut client = service.stores();
    use StoreStatus::{Closed, Open, Unspecified as Every};
    let table: [(&str, StoreStatus, i32, &[&[&str]]); 7] = [
        ("", Every, 0, &[&["Alpha", "Beta", "Beta", "Delta", "Gamma"]]),
        ("", Every, 2, &[&["Alpha", "Beta"], &["Beta", "Delta"], &["Gamma"]]),
        ("", Every, 5, &[&["Alpha", "Beta", "Beta", "Delta", "Gamma"]]),
        ("", Open, 2, &[&["Beta", "Beta"], &["Delta"]]),
        ("Bern", Every, 1, &[&["Alpha"], &["Beta"], &["Delta"]]),
        ("Chur", Closed, 1, &[&["Gamma"]]),
        ("Genf", Every, 1, &[&[]]),
    ];
    for (city, status, size, expected) in table {
        let pages = pages!(client, list_stores, list(city, status, size), stores, name);
        assert_eq!(pages, expected, "{city} {status:?} {size}");
    }
    let pages = pages!(client, list_stores, list("", Open, 1), stores, store_id);
    assert_eq!(pages.concat(), [3, 4, 1].map(|n| id(n).to_string()));

    // A page token goes on with its own list only; another page size is no other list.
    let first = client.list_stores(list("Bern", Every, 1)).await.unwrap().into_inner();
    let mut other = list("Chur", Every, 1);
    other.page_token = first.next_page_token.clone();
    let status = client.list_stores(other).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "PAGE_TOKEN_MALFORMED")
    );
    let mut same = list("Bern", Every, 9);
    same.page_token = first.next_page_token;
    let rest = client.list_stores(same).await.unwrap().into_inner();
    assert_eq!(rest.stores.len(), 2);
}

#[tokio::test]
async fn stores_are_found_by_words() {
    let (_primary, mut projector, service) = start().await;
    let names =
        ["Lakeside Market", "Lake Shop", "Market Hall", "O'Neil's", "St.Gallen Nord", "7-Up"];
    for (n, name) in names.iter().enumerate() {
        projector.open(id(n as u128 + 1), name).await;
    }
    let mut client = service.stores();
    let search = |query: &str, page_size| SearchStoresRequest {
        query: query.to_owned(),
        page_size,
        page_token: String::new(),
        consistency: at_least(&token(6)),
    };
    let table: [(&str, &[&str]); 10] = [
        ("lake", &["Lake Shop", "Lakeside Market"]),
        ("LAKE", &["Lake Shop", "Lakeside Market"]),
        ("lake mar", &["Lakeside Market"]),
        ("mar lake", &["Lakeside Market"]),
        ("side", &[]),
        ("o'neil", &["O'Neil's"]),
        ("st.gallen", &["St.Gallen Nord"]),
        ("nord & !lake", &[]),
        ("7-up", &["7-Up"]),
        ("' \\ lake", &["Lake Shop", "Lakeside Market"]),
    ];
    for (query, expected) in table {
        let found = pages!(client, search_stores, search(query, 1), stores, name).concat();
        assert_eq!(found, expected, "{query:?}");
    }
    for query in ["", "  ", "&|!", &"x".repeat(101)] {
        let status = client.search_stores(search(query, 1)).await.unwrap_err();
        assert_eq!(fields(&status), ["query"], "{query:?}");
    }
}

#[tokio::test]
async fn items() {
    let (_primary, mut projector, service) = start().await;
    let store = id(100);
    let rows = [
        item(1, store, "C", 300, true),
        item(2, store, "A", 500, true),
        item(3, store, "B", 300, true),
        item(4, store, "D", 100, false),
        item(5, id(101), "A", 900, true),
    ];
    let written = projector.apply(&rows.join("; ")).await;
    let consistency = at_least(&written);
    let mut client = service.stock();

    let request = GetItemRequest { item_id: id(2).to_string(), consistency: consistency.clone() };
    let response = client.get_item(request).await.unwrap();
    assert_eq!(metadata(&response, "etag"), tag_of(id(2), 4));
    let found = response.into_inner().item.unwrap();
    assert_eq!((found.sku.as_str(), found.name.as_str()), ("A", "Item A"));
    assert_eq!((found.price, found.revenue), (chf(500), chf(1500)));
    assert_eq!((found.on_hand, found.units_sold, found.listed, found.version), (7, 3, true, 4));
    assert_eq!(found.store_id, store.to_string());

    let by_sku = |store: Uuid, sku: &str| GetItemBySkuRequest {
        store_id: store.to_string(),
        sku: sku.to_owned(),
        consistency: consistency.clone(),
    };
    let found = client.get_item_by_sku(by_sku(id(101), "A")).await.unwrap().into_inner();
    assert_eq!(found.item.unwrap().item_id, id(5).to_string());
    let delisted = client.get_item_by_sku(by_sku(store, "D")).await.unwrap_err();
    assert_eq!(delisted.code(), Code::NotFound);

    let list = |order: ItemOrder| ListItemsRequest {
        store_id: store.to_string(),
        order: order.into(),
        page_size: 2,
        page_token: String::new(),
        consistency: consistency.clone(),
    };
    let pages = pages!(client, list_items, list(ItemOrder::Unspecified), items, sku);
    assert_eq!(pages, [vec!["A", "B"], vec!["C"]]);
    let pages = pages!(client, list_items, list(ItemOrder::Price), items, sku);
    assert_eq!(pages, [vec!["C", "B"], vec!["A"]]);
    let first = client.list_items(list(ItemOrder::Sku)).await.unwrap().into_inner();
    let mut other = list(ItemOrder::Price);
    other.page_token = first.next_page_token;
    let status = client.list_items(other).await.unwrap_err();
    assert_eq!(reason(&status), "PAGE_TOKEN_MALFORMED");

    let item_ids = [4, 9, 1].map(|n| id(n).to_string()).to_vec();
    let request = BatchGetItemsRequest { item_ids, consistency };
    let batch = client.batch_get_items(request).await.unwrap().into_inner();
    assert_eq!(batch.items.iter().map(|i| i.sku.as_str()).collect::<Vec<_>>(), ["D", "C"]);
    assert_eq!(batch.missing_ids, [id(9).to_string()]);
}

#[tokio::test]
async fn overviews() {
    let (_primary, mut projector, service) = start().await;
    let overview = |n: u128, revenue: i64, manager: &str| {
        let id = id(n);
        format!(
            "INSERT INTO headwater_read.store_overview_v1 VALUES ('{id}', 'Store {n}', 'Bern', \
             'CHF', 'closed', {manager}, 2, 30, 4000, 5, {revenue})"
        )
    };
    let manager = format!("'{}', 'Ann'", id(50));
    let rows = [
        overview(1, 10, "NULL, NULL"),
        overview(2, 90, &manager),
        overview(3, 10, &manager),
        overview(4, i64::MAX, "NULL, NULL"),
        overview(5, -5, "NULL, NULL"),
    ];
    let written = projector.apply(&rows.join("; ")).await;
    let mut client = service.stores();

    let (store_id, consistency) = (id(2).to_string(), at_least(&written));
    let request = GetStoreOverviewRequest { store_id, consistency: consistency.clone() };
    let found = client.get_store_overview(request).await.unwrap().into_inner();
    let found = found.overview.unwrap();
    assert_eq!((found.name.as_str(), found.city.as_str()), ("Store 2", "Bern"));
    assert_eq!(found.status(), StoreStatus::Closed);
    assert_eq!((found.manager_id, found.manager_name.as_str()), (id(50).to_string(), "Ann"));
    assert_eq!((found.items, found.units_in_stock, found.units_sold), (2, 30, 5));
    assert_eq!((found.stock_value, found.revenue), (chf(4000), chf(90)));

    let list = ListStoreOverviewsRequest { page_size: 2, page_token: String::new(), consistency };
    let pages = pages!(client, list_store_overviews, list, overviews, name);
    assert_eq!(pages, [vec!["Store 4", "Store 2"], vec!["Store 1", "Store 3"], vec!["Store 5"]]);
}

/// Three stores, of which the first has a manager and many items.
fn reported() -> String {
    let overview = |n: u128, manager: &str| {
        format!(
            "INSERT INTO headwater_read.store_overview_v1 VALUES ('{}', 'Store {n}', 'Bern', \
             'CHF', 'open', {manager}, 2, 30, 4000, 5, 70)",
            id(n)
        )
    };
    let sold = |n: u128, units: i64, listed: bool| {
        let row = item(n, id(1), &format!("{n:03}"), 10, listed);
        let units = format!("UPDATE headwater_read.item_v1 SET units_sold = {units}");
        format!("{row}; {units} WHERE item_id = '{}'", id(n))
    };
    let mut rows = vec![
        overview(1, &format!("'{}', 'Ann'", id(50))),
        overview(2, "NULL, NULL"),
        overview(3, &format!("'{}', NULL", id(51))),
        item(99, id(2), "other", 10, true),
        format!(
            "INSERT INTO headwater_read.user_v1 VALUES ('{}', 'ann@x.example', 'Ann', 'active', \
             '2026-01-01', 3)",
            id(50)
        ),
    ];
    // Two of the same sales, one that is delisted, one that was never sold, and one too many.
    let sales = [(60, 7, true), (61, 9, false), (62, 7, true), (63, 0, true)];
    rows.extend(sales.map(|(n, units, listed)| sold(n, units, listed)));
    rows.extend((70..78).map(|n| sold(n, 80 - n as i64, true)));
    rows.join("; ")
}

#[tokio::test]
async fn reports() {
    let (_primary, mut projector, service) = start().await;
    let written = projector.apply(&reported()).await;
    let client = service.stores();
    let report = async |n: u128| {
        let (store_id, consistency) = (id(n).to_string(), at_least(&written));
        let request = GetStoreReportRequest { store_id, consistency };
        client.clone().get_store_report(request).await
    };
    let response = report(1).await.unwrap();
    assert_eq!(metadata(&response, "headwater-token"), written);
    let message = response.into_inner();
    assert_eq!(message.freshness.unwrap().token, written);
    let found = message.report.unwrap();
    assert_eq!(found.overview.unwrap().name, "Store 1");
    let manager = found.manager.unwrap();
    assert_eq!(manager.user_id, id(50).to_string());
    assert_eq!((manager.name.as_str(), manager.email.as_str()), ("Ann", "ann@x.example"));
    let skus: Vec<_> =
        found.best_sellers.iter().map(|item| (&*item.sku, item.units_sold)).collect();
    let expected = [
        ("070", 10),
        ("061", 9),
        ("071", 9),
        ("072", 8),
        ("060", 7),
        ("062", 7),
        ("073", 7),
        ("074", 6),
        ("075", 5),
        ("076", 4),
    ];
    assert_eq!(skus, expected);

    let other = report(2).await.unwrap().into_inner().report.unwrap();
    assert_eq!((other.best_sellers.len(), other.manager), (1, None));
    let unknown = report(3).await.unwrap().into_inner().report.unwrap();
    assert_eq!((unknown.best_sellers.len(), unknown.manager), (0, None));
    let status = report(4).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    let shown = status.metadata().get("headwater-token").unwrap();
    assert_eq!(shown.to_str().unwrap(), written);
}

/// A report is tagged by its content, and as fresh as asked, like any other query's answer.
#[tokio::test]
async fn a_report_is_an_answer_like_any_other() {
    let (_primary, mut projector, service) = start().await;
    let written = projector.apply(&reported()).await;
    let request = |token: &str| {
        let (store_id, consistency) = (id(1).to_string(), at_least(token));
        Request::new(GetStoreReportRequest { store_id, consistency })
    };
    let mut client = service.stores();
    let response = client.get_store_report(request(&written)).await.unwrap();
    let mut again = request(&written);
    again.metadata_mut().insert("if-none-match", metadata(&response, "etag").parse().unwrap());
    let again = client.get_store_report(again).await.unwrap().into_inner();
    assert!(again.report.is_none() && again.freshness.unwrap().not_modified);
    let status = client.get_store_report(request(&token(9))).await.unwrap_err();
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    assert_eq!(detail(&status, "best_token"), written);
}

#[tokio::test]
async fn users() {
    let (_primary, mut projector, service) = start().await;
    let user = |n: u128, email: &str, status: &str, day: u8| {
        format!(
            "INSERT INTO headwater_read.user_v1 VALUES ('{}', '{email}', 'User {n}', '{status}', \
             '2026-01-{day:02}', 3)",
            id(n)
        )
    };
    // The address of user 1 has gone to user 2, which the view shows before it shows that user 1
    // gave it up.
    let rows = [
        user(1, "a@x.example", "active", 1),
        user(2, "a@x.example", "active", 2),
        user(3, "b@x.example", "deactivated", 3),
    ];
    let written = projector.apply(&rows.join("; ")).await;
    let mut client = service.users();

    let by_email = |email: &str| GetUserByEmailRequest {
        email: email.to_owned(),
        consistency: at_least(&written),
    };
    let response = client.get_user_by_email(by_email("A@x.Example")).await.unwrap();
    assert_eq!(metadata(&response, "etag"), tag_of(id(2), 3));
    assert_eq!(response.into_inner().user.unwrap().user_id, id(2).to_string());
    let status = client.get_user_by_email(by_email("c@x.example")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);

    let request = GetUserRequest { user_id: id(3).to_string(), consistency: at_least(&written) };
    let user = client.get_user(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!((user.email.as_str(), user.name.as_str()), ("b@x.example", "User 3"));
    assert_eq!((user.status(), user.version), (UserStatus::Deactivated, 3));

    let user_ids = [3, 1, 3].map(|n| id(n).to_string()).to_vec();
    let request = BatchGetUsersRequest { user_ids, consistency: at_least(&written) };
    let batch = client.batch_get_users(request).await.unwrap().into_inner();
    let names: Vec<_> = batch.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["User 3", "User 1", "User 3"]);
}

#[tokio::test]
async fn requests_are_checked_field_by_field() {
    let (_primary, _projector, service) = start().await;
    let mut stores = service.stores();
    let list = ListStoresRequest {
        city: "x".repeat(201),
        status: 77,
        page_size: 501,
        page_token: String::new(),
        consistency: common::service::within(std::time::Duration::from_millis(9)),
    };
    let status = stores.list_stores(list).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "INVALID_REQUEST")
    );
    let mut wrong = fields(&status);
    wrong.sort();
    assert_eq!(wrong, ["city", "consistency.max_staleness", "page_size", "status"]);

    let request = BatchGetStoresRequest { store_ids: vec![], consistency: None };
    let status = stores.batch_get_stores(request).await.unwrap_err();
    assert_eq!(fields(&status), ["store_ids"]);
    let store_ids = vec![id(1).to_string(), "nonsense".to_owned()];
    let request = BatchGetStoresRequest { store_ids, consistency: None };
    let status = stores.batch_get_stores(request).await.unwrap_err();
    assert_eq!(fields(&status), ["store_ids[1]"]);

    let request = GetItemBySkuRequest { sku: "s".repeat(65), ..Default::default() };
    let status = service.stock().get_item_by_sku(request).await.unwrap_err();
    assert_eq!(fields(&status), ["store_id", "sku"]);
    let request = ListItemsRequest { store_id: id(1).to_string(), order: 9, ..Default::default() };
    let status = service.stock().list_items(request).await.unwrap_err();
    assert_eq!(fields(&status), ["order"]);
}

#[tokio::test]
async fn consistency_by_field_and_by_metadata() {
    let (_primary, mut projector, service) = start().await;
    let written = projector.open(id(1), "Lakeside").await;
    let foreign = |log: LogId, epoch| Token::of_positions(log, epoch, &[Position(1)]).encode();
    let other_log = foreign(LogId(id(5)), common::EPOCH);
    let restored = foreign(common::LOG, Epoch(common::EPOCH.0 - 1));
    let never_made = foreign(common::LOG, Epoch(common::EPOCH.0 + 1));
    let mut damaged = written.clone();
    damaged.replace_range(6..7, if &damaged[6..7] == "A" { "B" } else { "A" });
    let future = token(99);

    // The field, the token in the metadata, headwater-consistency; and how it ends.
    let table: [(Option<&str>, &str, &str, &str); 18] = [
        (None, "", "", "OK"),
        (Some(&written), "", "", "OK"),
        (None, &written, "", "OK"),
        (Some(&other_log), "", "", "TOKEN_FOREIGN"),
        (None, &other_log, "", "TOKEN_FOREIGN"),
        (Some(&restored), "", "", "TOKEN_LOST"),
        (Some(&damaged), "", "", "TOKEN_MALFORMED"),
        (Some(""), "", "", "TOKEN_MALFORMED"),
        (None, "nonsense", "", "TOKEN_MALFORMED"),
        (Some(&future), "", "", "FRESHNESS_UNAVAILABLE"),
        (None, &future, "", "FRESHNESS_UNAVAILABLE"),
        // The field wins, and so does the word that this call needs no freshness.
        (Some(&written), &future, "", "OK"),
        (None, &future, "any", "OK"),
        (None, "", "soon", "INVALID_REQUEST"),
        // Nobody can be asked for the log's end here, nor whether the log is in a later epoch.
        (None, "", "strong", "LOG_END_UNKNOWN"),
        (None, "", "strong; or_stale", "OK"),
        (Some(&never_made), "", "", "FRESHNESS_UNAVAILABLE"),
        (None, &never_made, "or_stale", "OK"),
    ];
    for (field, metadata, word, expected) in table {
        let mut request = Request::new(get(id(1), field.and_then(at_least)));
        if !metadata.is_empty() {
            request.metadata_mut().insert("headwater-token", metadata.parse().unwrap());
        }
        if !word.is_empty() {
            request.metadata_mut().insert("headwater-consistency", word.parse().unwrap());
        }
        let outcome = match service.get_store(request).await {
            Ok(_) => "OK".to_owned(),
            Err(status) => reason(&status),
        };
        assert_eq!(outcome, expected, "{field:?} {metadata:?} {word:?}");
    }

    let status = service.get(id(1), at_least(&future)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(detail(&status, "best_token"), written);
    assert_eq!(detail(&status, "best_node_role"), "primary");
    let list = ListStoresRequest { consistency: at_least(&future), ..Default::default() };
    let status = service.stores().list_stores(list).await.unwrap_err();
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
}

/// The fork points are in the read database: a token of an earlier epoch counts up to them, also
/// right after the epoch has changed, when this server has not read them yet.
#[tokio::test]
async fn a_token_of_an_earlier_epoch_counts_up_to_the_fork() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    let admin = primary.admin().await;
    let begun =
        "INSERT INTO headwater_read.epoch_start VALUES ('retail', 2, '{0}'), ('retail', 3, '{1}')";
    admin.batch_execute(begun).await.unwrap();
    let service = Service::ready(&[primary.url("query")], WAIT_MS).await;
    let of = |epoch: u32, position: u64| {
        Token::of_positions(common::LOG, Epoch(epoch), &[Position(position)]).encode()
    };
    projector.open(id(1), "Lakeside").await;
    projector.open(id(2), "Hillside").await;
    let check = async |tokens: &[&String], expected: &str| {
        let joined = tokens.iter().map(|token| token.as_str()).collect::<Vec<_>>().join(",");
        let outcome = match service.get(id(1), at_least(&joined)).await {
            Ok(_) => "OK".to_owned(),
            Err(status) => reason(&status),
        };
        assert_eq!(outcome, expected, "{tokens:?}");
    };
    let (kept, lost) = (of(2, 1), of(2, 2));
    let now = of(3, 2);
    check(&[&kept], "OK").await;
    check(&[&kept, &now], "OK").await;
    check(&[&now, &kept, &of(3, 3)], "FRESHNESS_UNAVAILABLE").await;
    check(&[&lost], "TOKEN_LOST").await;
    check(&[&now, &lost], "TOKEN_LOST").await;
    check(&[&of(1, 1)], "TOKEN_LOST").await;

    // The next epoch begins while the server runs; nothing but this request has shown it.
    let next = "BEGIN; INSERT INTO headwater_read.epoch_start VALUES ('retail', 9, '{2}');
                UPDATE headwater_read.checkpoint SET epoch = 9; COMMIT";
    admin.batch_execute(next).await.unwrap();
    check(&[&of(9, 2), &now, &kept], "OK").await;
    check(&[&now], "OK").await;
    check(&[&of(3, 3)], "TOKEN_LOST").await;
}
