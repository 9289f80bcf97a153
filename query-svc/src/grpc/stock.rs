//! `stores.v1.StockQueryService`.

use std::sync::Arc;

use headwater_chassis::{Failure, Violations};
use headwater_domain::values::{SKU_LEN_MAX, Sku};
use headwater_domain::views::ItemView;
use headwater_kernel::View;
use headwater_proto::stores::v1::stock_query_service_server::StockQueryService;
use headwater_proto::stores::v1::{
    BatchGetItemsRequest, BatchGetItemsResponse, GetItemBySkuRequest, GetItemBySkuResponse,
    GetItemRequest, GetItemResponse, ItemChange, ItemOrder, ListItemsRequest, ListItemsResponse,
    Money, StockItem, WatchItemRequest, WatchItemResponse, WatchItemsRequest, WatchItemsResponse,
    item_change,
};
use tokio_postgres::types::ToSql;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::asked::{Asked, asked};
use super::call::{Entity, failure, found, ids, in_order};
use super::paging::Page;
use super::watching::{Changes, change_message, watch};
use crate::coalesce::PointReader;
use crate::node::connection::Params;
use crate::page::{Scope, SortValue};
use crate::read::Reads;
use crate::statement::{ColumnError, Columns, Statement};
use crate::watch::change::{Selector, change};
use crate::watch::hub::{Hub, Source};

type Listed = item_change::Change;
change_message!(ItemChange of StockItem as Listed::{Item, RemovedItemId});

/// How items are watched, by store and whether they are listed.
static WATCHED: Source<StockItem> = Source {
    view: ItemView::NAME,
    changed: &Statement {
        name: "items_changed",
        sql: include_str!("../../sql/queries/items_changed.sql"),
        decode: |columns| change(columns, item),
    },
    by_id: &BY_ID,
};

static BY_ID: Statement<(Uuid, StockItem)> = Statement {
    name: "items_by_id",
    sql: include_str!("../../sql/queries/items_by_id.sql"),
    decode: item,
};

static BY_SKU: Statement<(Uuid, StockItem)> = Statement {
    name: "item_by_sku",
    sql: include_str!("../../sql/queries/item_by_sku.sql"),
    decode: item,
};

static LIST_BY_SKU: Listing<String> = Listing {
    statement: Statement {
        name: "items_list_by_sku",
        sql: include_str!("../../sql/queries/items_list_by_sku.sql"),
        decode: item,
    },
    sort: |item| item.sku.clone(),
};

static LIST_BY_PRICE: Listing<i64> = Listing {
    statement: Statement {
        name: "items_list_by_price",
        sql: include_str!("../../sql/queries/items_list_by_price.sql"),
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
        asked: &Asked<'_>,
    ) -> Result<Response<ListItemsResponse>, Failure> {
        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit, &store];
        let answer = self.reads.rows(&listing.statement, params, &asked.need).await;
        let answer = answer.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (items, next_page_token) = page.cut(rows, listing.sort);
        Ok(asked.reply_list(&shown, |freshness| ListItemsResponse {
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
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("item_id", &request.item_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let answer = self.reads.point(&self.by_id, id, &asked.need).await.map_err(failure)?;
        let (item, shown) = found(answer, "item", &request.item_id)?;
        let entity = Entity::of_version(item.version, item);
        Ok(asked.reply_one(&shown, entity, |item, freshness| GetItemResponse { item, freshness }))
    }

    async fn get_item_by_sku(
        &self,
        request: Request<GetItemBySkuRequest>,
    ) -> Result<Response<GetItemBySkuResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let store = violations.uuid("store_id", &request.store_id);
        let sku = sku(&request.sku, &mut violations);
        let (store, (sku, asked)) = violations.finish(store.zip(sku.zip(asked)))?;
        let answer = self.reads.rows(&BY_SKU, &[&store, &sku.as_str()], &asked.need).await;
        let answer = answer.map_err(failure)?;
        let answer = answer.map(|rows| rows.into_iter().next());
        let ((_, item), shown) = found(answer, "listed item with the SKU", &request.sku)?;
        let entity = Entity::of_version(item.version, item);
        Ok(asked
            .reply_one(&shown, entity, |item, freshness| GetItemBySkuResponse { item, freshness }))
    }

    async fn batch_get_items(
        &self,
        request: Request<BatchGetItemsRequest>,
    ) -> Result<Response<BatchGetItemsResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let ids = ids("item_ids", &request.item_ids, &mut violations);
        let (ids, asked) = violations.finish(ids.zip(asked))?;
        let answer = self.reads.rows(&BY_ID, &[&ids], &asked.need).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (items, missing_ids) = in_order(&ids, rows);
        Ok(asked.reply_list(&shown, |freshness| BatchGetItemsResponse {
            items,
            missing_ids,
            freshness,
        }))
    }

    async fn list_items(
        &self,
        request: Request<ListItemsRequest>,
    ) -> Result<Response<ListItemsResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let store = violations.uuid("store_id", &request.store_id);
        let order = order(request.order, &mut violations);
        let scope = Scope::new("items").with(&store.unwrap_or_default().to_string());
        let sized = (request.page_size, request.page_token.as_str());
        // An order that is not known has been recorded: either arm ends with the violations.
        if order == Some(ItemOrder::Price) {
            let page = Page::read(scope.with("price"), sized, i64::MIN, &mut violations)?;
            let (store, (page, asked)) = violations.finish(store.zip(page.zip(asked)))?;
            Ok(self.list(&LIST_BY_PRICE, store, &page, &asked).await?)
        } else {
            let page = Page::read(scope.with("sku"), sized, String::new(), &mut violations)?;
            let (store, (page, asked)) = violations.finish(store.zip(page.zip(asked)))?;
            Ok(self.list(&LIST_BY_SKU, store, &page, &asked).await?)
        }
    }

    type WatchItemStream = Changes<WatchItemResponse>;

    async fn watch_item(
        &self,
        request: Request<WatchItemRequest>,
    ) -> Result<Response<Self::WatchItemStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("item_id", &request.item_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let message = |changes, resume_token, freshness| WatchItemResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.watched, Selector::Key(id), asked, request.options, message).await
    }

    type WatchItemsStream = Changes<WatchItemsResponse>;

    async fn watch_items(
        &self,
        request: Request<WatchItemsRequest>,
    ) -> Result<Response<Self::WatchItemsStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let store = violations.uuid("store_id", &request.store_id);
        let (store, asked) = violations.finish(store.zip(asked))?;
        // In the order of View::WATCHED_BY.
        let selector = Selector::Rows(vec![Some(store.to_string()), Some(true.to_string())]);
        let message = |changes, resume_token, freshness| WatchItemsResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.watched, selector, asked, request.options, message).await
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

fn item(columns: &mut Columns<'_>) -> Result<(Uuid, StockItem), ColumnError> {
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
