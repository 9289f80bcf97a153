//! `stores.v1.StockCommandService`.

use headwater_command_svc::command_service;
use headwater_domain_model::values::QUANTITY_MAX;
use headwater_domain_model::{Item, ItemAction, ItemCommand, Transfer, TransferStock};
use headwater_domain_proto::stores::v1::{
    AdjustStockRequest, AdjustStockResponse, BatchListItemsRequest, BatchListItemsResponse,
    BatchReceiveStockRequest, BatchReceiveStockResponse, BatchRecordSalesRequest,
    BatchRecordSalesResponse, DelistItemRequest, DelistItemResponse, ListItemRequest,
    ListItemResponse, ReceiveStockRequest, ReceiveStockResponse, RecordSaleRequest,
    RecordSaleResponse, RepriceItemRequest, RepriceItemResponse, StreamRecordSalesRequest,
    StreamRecordSalesResponse, TransferStockRequest, TransferStockResponse, stock_command_service,
};
use headwater_edge::{Target, id_or_new, time};
use headwater_kernel::StreamId;
use uuid::Uuid;

use super::fields::{TEXT_LEN_MAX, money, quantity, sku};

command_service! {
    stock_command_service for StockCommands on Item;

    list_item(ListItemRequest) -> ListItemResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = id_or_new(v, "item_id", &r.item_id);
        let sku = sku(v, "sku", &r.sku);
        let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
        let price = money(v, "price", r.price.as_ref());
        let action = ItemAction::List { sku: sku?, name: name?, price: price? };
        of_store(item_id, store_id, action)
    };
    reprice_item(RepriceItemRequest) -> RepriceItemResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = v.uuid("item_id", &r.item_id);
        let price = money(v, "price", r.price.as_ref());
        of_store(item_id, store_id, ItemAction::Reprice(price?))
    };
    receive_stock(ReceiveStockRequest) -> ReceiveStockResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = v.uuid("item_id", &r.item_id);
        let quantity = quantity(v, "quantity", r.quantity);
        of_store(item_id, store_id, ItemAction::Receive(quantity?))
    };
    record_sale(RecordSaleRequest) -> RecordSaleResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = v.uuid("item_id", &r.item_id);
        let quantity = quantity(v, "quantity", r.quantity);
        let amount = money(v, "amount", r.amount.as_ref());
        let sold_at = time(v, "sold_time", r.sold_time);
        let action = ItemAction::RecordSale {
            quantity: quantity?,
            amount: amount?,
            sold_at: sold_at?,
        };
        of_store(item_id, store_id, action)
    };
    adjust_stock(AdjustStockRequest) -> AdjustStockResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = v.uuid("item_id", &r.item_id);
        let delta = v.number("delta", r.delta, -QUANTITY_MAX..=QUANTITY_MAX);
        let some = v.check(r.delta != 0, "delta", "must not be 0");
        let reason = v.text("reason", &r.reason, 1..=TEXT_LEN_MAX);
        let action = some.and(delta).zip(reason);
        let action = action.map(|(delta, reason)| ItemAction::Adjust { delta, reason })?;
        of_store(item_id, store_id, action)
    };
    delist_item(DelistItemRequest) -> DelistItemResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let item_id = v.uuid("item_id", &r.item_id);
        of_store(item_id, store_id, ItemAction::Delist)
    };
    #[across(Transfer)] transfer_stock(TransferStockRequest) -> TransferStockResponse = |r, v| {
        let store_id = v.uuid("store_id", &r.store_id);
        let from = v.uuid("from_item_id", &r.from_item_id);
        let to = v.uuid("to_item_id", &r.to_item_id);
        let other = v.check(from != to, "to_item_id", "must be another item");
        let quantity = quantity(v, "quantity", r.quantity);
        other?;
        let (store_id, from) = (store_id?, from?);
        let (to, quantity) = (StreamId(to?), quantity?);
        let command = TransferStock { store_id, from: StreamId(from), to, quantity };
        Some((Target::beside(from, store_id), command))
    };
    #[batch] batch_list_items(BatchListItemsRequest) -> BatchListItemsResponse;
    #[batch] batch_receive_stock(BatchReceiveStockRequest) -> BatchReceiveStockResponse;
    #[batch] batch_record_sales(BatchRecordSalesRequest) -> BatchRecordSalesResponse;
    #[stream] stream_record_sales(StreamRecordSalesRequest) -> StreamRecordSalesResponse
        as StreamRecordSalesStream;
}

/// An item lives in the partition of its store.
fn of_store(
    item_id: Option<Uuid>,
    store_id: Option<Uuid>,
    action: ItemAction,
) -> Option<(Target, ItemCommand)> {
    let store_id = store_id?;
    Some((Target::beside(item_id?, store_id), ItemCommand { store_id, action }))
}
