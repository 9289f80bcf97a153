//! `stores.v1.StoreQueryService`.

mod rows;
mod watched;

use headwater_edge::{Page, Scope, ids, prefix_query};
use headwater_query_svc::{
    Answer, Changes, Entity, Hub, Params, PointReader, Reads, Selector, failure, found, in_order,
    watch,
};
use std::sync::Arc;

use headwater_domain_proto::stores::v1::store_query_service_server::StoreQueryService;
use headwater_domain_proto::stores::v1::{
    BatchGetStoresRequest, BatchGetStoresResponse, GetStoreOverviewRequest,
    GetStoreOverviewResponse, GetStoreReportRequest, GetStoreReportResponse, GetStoreRequest,
    GetStoreResponse, ListStoreOverviewsRequest, ListStoreOverviewsResponse, ListStoresRequest,
    ListStoresResponse, SearchStoresRequest, SearchStoresResponse, Store, StoreOverview,
    StoreStatus, WatchStoreOverviewRequest, WatchStoreOverviewResponse, WatchStoreRequest,
    WatchStoreResponse, WatchStoresRequest, WatchStoresResponse,
};
use headwater_edge::{Failure, Violations};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::report::get_store_report;
pub use rows::OVERVIEW_BY_ID;
use rows::{
    BY_ID, LIST, LIST_BY_CITY, LIST_BY_CITY_AND_STATUS, LIST_BY_STATUS, OVERVIEW_LIST, SEARCH,
    status_text,
};

/// Answers from the views `store` and `store_overview`.
pub struct StoreQueries {
    reads: Reads,
    by_id: PointReader<Uuid, Store>,
    overview_by_id: PointReader<Uuid, StoreOverview>,
    watched: Arc<Hub<Store>>,
    overviews_watched: Arc<Hub<StoreOverview>>,
}

impl StoreQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        let (by_id, overview_by_id) = (reads.reader(&BY_ID), reads.reader(&OVERVIEW_BY_ID));
        let (watched, overviews_watched) =
            (Hub::new(reads, &watched::STORES), Hub::new(reads, &watched::OVERVIEWS));
        Self { reads: reads.clone(), by_id, overview_by_id, watched, overviews_watched }
    }

    /// Each combination of filters has its own statement and index.
    async fn list(
        &self,
        page: &Page<String>,
        city: &str,
        status: Option<&'static str>,
        need: &headwater_edge::Need,
    ) -> Result<Answer<Vec<(Uuid, Store)>>, Failure> {
        let (sort, id, limit) = (&page.after.sort, &page.after.id, &page.limit);
        let (statement, params): (_, Params<'_>) = match (city, &status) {
            ("", None) => (&LIST, &[sort, id, limit]),
            ("", Some(status)) => (&LIST_BY_STATUS, &[sort, id, limit, status]),
            (_, None) => (&LIST_BY_CITY, &[sort, id, limit, &city]),
            (_, Some(status)) => (&LIST_BY_CITY_AND_STATUS, &[sort, id, limit, &city, status]),
        };
        self.reads.rows(statement, params, need).await.map_err(failure)
    }
}

#[tonic::async_trait]
impl StoreQueryService for StoreQueries {
    async fn get_store(
        &self,
        request: Request<GetStoreRequest>,
    ) -> Result<Response<GetStoreResponse>, Status> {
        let (query, id) = self.reads.query(request, |r, v| {
            let id = v.uuid("store_id", &r.store_id);
            Some(id?)
        })?;
        let answer = self.reads.point(&self.by_id, id, query.need()).await.map_err(failure)?;
        let (store, shown) = found(answer, "store", id)?;
        let entity = Entity::of_version(store.version, store);
        Ok(query
            .reply_one(&shown, entity, |store, freshness| GetStoreResponse { store, freshness }))
    }

    async fn batch_get_stores(
        &self,
        request: Request<BatchGetStoresRequest>,
    ) -> Result<Response<BatchGetStoresResponse>, Status> {
        let (query, ids) = self.reads.query(request, |r, v| {
            let ids = ids("store_ids", &r.store_ids, v);
            Some(ids?)
        })?;
        let answer = self.reads.rows(&BY_ID, &[&ids], query.need()).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (stores, missing_ids) = in_order(&ids, rows);
        Ok(query.reply_list(&shown, |freshness| BatchGetStoresResponse {
            stores,
            missing_ids,
            freshness,
        }))
    }

    async fn list_stores(
        &self,
        request: Request<ListStoresRequest>,
    ) -> Result<Response<ListStoresResponse>, Status> {
        let (query, (city, status, page)) = self.reads.query(request, |r, v| {
            let city = v.text("city", &r.city, 0..=200);
            let status = status_of(r.status, v).and_then(status_text);
            let scope = Scope::new("stores").with(&r.city).with(status.unwrap_or_default());
            let page = (r.page_size, r.page_token.as_str());
            let page = Page::read(scope, page, String::new(), v);
            Some((city?, status, page?))
        })?;

        let answer = self.list(&page, &city, status, query.need()).await?;
        let (rows, shown) = answer.split();
        let (stores, next_page_token) = page.cut(rows, |store| store.name.clone());
        Ok(query.reply_list(&shown, |freshness| ListStoresResponse {
            stores,
            next_page_token,
            freshness,
        }))
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
        let (stores, next_page_token) = page.cut(rows, |store| store.name.clone());
        Ok(query.reply_list(&shown, |freshness| SearchStoresResponse {
            stores,
            next_page_token,
            freshness,
        }))
    }

    async fn get_store_overview(
        &self,
        request: Request<GetStoreOverviewRequest>,
    ) -> Result<Response<GetStoreOverviewResponse>, Status> {
        let (query, id) = self.reads.query(request, |r, v| {
            let id = v.uuid("store_id", &r.store_id);
            Some(id?)
        })?;
        let answer =
            self.reads.point(&self.overview_by_id, id, query.need()).await.map_err(failure)?;
        let (overview, shown) = found(answer, "store", id)?;
        let entity = Entity::of_content(overview);
        Ok(query.reply_one(&shown, entity, |overview, freshness| GetStoreOverviewResponse {
            overview,
            freshness,
        }))
    }

    async fn list_store_overviews(
        &self,
        request: Request<ListStoreOverviewsRequest>,
    ) -> Result<Response<ListStoreOverviewsResponse>, Status> {
        let (query, page) = self.reads.query(request, |r, v| {
            let page = (r.page_size, r.page_token.as_str());
            let scope = Scope::new("store_overviews");
            let page = Page::read(scope, page, i64::MAX, v);
            Some(page?)
        })?;

        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit];
        let answer =
            self.reads.rows(&OVERVIEW_LIST, params, query.need()).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (overviews, next_page_token) = page.cut(rows, rows::revenue);
        Ok(query.reply_list(&shown, |freshness| ListStoreOverviewsResponse {
            overviews,
            next_page_token,
            freshness,
        }))
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
        let (query, (id, options)) = self.reads.query(request, |r, v| {
            let id = v.uuid("store_id", &r.store_id);
            Some((id?, r.options.clone()))
        })?;
        watch(&self.watched, Selector::Key(id), query, options).await
    }

    type WatchStoresStream = Changes<WatchStoresResponse>;

    async fn watch_stores(
        &self,
        request: Request<WatchStoresRequest>,
    ) -> Result<Response<Self::WatchStoresStream>, Status> {
        let (query, (city, status, options)) = self.reads.query(request, |r, v| {
            let city = v.text("city", &r.city, 0..=200);
            let status = status_of(r.status, v);
            Some((city?, status?, r.options.clone()))
        })?;
        // In the order of View::WATCHED_BY.
        let city = Some(city).filter(|city| !city.is_empty());
        let selector = Selector::Rows(vec![city, status_text(status).map(str::to_owned)]);
        watch(&self.watched, selector, query, options).await
    }

    type WatchStoreOverviewStream = Changes<WatchStoreOverviewResponse>;

    async fn watch_store_overview(
        &self,
        request: Request<WatchStoreOverviewRequest>,
    ) -> Result<Response<Self::WatchStoreOverviewStream>, Status> {
        let (query, (id, options)) = self.reads.query(request, |r, v| {
            let id = v.uuid("store_id", &r.store_id);
            Some((id?, r.options.clone()))
        })?;
        watch(&self.overviews_watched, Selector::Key(id), query, options).await
    }
}

fn status_of(status: i32, violations: &mut Violations) -> Option<StoreStatus> {
    let status = StoreStatus::try_from(status).ok();
    violations.check(status.is_some(), "status", "must be one of the statuses that there are");
    status
}
