//! A client of one stack, through its router, and the few calls that most scenarios begin with.

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::users::v1 as users;
use headwater_domain_proto::users::v1::user_command_service_client::UserCommandServiceClient;
use headwater_domain_proto::users::v1::user_query_service_client::UserQueryServiceClient;
use headwater_kernel::{Partition, PartitionKey, Token};
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_proto::headwater::v1::{CommandOptions, Consistency, Receipt};
use headwater_tests::harness::Cluster;
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

pub const TOKEN: &str = "headwater-token";

/// Talks to one address of a stack.
#[derive(Clone)]
pub struct Client {
    pub cluster: &'static Cluster,
    pub channel: Channel,
}

/// A store with one listed item.
pub struct Shop {
    pub store: String,
    pub item: String,
    /// Proof of both.
    pub token: String,
}

impl Client {
    /// Through the router.
    pub fn of(cluster: &'static Cluster) -> Self {
        Self { cluster, channel: cluster.router() }
    }

    pub fn store_commands(&self) -> StoreCommandServiceClient<Channel> {
        StoreCommandServiceClient::new(self.channel.clone())
    }

    pub fn stock_commands(&self) -> StockCommandServiceClient<Channel> {
        StockCommandServiceClient::new(self.channel.clone())
    }

    pub fn user_commands(&self) -> UserCommandServiceClient<Channel> {
        UserCommandServiceClient::new(self.channel.clone())
    }

    pub fn store_queries(&self) -> StoreQueryServiceClient<Channel> {
        StoreQueryServiceClient::new(self.channel.clone())
    }

    pub fn stock_queries(&self) -> StockQueryServiceClient<Channel> {
        StockQueryServiceClient::new(self.channel.clone())
    }

    pub fn user_queries(&self) -> UserQueryServiceClient<Channel> {
        UserQueryServiceClient::new(self.channel.clone())
    }

    // What most scenarios begin with. All of it must succeed.

    /// Opens a store that trades in EUR.
    pub async fn open(&self, name: &str, city: &str) -> (String, Receipt) {
        let name = name.to_owned();
        let city = city.to_owned();
        let currency = "EUR".to_owned();
        let request = stores::OpenStoreRequest { name, city, currency, ..Default::default() };
        let opened = done(self.store_commands().open_store(request).await);
        (opened.store_id, receipt(opened.receipt))
    }

    /// Lists an item; its name is its SKU.
    pub async fn list(&self, store: &str, sku: &str, price: i64) -> (String, Receipt) {
        let request = list_item(store, sku, price);
        let listed = done(self.stock_commands().list_item(request).await);
        (listed.item_id, receipt(listed.receipt))
    }

    pub async fn receive(&self, store: &str, item: &str, quantity: i64) -> Receipt {
        let request = receive_stock(store, item, quantity);
        receipt(done(self.stock_commands().receive_stock(request).await).receipt)
    }

    pub async fn sell(&self, store: &str, item: &str, quantity: i64, amount: i64) -> Receipt {
        let request = record_sale(store, item, quantity, amount);
        receipt(done(self.stock_commands().record_sale(request).await).receipt)
    }

    pub async fn rename_store(&self, store: &str, name: &str) -> Receipt {
        let (store_id, name) = (store.to_owned(), name.to_owned());
        let request = stores::RenameStoreRequest { store_id, name, options: None };
        receipt(done(self.store_commands().rename_store(request).await).receipt)
    }

    pub async fn close(&self, store: &str) -> Receipt {
        let request = stores::CloseStoreRequest { store_id: store.to_owned(), options: None };
        receipt(done(self.store_commands().close_store(request).await).receipt)
    }

    /// A store with an item of price 250 and `stock` units of it.
    pub async fn shop(&self, stock: i64) -> Shop {
        let (store, _) = self.open("Shop", "Bern").await;
        let (item, listed) = self.list(&store, "A-1", 250).await;
        let received = match stock {
            0 => listed,
            stock => self.receive(&store, &item, stock).await,
        };
        Shop { store, item, token: received.token }
    }

    pub async fn register(&self, email: &str, name: &str) -> (String, Receipt) {
        let registered = done(self.user_commands().register_user(register(email, name)).await);
        (registered.user_id, receipt(registered.receipt))
    }

    pub async fn rename_user(&self, user: &str, name: &str) -> Receipt {
        let (user_id, name) = (user.to_owned(), name.to_owned());
        let request = users::RenameUserRequest { user_id, name, options: None };
        receipt(done(self.user_commands().rename_user(request).await).receipt)
    }

    // What most scenarios end with: the state at least as new as a token.

    pub async fn store(&self, store: &str, token: &str) -> stores::Store {
        let (store_id, consistency) = (store.to_owned(), at_least(token));
        let request = stores::GetStoreRequest { store_id, consistency };
        done(self.store_queries().get_store(request).await).store.expect("a store")
    }

    pub async fn item(&self, item: &str, token: &str) -> stores::StockItem {
        let (item_id, consistency) = (item.to_owned(), at_least(token));
        let request = stores::GetItemRequest { item_id, consistency };
        done(self.stock_queries().get_item(request).await).item.expect("an item")
    }

    pub async fn overview(&self, store: &str, token: &str) -> stores::StoreOverview {
        let (store_id, consistency) = (store.to_owned(), at_least(token));
        let request = stores::GetStoreOverviewRequest { store_id, consistency };
        done(self.store_queries().get_store_overview(request).await).overview.expect("one")
    }

    pub async fn report(&self, store: &str, token: &str) -> stores::StoreReport {
        let (store_id, consistency) = (store.to_owned(), at_least(token));
        let request = stores::GetStoreReportRequest { store_id, consistency };
        done(self.store_queries().get_store_report(request).await).report.expect("one")
    }

    pub async fn user(&self, user: &str, token: &str) -> users::User {
        let (user_id, consistency) = (user.to_owned(), at_least(token));
        let request = users::GetUserRequest { user_id, consistency };
        done(self.user_queries().get_user(request).await).user.expect("a user")
    }

    /// Where the log keeps what has this partition key.
    pub fn partition(&self, key: &str) -> Partition {
        let key = PartitionKey(key.parse().expect("an id"));
        key.partition(self.cluster.plan().partitions)
    }

    /// An id that lives in the given partition (modulo their number).
    pub fn id_in(&self, partition: u16) -> String {
        let partition = Partition(partition % self.cluster.plan().partitions);
        let mut ids = std::iter::repeat_with(|| Uuid::now_v7().to_string());
        ids.find(|id| self.partition(id) == partition).expect("ids spread over all partitions")
    }
}

pub fn list_item(store: &str, sku: &str, price: i64) -> stores::ListItemRequest {
    stores::ListItemRequest {
        store_id: store.to_owned(),
        sku: sku.to_owned(),
        name: sku.to_owned(),
        price: eur(price),
        ..Default::default()
    }
}

pub fn receive_stock(store: &str, item: &str, quantity: i64) -> stores::ReceiveStockRequest {
    let (store_id, item_id) = (store.to_owned(), item.to_owned());
    stores::ReceiveStockRequest { store_id, item_id, quantity, options: None }
}

pub fn record_sale(
    store: &str,
    item: &str,
    quantity: i64,
    amount: i64,
) -> stores::RecordSaleRequest {
    stores::RecordSaleRequest {
        store_id: store.to_owned(),
        item_id: item.to_owned(),
        quantity,
        amount: eur(amount),
        ..Default::default()
    }
}

pub fn register(email: &str, name: &str) -> users::RegisterUserRequest {
    let (email, name) = (email.to_owned(), name.to_owned());
    users::RegisterUserRequest { email, name, ..Default::default() }
}

pub fn eur(minor_units: i64) -> Option<stores::Money> {
    Some(stores::Money { currency: "EUR".to_owned(), minor_units })
}

/// An e-mail address that no other scenario uses.
pub fn address(name: &str) -> String {
    format!("{name}.{}@example.org", Uuid::new_v4().simple())
}

pub fn at_least(token: &str) -> Option<Consistency> {
    require(Requirement::AtLeast(token.to_owned()))
}

pub fn require(requirement: Requirement) -> Option<Consistency> {
    Some(Consistency { requirement: Some(requirement), ..Default::default() })
}

pub fn key(key: &str) -> Option<CommandOptions> {
    Some(CommandOptions { idempotency_key: key.to_owned(), ..Default::default() })
}

pub fn expecting(version: u64) -> Option<CommandOptions> {
    Some(CommandOptions { expected_version: Some(version), ..Default::default() })
}

pub fn after(token: &str) -> Option<CommandOptions> {
    Some(CommandOptions { token: token.to_owned(), ..Default::default() })
}

pub fn decoded(token: &str) -> Token {
    Token::decode(token).expect("a token")
}

/// A token that covers what all of these do.
pub fn covering(tokens: &[String]) -> String {
    let mut all = decoded(tokens.first().expect("at least one"));
    tokens.iter().for_each(|token| all.merge(&decoded(token)).expect("of one log"));
    all.encode()
}

#[track_caller]
pub fn done<T>(result: Result<Response<T>, Status>) -> T {
    match result {
        Ok(response) => response.into_inner(),
        Err(status) => panic!("refused: {status:?}"),
    }
}

#[track_caller]
pub fn receipt(receipt: Option<Receipt>) -> Receipt {
    let receipt = receipt.expect("a command is answered with a receipt");
    assert!(receipt.recorded_time.is_some() && !receipt.token.is_empty(), "{receipt:?}");
    receipt
}
