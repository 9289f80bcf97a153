//! `stores.v1.StockQueryService`.

use headwater_edge::{Page, Scope, SortValue, ids};
use headwater_query_svc::{
    Changes, ColumnError, Columns, Entity, Hub, Params, PointReader, Query, Reads, Selector,
    Source, Statement, change, failure, found, in_order, watch,
};
use std::sync::Arc;

use crate::PROJECTION;
use headwater_domain_model::values::{SKU_LEN_MAX, Sku};
use headwater_domain_model::views::ItemView;
use headwater_domain_proto::stores::v1::stock_query_service_server::StockQueryService;
use headwater_domain_proto::stores::v1::{
    BatchGetItemsRequest, BatchGetItemsResponse, GetItemBySkuRequest, GetItemBySkuResponse,
    GetItemRequest, GetItemResponse, ItemOrder, ListItemsRequest, ListItemsResponse, Money,
    StockItem, WatchItemRequest, WatchItemResponse, WatchItemsRequest, WatchItemsResponse,
};
use headwater_edge::{Failure, Violations};
use headwater_kernel::View;
use tokio_postgres::types::ToSql;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// How items are watched, by store and whether they are listed.
static WATCHED: Source<StockItem> = Source {
    view: ItemView::NAME,
    changed: &Statement {
        name: "items_changed",
        projection: PROJECTION,
        sql: include_str!("../../sql/items_changed.sql"),
        decode: |columns| change(columns, item),
    },
    by_id: &BY_ID,
};

static BY_ID: Statement<(Uuid, StockItem)> = Statement {
    name: "items_by_id",
    projection: PROJECTION,
    sql: include_str!("../../sql/items_by_id.sql"),
    decode: item,
};

static BY_SKU: Statement<(Uuid, StockItem)> = Statement {
    name: "item_by_sku",
    projection: PROJECTION,
    sql: include_str!("../../sql/item_by_sku.sql"),
    decode: item,
};

static LIST_BY_SKU: Listing<String> = Listing {
    statement: Statement {
        name: "items_list_by_sku",
        projection: PROJECTION,
        sql: include_str!("../../sql/items_list_by_sku.sql"),
        decode: item,
    },
    sort: |item| item.sku.clone(),
};

static LIST_BY_PRICE: Listing<i64> = Listing {
    statement: Statement {
        name: "items_list_by_price",
        projection: PROJECTION,
        sql: include_str!("../../sql/items_list_by_price.sql"),
        decode: item,
    },
    sort: |item| item.price.as_ref().map_or(0, |price| price.minor_units),
};

/// A list, and the value that it is ordered by.
struct Listing<S> {
    statement: Statement<(Uuid, StockItem)>,
    sort: fn(&StockItem) -> S,
}

/// Answers from the view `item`.
pub struct StockQueries {
    reads: Reads,
    by_id: PointReader<Uuid, StockItem>,
    watched: Arc<Hub<StockItem>>,
}

impl StockQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        let watched = Hub::new(reads, &WATCHED);
        Self { reads: reads.clone(), by_id: reads.reader(&BY_ID), watched }
    }

    async fn list<S: SortValue + ToSql + Sync>(
        &self,
        listing: &Listing<S>,
        store: Uuid,
        page: &Page<S>,
        query: &Query<'_>,
    ) -> Result<Response<ListItemsResponse>, Failure> {
        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit, &store];
        let answer = self.reads.rows(&listing.statement, params, query.need()).await;
        let answer = answer.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (items, next_page_token) = page.cut(rows, listing.sort);
        Ok(query.reply_list(&shown, |freshness| ListItemsResponse {
            items,
            next_page_token,
            freshness,
        }))
    }
}

#[tonic::async_trait]
impl StockQueryService for StockQueries {
    async fn get_item(
        &self,
        request: Request<GetItemRequest>,
    ) -> Result<Response<GetItemResponse>, Status> {
        let (query, id) = self.reads.query(request, |r, v| {
            let id = v.uuid("item_id", &r.item_id);
            Some(id?)
        })?;
        let answer = self.reads.point(&self.by_id, id, query.need()).await.map_err(failure)?;
        let (item, shown) = found(answer, "item", id)?;
        let entity = Entity::of_version(item.version, item);
        Ok(query.reply_one(&shown, entity, |item, freshness| GetItemResponse { item, freshness }))
    }

    async fn get_item_by_sku(
        &self,
        request: Request<GetItemBySkuRequest>,
    ) -> Result<Response<GetItemBySkuResponse>, Status> {
        let (query, (store, sku)) = self.reads.query(request, |r, v| {
            let store = v.uuid("store_id", &r.store_id);
            let sku = sku(&r.sku, v);
            Some((store?, sku?))
        })?;
        let answer = self.reads.rows(&BY_SKU, &[&store, &sku.as_str()], query.need()).await;
        let answer = answer.map_err(failure)?;
        let answer = answer.map(|rows| rows.into_iter().next());
        let ((_, item), shown) = found(answer, "listed item with the SKU", sku.as_str())?;
        let entity = Entity::of_version(item.version, item);
        Ok(query
            .reply_one(&shown, entity, |item, freshness| GetItemBySkuResponse { item, freshness }))
    }

    async fn batch_get_items(
        &self,
        request: Request<BatchGetItemsRequest>,
    ) -> Result<Response<BatchGetItemsResponse>, Status> {
        let (query, ids) = self.reads.query(request, |r, v| {
            let ids = ids("item_ids", &r.item_ids, v);
            Some(ids?)
        })?;
        let answer = self.reads.rows(&BY_ID, &[&ids], query.need()).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (items, missing_ids) = in_order(&ids, rows);
        Ok(query.reply_list(&shown, |freshness| BatchGetItemsResponse {
            items,
            missing_ids,
            freshness,
        }))
    }

    async fn list_items(
        &self,
        request: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        let (query, (store, order, page)) = self.reads.query(request, |r, v| {
            let store = v.uuid("store_id", &r.store_id);
            let order = order(r.order, v);
            Some((store?, order?, (r.page_size, r.page_token.clone())))
        })?;
        let mut violations = Violations::new();
        let sized = (page.0, page.1.as_str());
        let scope = Scope::new("items").with(&store.to_string());
        if order == ItemOrder::Price {
            let page = Page::read(scope.with("price"), sized, i64::MIN, &mut violations);
            let page = violations.finish(page)?;
            Ok(self.list(&LIST_BY_PRICE, store, &page, &query).await?)
        } else {
            let page = Page::read(scope.with("sku"), sized, String::new(), &mut violations);
            let page = violations.finish(page)?;
            Ok(self.list(&LIST_BY_SKU, store, &page, &query).await?)
        }
    }

    type WatchItemStream = Changes<WatchItemResponse>;

    async fn watch_item(
        &self,
        request: Request<WatchItemRequest>,
    ) -> Result<Response<Self::WatchItemStream>, Status> {
        let (query, (id, options)) = self.reads.query(request, |r, v| {
            let id = v.uuid("item_id", &r.item_id);
            Some((id?, r.options.clone()))
        })?;
        watch(&self.watched, Selector::Key(id), query, options).await
    }

    type WatchItemsStream = Changes<WatchItemsResponse>;

    async fn watch_items(
        &self,
        request: Request<WatchItemsRequest>,
    ) -> Result<Response<Self::WatchItemsStream>, Status> {
        let (query, (store, options)) = self.reads.query(request, |r, v| {
            let store = v.uuid("store_id", &r.store_id);
            Some((store?, r.options.clone()))
        })?;
        // In the order of View::WATCHED_BY.
        let selector = Selector::Rows(vec![Some(store.to_string()), Some(true.to_string())]);
        watch(&self.watched, selector, query, options).await
    }
}

/// What an item can be listed under, it can be asked for by.
fn sku(text: &str, violations: &mut Violations) -> Option<Sku> {
    let sku = Sku::parse(text);
    let description = format!("must be 1 to {SKU_LEN_MAX} printable ASCII characters");
    violations.check(sku.is_some(), "sku", description)?;
    sku
}

fn order(value: i32, violations: &mut Violations) -> Option<ItemOrder> {
    let order = ItemOrder::try_from(value).ok();
    violations.check(order.is_some(), "order", "must be one of the orders that there are")?;
    order
}

/// The columns of the view `item`.
pub fn item(columns: &mut Columns<'_>) -> Result<(Uuid, StockItem), ColumnError> {
    let id: Uuid = columns.take()?;
    let store_id: Uuid = columns.take()?;
    let (sku, name) = (columns.take()?, columns.take()?);
    let currency: String = columns.take()?;
    let item = StockItem {
        item_id: id.to_string(),
        store_id: store_id.to_string(),
        sku,
        name,
        price: Some(Money { currency: currency.clone(), minor_units: columns.take()? }),
        on_hand: columns.take()?,
        units_sold: columns.take()?,
        revenue: Some(Money { currency, minor_units: columns.take()? }),
        listed: columns.take()?,
        version: columns.take_u64()?,
    };
    Ok((id, item))
}
