//! Stores with items that never run out: what the load sells.

use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::{ListItemRequest, OpenStoreRequest, ReceiveStockRequest};
use headwater_proto::headwater::v1::CommandOptions;
use tonic::transport::Channel;

use super::talk::{CURRENCY, money};

const STORES: usize = 4;
const ITEMS_PER_STORE: usize = 4;
const STOCK: i64 = 1_000_000_000;

/// A product in a store.
#[derive(Clone, Debug)]
pub struct Item {
    pub store_id: String,
    pub item_id: String,
}

pub struct Shop {
    pub stores: Vec<String>,
    pub items: Vec<Item>,
    /// Proof of all of it.
    pub token: String,
}

impl Shop {
    pub async fn open(channel: Channel) -> Shop {
        let mut shop = Shop { stores: Vec::new(), items: Vec::new(), token: String::new() };
        for number in 0..STORES {
            let request = OpenStoreRequest {
                name: format!("Store {number}"),
                city: "Bergen".to_owned(),
                currency: CURRENCY.to_owned(),
                ..OpenStoreRequest::default()
            };
            let mut stores = StoreCommandServiceClient::new(channel.clone());
            let opened = stores.open_store(request).await.expect("opened").into_inner();
            shop.stores.push(opened.store_id.clone());
            for sku in 0..ITEMS_PER_STORE {
                shop.stock(channel.clone(), &opened.store_id, sku).await;
            }
        }
        shop
    }

    async fn stock(&mut self, channel: Channel, store_id: &str, sku: usize) {
        let mut stock = StockCommandServiceClient::new(channel);
        let request = ListItemRequest {
            store_id: store_id.to_owned(),
            sku: sku.to_string(),
            name: format!("Product {sku}"),
            price: money(100),
            ..ListItemRequest::default()
        };
        let item_id = stock.list_item(request).await.expect("listed").into_inner().item_id;
        let request = ReceiveStockRequest {
            store_id: store_id.to_owned(),
            item_id: item_id.clone(),
            quantity: STOCK,
            options: Some(CommandOptions { token: self.token.clone(), ..Default::default() }),
        };
        let received = stock.receive_stock(request).await.expect("received").into_inner();
        self.token = received.receipt.expect("a receipt").token;
        self.items.push(Item { store_id: store_id.to_owned(), item_id });
    }
}
