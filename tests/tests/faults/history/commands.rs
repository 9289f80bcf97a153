//! Commands on the wire.

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::stores::v1::Money;
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::users::v1 as users;
use headwater_domain_proto::users::v1::user_command_service_client::UserCommandServiceClient;
use headwater_proto::headwater::v1::{CommandOptions, Receipt};
use headwater_tests::history::log::Change;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

use super::session::within;
use super::shop::{CURRENCY, Order};

/// Sends a command once.
pub async fn send(
    channel: &Channel,
    order: &Order,
    options: CommandOptions,
    patience: Duration,
) -> Result<Receipt, Status> {
    let receipt = match &order.change {
        Change::UserRegistered { .. } | Change::UserRenamed(_) => {
            user(channel, order, options, patience).await?
        }
        Change::StoreOpened { .. } | Change::StoreRenamed(_) | Change::ManagerAssigned(_) => {
            store(channel, order, options, patience).await?
        }
        _ => item(channel, order, options, patience).await?,
    };
    Ok(receipt.expect("a receipt"))
}

async fn user(
    channel: &Channel,
    order: &Order,
    options: CommandOptions,
    patience: Duration,
) -> Result<Option<Receipt>, Status> {
    let mut client = UserCommandServiceClient::new(channel.clone());
    let (user_id, options) = (order.stream.to_string(), Some(options));
    match order.change.clone() {
        Change::UserRegistered { email, name } => {
            let request = users::RegisterUserRequest { user_id, email, name, options };
            let reply = client.register_user(within(patience, request)).await?;
            Ok(reply.into_inner().receipt)
        }
        Change::UserRenamed(name) => {
            let request = users::RenameUserRequest { user_id, name, options };
            Ok(client.rename_user(within(patience, request)).await?.into_inner().receipt)
        }
        other => panic!("no command on users makes {other:?}"),
    }
}

async fn store(
    channel: &Channel,
    order: &Order,
    options: CommandOptions,
    patience: Duration,
) -> Result<Option<Receipt>, Status> {
    let mut client = StoreCommandServiceClient::new(channel.clone());
    let (store_id, options) = (order.stream.to_string(), Some(options));
    match order.change.clone() {
        Change::StoreOpened { name, city, currency } => {
            let request = stores::OpenStoreRequest { store_id, name, city, currency, options };
            Ok(client.open_store(within(patience, request)).await?.into_inner().receipt)
        }
        Change::StoreRenamed(name) => {
            let request = stores::RenameStoreRequest { store_id, name, options };
            Ok(client.rename_store(within(patience, request)).await?.into_inner().receipt)
        }
        Change::ManagerAssigned(user) => {
            let user_id = user.to_string();
            let request = stores::AssignManagerRequest { store_id, user_id, options };
            Ok(client.assign_manager(within(patience, request)).await?.into_inner().receipt)
        }
        other => panic!("no command on stores makes {other:?}"),
    }
}

async fn item(
    channel: &Channel,
    order: &Order,
    options: CommandOptions,
    patience: Duration,
) -> Result<Option<Receipt>, Status> {
    let mut client = StockCommandServiceClient::new(channel.clone());
    let (store_id, item_id) = (order.store.to_string(), order.stream.to_string());
    let options = Some(options);
    match order.change.clone() {
        Change::ItemListed { sku, name, price, .. } => {
            let price = money(price);
            let request = stores::ListItemRequest { store_id, item_id, sku, name, price, options };
            Ok(client.list_item(within(patience, request)).await?.into_inner().receipt)
        }
        Change::ItemRepriced(price) => {
            let price = money(price);
            let request = stores::RepriceItemRequest { store_id, item_id, price, options };
            Ok(client.reprice_item(within(patience, request)).await?.into_inner().receipt)
        }
        Change::StockReceived(quantity) => {
            let request = stores::ReceiveStockRequest { store_id, item_id, quantity, options };
            Ok(client.receive_stock(within(patience, request)).await?.into_inner().receipt)
        }
        Change::SaleRecorded { quantity, amount } => {
            let (amount, sold_time) = (money(amount), None);
            let request = stores::RecordSaleRequest {
                store_id,
                item_id,
                quantity,
                amount,
                sold_time,
                options,
            };
            Ok(client.record_sale(within(patience, request)).await?.into_inner().receipt)
        }
        Change::TransferredOut { quantity, to } => {
            let (from_item_id, to_item_id) = (item_id, to.to_string());
            let request = stores::TransferStockRequest {
                store_id,
                from_item_id,
                to_item_id,
                quantity,
                options,
            };
            Ok(client.transfer_stock(within(patience, request)).await?.into_inner().receipt)
        }
        Change::ItemDelisted => {
            let request = stores::DelistItemRequest { store_id, item_id, options };
            Ok(client.delist_item(within(patience, request)).await?.into_inner().receipt)
        }
        other => panic!("no command on items makes {other:?}"),
    }
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency: CURRENCY.to_owned(), minor_units })
}
