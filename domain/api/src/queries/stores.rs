//! `stores.v1.StoreQueryService`.

mod rows;

use headwater_domain_model::views::StoreRow;
use headwater_domain_proto::stores::v1::store_query_service_server::StoreQueryService;
use headwater_domain_proto::stores::v1::{
    BatchGetStoresRequest, BatchGetStoresResponse, GetStoreOverviewRequest,
    GetStoreOverviewResponse, GetStoreReportRequest, GetStoreReportResponse, GetStoreRequest,
    GetStoreResponse, ListStoreOverviewsRequest, ListStoreOverviewsResponse, ListStoresRequest,
    ListStoresResponse, SearchStoresRequest, SearchStoresResponse, StoreStatus,
    WatchStoreOverviewRequest, WatchStoreOverviewResponse, WatchStoreRequest, WatchStoreResponse,
    WatchStoresRequest, WatchStoresResponse,
};
use headwater_edge::{ListReply as _, Page, Scope, Violations, checked, prefix_query};
use headwater_kernel::row::Row as _;
use headwater_query_svc::{
    Changes, Filters, Listing, Params, Reads, ServedView as _, Statement, ViewReader, Watched,
    failure,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use rows::status_text;
pub use rows::{Overviews, Stores};

use super::report::get_store_report;
use crate::PROJECTION;

static SEARCH: Statement<(Uuid, StoreRow)> = Statement {
    name: "stores_search",
    projection: PROJECTION,
    sql: include_str!("../../sql/stores_search.sql"),
    decode: |columns| StoreRow::read(columns).map(|row| (row.store_id, row)),
};

/// Answers from the views `store` and `store_overview`.
pub struct StoreQueries {
    reads: Reads,
    stores: ViewReader<Stores>,
    overviews: ViewReader<Overviews>,
}

impl StoreQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        let stores = ViewReader::new(reads);
        Self { reads: reads.clone(), stores, overviews: ViewReader::new(reads) }
    }
}

#[tonic::async_trait]
impl StoreQueryService for StoreQueries {
    async fn get_store(
        &self,
        request: Request<GetStoreRequest>,
    ) -> Result<Response<GetStoreResponse>, Status> {
        self.stores.get(request, |r, v| v.uuid("store_id", &r.store_id)).await
    }

    async fn batch_get_stores(
        &self,
        request: Request<BatchGetStoresRequest>,
    ) -> Result<Response<BatchGetStoresResponse>, Status> {
        self.stores.batch(request, |r| ("store_ids", &r.store_ids)).await
    }

    async fn list_stores(
        &self,
        request: Request<ListStoresRequest>,
    ) -> Result<Response<ListStoresResponse>, Status> {
        let choose = |r: &ListStoresRequest, v: &mut Violations| {
            Some(Listing::by("name", filters(&r.city, r.status, v)?))
        };
        self.stores.list(request, choose).await
    }

    async fn search_stores(
        &self,
        request: Request<SearchStoresRequest>,
    ) -> Result<Response<SearchStoresResponse>, Status> {
        let (query, (words, page)) = self.reads.query(request, |r, v| {
            let text = v.text("query", &r.query, 1..=100);
            let words = text.as_deref().and_then(prefix_query);
            if text.is_some() && words.is_none() {
                v.add("query", "must hold at least one letter or digit");
            }
            let scope = Scope::new("stores/search").with(words.as_deref().unwrap_or_default());
            let page = (r.page_size, r.page_token.as_str());
            let page = Page::read(scope, page, String::new(), v);
            Some((words?, page?))
        })?;

        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit, &words];
        let answer = self.reads.rows(&SEARCH, params, query.need()).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (rows, next) = page.cut(rows, |row| row.name.clone());
        let stores = rows.into_iter().map(Stores::message).collect();
        Ok(query.reply_list(&shown, SearchStoresResponse::of(stores, next)))
    }

    async fn get_store_overview(
        &self,
        request: Request<GetStoreOverviewRequest>,
    ) -> Result<Response<GetStoreOverviewResponse>, Status> {
        self.overviews.get(request, |r, v| v.uuid("store_id", &r.store_id)).await
    }

    async fn list_store_overviews(
        &self,
        request: Request<ListStoreOverviewsRequest>,
    ) -> Result<Response<ListStoreOverviewsResponse>, Status> {
        self.overviews.list(request, |_, _| Some(Listing::by("revenue", Filters::none()))).await
    }

    async fn get_store_report(
        &self,
        request: Request<GetStoreReportRequest>,
    ) -> Result<Response<GetStoreReportResponse>, Status> {
        get_store_report(&self.reads, request).await
    }

    type WatchStoreStream = Changes<WatchStoreResponse>;

    async fn watch_store(
        &self,
        request: Request<WatchStoreRequest>,
    ) -> Result<Response<Self::WatchStoreStream>, Status> {
        self.stores.watch(request, |r, v| v.uuid("store_id", &r.store_id).map(Watched::Row)).await
    }

    type WatchStoresStream = Changes<WatchStoresResponse>;

    async fn watch_stores(
        &self,
        request: Request<WatchStoresRequest>,
    ) -> Result<Response<Self::WatchStoresStream>, Status> {
        let select = |r: &WatchStoresRequest, v: &mut Violations| {
            filters(&r.city, r.status, v).map(Watched::Rows)
        };
        self.stores.watch(request, select).await
    }

    type WatchStoreOverviewStream = Changes<WatchStoreOverviewResponse>;

    async fn watch_store_overview(
        &self,
        request: Request<WatchStoreOverviewRequest>,
    ) -> Result<Response<Self::WatchStoreOverviewStream>, Status> {
        let select = |r: &WatchStoreOverviewRequest, v: &mut Violations| {
            v.uuid("store_id", &r.store_id).map(Watched::Row)
        };
        self.overviews.watch(request, select).await
    }
}

/// An empty city and an unspecified status are no filters.
fn filters(city: &str, status: i32, v: &mut Violations) -> Option<Filters> {
    let city = v.text("city", city, 0..=200);
    let status = StoreStatus::try_from(status).ok();
    let status = checked(v, "status", "must be one of the statuses that there are", status);
    let city = city.filter(|_| status.is_some())?;
    let city = Some(city).filter(|city| !city.is_empty());
    Some(Filters::none().with("city", city).with("status", status.and_then(status_text)))
}
