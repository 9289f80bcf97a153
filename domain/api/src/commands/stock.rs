//! `stores.v1.StockCommandService`.

use headwater_domain_model::values::QUANTITY_MAX;
use headwater_domain_model::{Item, ItemAction, ItemCommand};
use headwater_domain_proto::stores::v1::stock_command_service_server::StockCommandService;
use headwater_domain_proto::stores::v1::{
    AdjustStockRequest, AdjustStockResponse, DelistItemRequest, DelistItemResponse,
    ListItemRequest, ListItemResponse, ReceiveStockRequest, ReceiveStockResponse,
    RecordSaleRequest, RecordSaleResponse, RepriceItemRequest, RepriceItemResponse,
};
use headwater_edge::{Target, Violations, id_or_new, time};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::fields::{TEXT_LEN_MAX, money, quantity, sku};
use headwater_command_svc::Commands;

/// Hands commands on stock items to the executor.
pub struct StockCommands(pub Commands<Item>);

#[tonic::async_trait]
impl StockCommandService for StockCommands {
    async fn list_item(
        &self,
        request: Request<ListItemRequest>,
    ) -> Result<Response<ListItemResponse>, Status> {
        let fields = |r: &ListItemRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = id_or_new(v, "item_id", &r.item_id);
            let sku = sku(v, "sku", &r.sku);
            let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
            let price = money(v, "price", r.price.as_ref());
            let action = ItemAction::List { sku: sku?, name: name?, price: price? };
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }

    async fn reprice_item(
        &self,
        request: Request<RepriceItemRequest>,
    ) -> Result<Response<RepriceItemResponse>, Status> {
        let fields = |r: &RepriceItemRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = v.uuid("item_id", &r.item_id);
            let price = money(v, "price", r.price.as_ref());
            let action = ItemAction::Reprice(price?);
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }

    async fn receive_stock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<ReceiveStockResponse>, Status> {
        let fields = |r: &ReceiveStockRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = v.uuid("item_id", &r.item_id);
            let quantity = quantity(v, "quantity", r.quantity);
            let action = ItemAction::Receive(quantity?);
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }

    async fn record_sale(
        &self,
        request: Request<RecordSaleRequest>,
    ) -> Result<Response<RecordSaleResponse>, Status> {
        let fields = |r: &RecordSaleRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = v.uuid("item_id", &r.item_id);
            let quantity = quantity(v, "quantity", r.quantity);
            let amount = money(v, "amount", r.amount.as_ref());
            let sold_at = time(v, "sold_time", r.sold_time);
            let (quantity, amount) = (quantity?, amount?);
            let sold_at = sold_at?;
            let action = ItemAction::RecordSale { quantity, amount, sold_at };
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }

    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        let fields = |r: &AdjustStockRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = v.uuid("item_id", &r.item_id);
            let delta = v.number("delta", r.delta, -QUANTITY_MAX..=QUANTITY_MAX);
            let some = v.check(r.delta != 0, "delta", "must not be 0");
            let reason = v.text("reason", &r.reason, 1..=TEXT_LEN_MAX);
            let action = some.and(delta).zip(reason);
            let action = action.map(|(delta, reason)| ItemAction::Adjust { delta, reason })?;
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }

    async fn delist_item(
        &self,
        request: Request<DelistItemRequest>,
    ) -> Result<Response<DelistItemResponse>, Status> {
        let fields = |r: &DelistItemRequest, v: &mut Violations| {
            let store_id = v.uuid("store_id", &r.store_id);
            let item_id = v.uuid("item_id", &r.item_id);
            let action = ItemAction::Delist;
            of_store(item_id, store_id, action)
        };
        self.0.execute(request, fields).await
    }
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
