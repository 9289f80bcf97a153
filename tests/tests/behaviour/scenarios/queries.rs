//! Every query of the contract behind one face, for what holds of all of them.

use std::pin::Pin;

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::users::v1 as users;
use headwater_proto::headwater::v1::{Consistency, Freshness, Receipt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use uuid::Uuid;

use super::client::{Client, address, covering, done, eur, receipt};

/// How fresh an answer must be, by field or by metadata.
#[derive(Clone, Default)]
pub struct Ask {
    pub field: Option<Consistency>,
    pub metadata: MetadataMap,
}

/// What every query answers.
#[derive(Debug)]
pub struct Answer {
    pub freshness: Freshness,
    pub metadata: MetadataMap,
    /// All of it, to look for what must be in it.
    pub text: String,
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, Status>> + Send + 'a>>;

/// A query on a subject.
pub struct Query {
    pub name: &'static str,
    /// What it shows.
    pub shows: Shows,
    pub ask: for<'a> fn(&'a Client, &'a Subject, Ask) -> Asking<'a>,
}

/// The aggregate that a query shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Store,
    Item,
    User,
}

/// A store with an item and a user, known by a mark that every write to them changes.
pub struct Subject {
    pub store: String,
    pub item: String,
    pub user: String,
    pub email: String,
    pub city: String,
}

macro_rules! queries {
    ($($name:literal: $shows:ident =
        $client:ident.$method:ident($subject:ident => $request:expr);)*) => {
        /// All of them; a test compares the names with the contract.
        pub const QUERIES: &[Query] = &[$(Query {
            name: $name,
            shows: Shows::$shows,
            ask: |client, $subject, ask| Box::pin(async move {
                let mut message = $request;
                message.consistency = ask.field;
                let mut request = Request::new(message);
                *request.metadata_mut() = ask.metadata;
                let response = client.$client().$method(request).await?;
                let (metadata, message, _) = response.into_parts();
                let text = format!("{message:?}");
                let freshness = message.freshness.expect("every reply is dated");
                Ok(Answer { freshness, metadata, text })
            }),
        }),*];
    };
}

queries! {
    "stores.v1.StoreQueryService/GetStore": Store = store_queries.get_store(s =>
        stores::GetStoreRequest { store_id: s.store.clone(), ..Default::default() });
    "stores.v1.StoreQueryService/BatchGetStores": Store = store_queries.batch_get_stores(s =>
        stores::BatchGetStoresRequest { store_ids: vec![s.store.clone()], ..Default::default() });
    "stores.v1.StoreQueryService/ListStores": Store = store_queries.list_stores(s =>
        stores::ListStoresRequest { city: s.city.clone(), ..Default::default() });
    "stores.v1.StoreQueryService/SearchStores": Store = store_queries.search_stores(s =>
        stores::SearchStoresRequest { query: s.city.clone(), ..Default::default() });
    "stores.v1.StoreQueryService/GetStoreOverview": Store = store_queries.get_store_overview(s =>
        stores::GetStoreOverviewRequest { store_id: s.store.clone(), ..Default::default() });
    "stores.v1.StoreQueryService/GetStoreReport": Store = store_queries.get_store_report(s =>
        stores::GetStoreReportRequest { store_id: s.store.clone(), ..Default::default() });
    // The subject's revenue is the largest there can be, so that it is on the first page.
    "stores.v1.StoreQueryService/ListStoreOverviews": Store =
        store_queries.list_store_overviews(_s =>
            stores::ListStoreOverviewsRequest { page_size: 50, ..Default::default() });
    "stores.v1.StockQueryService/GetItem": Item = stock_queries.get_item(s =>
        stores::GetItemRequest { item_id: s.item.clone(), ..Default::default() });
    "stores.v1.StockQueryService/GetItemBySku": Item = stock_queries.get_item_by_sku(s => {
        let (store_id, sku) = (s.store.clone(), "A-1".to_owned());
        stores::GetItemBySkuRequest { store_id, sku, ..Default::default() }
    });
    "stores.v1.StockQueryService/BatchGetItems": Item = stock_queries.batch_get_items(s =>
        stores::BatchGetItemsRequest { item_ids: vec![s.item.clone()], ..Default::default() });
    "stores.v1.StockQueryService/ListItems": Item = stock_queries.list_items(s =>
        stores::ListItemsRequest { store_id: s.store.clone(), ..Default::default() });
    "users.v1.UserQueryService/GetUser": User = user_queries.get_user(s =>
        users::GetUserRequest { user_id: s.user.clone(), ..Default::default() });
    "users.v1.UserQueryService/GetUserByEmail": User = user_queries.get_user_by_email(s =>
        users::GetUserByEmailRequest { email: s.email.clone(), ..Default::default() });
    "users.v1.UserQueryService/BatchGetUsers": User = user_queries.batch_get_users(s =>
        users::BatchGetUsersRequest { user_ids: vec![s.user.clone()], ..Default::default() });
}

impl Subject {
    /// Makes one, and gives a token that covers all of it.
    pub async fn make(client: &Client) -> (Self, String) {
        let city = format!("q{}", Uuid::new_v4().simple());
        let (store, _) = client.open(&city, &city).await;
        let (item, _) = client.list(&store, "A-1", 250).await;
        client.receive(&store, &item, 1).await;
        let sold = client.sell(&store, &item, 1, 1_000_000_000_000).await;
        let email = address("subject");
        let (user, registered) = client.register(&email, "Subject").await;
        (Self { store, item, user, email, city }, covering(&[sold.token, registered.token]))
    }

    /// Writes to what a query shows; the text that the query must show from then on comes back with
    /// the receipt.
    pub async fn write(&self, client: &Client, shows: Shows, number: u32) -> (String, Receipt) {
        let mark = format!("mark{number:04}");
        match shows {
            // The city stays in the name, by which it is searched.
            Shows::Store => {
                let name = format!("{} {mark}", self.city);
                let receipt = client.rename_store(&self.store, &name).await;
                (mark, receipt)
            }
            Shows::Item => {
                let price = 1_000_000 + i64::from(number);
                let (store_id, item_id) = (self.store.clone(), self.item.clone());
                let price_request = stores::RepriceItemRequest {
                    store_id,
                    item_id,
                    price: eur(price),
                    options: None,
                };
                let repriced = done(client.stock_commands().reprice_item(price_request).await);
                (price.to_string(), receipt(repriced.receipt))
            }
            Shows::User => {
                let receipt = client.rename_user(&self.user, &mark).await;
                (mark, receipt)
            }
        }
    }
}
