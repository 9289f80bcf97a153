//! `stores.v1.StockQueryService`.

use headwater_domain_model::values::{SKU_LEN_MAX, Sku};
use headwater_domain_model::views::ItemRow;
use headwater_domain_proto::stores::v1::stock_query_service_server::StockQueryService;
use headwater_domain_proto::stores::v1::{
    BatchGetItemsRequest, BatchGetItemsResponse, GetItemBySkuRequest, GetItemBySkuResponse,
    GetItemRequest, GetItemResponse, ItemOrder, ListItemsRequest, ListItemsResponse, Money,
    StockItem, WatchItemRequest, WatchItemResponse, WatchItemsRequest, WatchItemsResponse,
};
use headwater_edge::{Violations, checked};
use headwater_kernel::row::Row as _;
use headwater_query_svc::{
    Changes, Filters, Listing, Reads, ServedView, Statement, ViewReader, Watched, failure, found,
};
use tonic::{Request, Response, Status};

use crate::PROJECTION;

/// Stock items, as the view `item` holds them.
pub struct Items;

impl ServedView for Items {
    const NAME: &'static str = "item";
    const PROJECTION: &'static str = PROJECTION;
    type View = ItemRow;
    type Message = StockItem;

    fn message(row: ItemRow) -> StockItem {
        let money = |minor_units| Some(Money { currency: row.currency.clone(), minor_units });
        StockItem {
            item_id: row.item_id.to_string(),
            store_id: row.store_id.to_string(),
            price: money(row.price),
            revenue: money(row.revenue),
            sku: row.sku,
            name: row.name,
            on_hand: row.on_hand,
            units_sold: row.units_sold,
            listed: row.listed,
            version: row.version.unsigned_abs(),
        }
    }
}

static BY_SKU: Statement<StockItem> = Statement {
    name: "item_by_sku",
    projection: PROJECTION,
    sql: include_str!("../../sql/item_by_sku.sql"),
    decode: |columns| ItemRow::read(columns).map(Items::message),
};

/// Answers from the view `item`.
pub struct StockQueries {
    reads: Reads,
    items: ViewReader<Items>,
}

impl StockQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        Self { reads: reads.clone(), items: ViewReader::new(reads) }
    }
}

#[tonic::async_trait]
impl StockQueryService for StockQueries {
    async fn get_item(
        &self,
        request: Request<GetItemRequest>,
    ) -> Result<Response<GetItemResponse>, Status> {
        self.items.get(request, |r, v| v.uuid("item_id", &r.item_id)).await
    }

    async fn get_item_by_sku(
        &self,
        request: Request<GetItemBySkuRequest>,
    ) -> Result<Response<GetItemBySkuResponse>, Status> {
        let (query, (store, sku)) = self.reads.query(request, |r: &GetItemBySkuRequest, v| {
            let store = v.uuid("store_id", &r.store_id);
            let sku = sku(&r.sku, v);
            Some((store?, sku?))
        })?;
        let answer = self.reads.rows(&BY_SKU, &[&store, &sku.as_str()], query.need()).await;
        let answer = answer.map_err(failure)?.map(|rows| rows.into_iter().next());
        let (item, shown) = found(answer, "listed item with the SKU", sku.as_str())?;
        Ok(query.reply_one(&shown, item))
    }

    async fn batch_get_items(
        &self,
        request: Request<BatchGetItemsRequest>,
    ) -> Result<Response<BatchGetItemsResponse>, Status> {
        self.items.batch(request, |r| ("item_ids", &r.item_ids)).await
    }

    async fn list_items(
        &self,
        request: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        let choose = |r: &ListItemsRequest, v: &mut Violations| {
            let store = v.uuid("store_id", &r.store_id);
            let order = ItemOrder::try_from(r.order).ok();
            let order = checked(v, "order", "must be one of the orders that there are", order)?;
            let column = if order == ItemOrder::Price { "price" } else { "sku" };
            Some(Listing::by(column, Filters::none().with("store_id", Some(store?))))
        };
        self.items.list(request, choose).await
    }

    type WatchItemStream = Changes<WatchItemResponse>;

    async fn watch_item(
        &self,
        request: Request<WatchItemRequest>,
    ) -> Result<Response<Self::WatchItemStream>, Status> {
        self.items.watch(request, |r, v| v.uuid("item_id", &r.item_id).map(Watched::Row)).await
    }

    type WatchItemsStream = Changes<WatchItemsResponse>;

    async fn watch_items(
        &self,
        request: Request<WatchItemsRequest>,
    ) -> Result<Response<Self::WatchItemsStream>, Status> {
        let select = |r: &WatchItemsRequest, v: &mut Violations| {
            let store = v.uuid("store_id", &r.store_id)?;
            Some(Watched::Rows(Filters::none().with("store_id", Some(store))))
        };
        self.items.watch(request, select).await
    }
}

/// What an item can be listed under, it can be asked for by.
fn sku(text: &str, violations: &mut Violations) -> Option<Sku> {
    let description = format!("must be 1 to {SKU_LEN_MAX} printable ASCII characters");
    checked(violations, "sku", &description, Sku::parse(text))
}
