//! Stores: opened, renamed, moved, managed, closed for good.

use headwater_domain_proto::stores::v1::{
    AdjustStockRequest, AssignManagerRequest, CloseStoreRequest, OpenStoreRequest,
    RelocateStoreRequest, RemoveManagerRequest, RenameStoreRequest, RepriceItemRequest, Store,
    StoreStatus,
};
use uuid::Uuid;

use super::client::{Client, done, eur, list_item, receipt, receive_stock};
use super::refusal::{reason, refused};

pub async fn a_store_opens_changes_and_closes(client: Client) {
    let (store, opened) = client.open("Lakeside", "Bern").await;
    assert_eq!(store.parse::<Uuid>().expect("a minted id").get_version_num(), 7, "time-ordered");
    let mut expected = Store {
        store_id: store.clone(),
        name: "Lakeside".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        status: StoreStatus::Open.into(),
        manager_id: String::new(),
        version: 1,
        opened_time: opened.recorded_time,
    };
    assert_eq!(client.store(&store, &opened.token).await, expected);

    let renamed = client.rename_store(&store, "Lakeside 2").await;
    (expected.name, expected.version) = ("Lakeside 2".to_owned(), 2);
    assert_eq!((renamed.version, renamed.replayed), (2, false));
    assert_eq!(client.store(&store, &renamed.token).await, expected);

    let mut commands = client.store_commands();
    let (store_id, options) = (store.clone(), None);
    let request = RelocateStoreRequest { store_id, city: "Zürich".to_owned(), options };
    let moved = receipt(done(commands.relocate_store(request).await).receipt);
    (expected.city, expected.version) = ("Zürich".to_owned(), 3);
    assert_eq!(client.store(&store, &moved.token).await, expected);

    // Two managers, one after the other; the second one replaces the first.
    for version in [4, 5] {
        let (store_id, user_id) = (store.clone(), Uuid::now_v7().to_string());
        (expected.manager_id, expected.version) = (user_id.clone(), version);
        let request = AssignManagerRequest { store_id, user_id, options: None };
        let assigned = receipt(done(commands.assign_manager(request).await).receipt);
        assert_eq!(client.store(&store, &assigned.token).await, expected);
    }
    let request = RemoveManagerRequest { store_id: store.clone(), options: None };
    let removed = receipt(done(commands.remove_manager(request).await).receipt);
    (expected.manager_id, expected.version) = (String::new(), 6);
    assert_eq!(client.store(&store, &removed.token).await, expected);

    let closed = client.close(&store).await;
    (expected.status, expected.version) = (StoreStatus::Closed.into(), 7);
    assert_eq!(client.store(&store, &closed.token).await, expected);
    nothing_can_be_done_with_a_closed_store(&client, &store).await;
    assert_eq!(client.store(&store, &closed.token).await, expected);
}

async fn nothing_can_be_done_with_a_closed_store(client: &Client, store: &str) {
    let mut commands = client.store_commands();
    let id = || store.to_owned();
    let name = "Other".to_owned();
    let rename = RenameStoreRequest { store_id: id(), name, options: None };
    refused(commands.rename_store(rename).await, "STORE_CLOSED");
    let relocate = RelocateStoreRequest { store_id: id(), city: "Basel".to_owned(), options: None };
    refused(commands.relocate_store(relocate).await, "STORE_CLOSED");
    let user_id = Uuid::now_v7().to_string();
    let assign = AssignManagerRequest { store_id: id(), user_id, options: None };
    refused(commands.assign_manager(assign).await, "STORE_CLOSED");
    let remove = RemoveManagerRequest { store_id: id(), options: None };
    refused(commands.remove_manager(remove).await, "STORE_CLOSED");
    // Its id is never used again.
    let open = OpenStoreRequest {
        store_id: id(),
        name: "Again".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        options: None,
    };
    refused(commands.open_store(open).await, "STORE_EXISTS");
    let list = list_item(store, "A-1", 100);
    refused(client.stock_commands().list_item(list).await, "STORE_NOT_OPEN");
}

pub async fn a_store_with_stock_stays_open(client: Client) {
    let shop = client.shop(5).await;
    let (second, _) = client.list(&shop.store, "B-1", 100).await;
    client.receive(&shop.store, &second, 1).await;
    let close = || CloseStoreRequest { store_id: shop.store.clone(), options: None };
    let mut commands = client.store_commands();
    refused(commands.close_store(close()).await, "STORE_HAS_STOCK");
    client.sell(&shop.store, &shop.item, 5, 1_250).await;
    refused(commands.close_store(close()).await, "STORE_HAS_STOCK");
    client.sell(&shop.store, &second, 1, 90).await;
    // Stock that comes back keeps it open again.
    client.receive(&shop.store, &shop.item, 1).await;
    refused(commands.close_store(close()).await, "STORE_HAS_STOCK");
    client.sell(&shop.store, &shop.item, 1, 250).await;
    client.close(&shop.store).await;

    let mut stock = client.stock_commands();
    let receive = receive_stock(&shop.store, &shop.item, 1);
    refused(stock.receive_stock(receive).await, "STORE_NOT_OPEN");
    let adjust = AdjustStockRequest {
        store_id: shop.store.clone(),
        item_id: shop.item.clone(),
        delta: 1,
        reason: "found".to_owned(),
        options: None,
    };
    refused(stock.adjust_stock(adjust).await, "STORE_NOT_OPEN");
    // A price is only a number: it may still be put right.
    let reprice = RepriceItemRequest {
        store_id: shop.store.clone(),
        item_id: shop.item.clone(),
        price: eur(1),
        options: None,
    };
    let repriced = receipt(done(stock.reprice_item(reprice).await).receipt);
    let item = client.item(&shop.item, &repriced.token).await;
    assert_eq!((item.on_hand, item.units_sold, item.price), (0, 6, eur(1)));
}

/// The guard of one aggregate on another: both are decided on states that allow them, and the log
/// lets only one of them pass.
pub async fn closing_and_receiving_at_once_leave_no_stock_behind(client: Client) {
    let race = |number: u32| {
        let client = client.clone();
        async move {
            let shop = client.shop(0).await;
            let (mut stores, mut stock) = (client.store_commands(), client.stock_commands());
            let close = CloseStoreRequest { store_id: shop.store.clone(), options: None };
            let receive = receive_stock(&shop.store, &shop.item, 3);
            let close = async { stores.close_store(close).await.map(|_| ()) };
            let receive = async { stock.receive_stock(receive).await.map(|_| ()) };
            // The one that is sent first often wins; each is first in half of the races.
            match number % 2 {
                0 => futures_util::join!(close, receive),
                _ => {
                    let (received, closed) = futures_util::join!(receive, close);
                    (closed, received)
                }
            }
        }
    };
    for (closed, received) in futures_util::future::join_all((0..12).map(race)).await {
        match (closed, received) {
            (Ok(()), Err(status)) => assert_eq!(reason(&status), "STORE_NOT_OPEN"),
            (Err(status), Ok(())) => assert_eq!(reason(&status), "STORE_HAS_STOCK"),
            both => panic!("exactly one passes: {both:?}"),
        }
    }
}
