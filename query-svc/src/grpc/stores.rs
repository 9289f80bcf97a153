//! `stores.v1.StoreQueryService`.

mod rows;
mod watched;

use std::sync::Arc;

use headwater_chassis::{Failure, Violations};
use headwater_proto::stores::v1::store_query_service_server::StoreQueryService;
use headwater_proto::stores::v1::{
    BatchGetStoresRequest, BatchGetStoresResponse, GetStoreOverviewRequest,
    GetStoreOverviewResponse, GetStoreRequest, GetStoreResponse, ListStoreOverviewsRequest,
    ListStoreOverviewsResponse, ListStoresRequest, ListStoresResponse, SearchStoresRequest,
    SearchStoresResponse, Store, StoreOverview, StoreStatus, WatchStoreOverviewRequest,
    WatchStoreOverviewResponse, WatchStoreRequest, WatchStoreResponse, WatchStoresRequest,
    WatchStoresResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::asked::asked;
use super::call::{Entity, failure, found, ids, in_order};
use super::paging::Page;
use super::watching::{Changes, watch};
use super::words::prefix_query;
use crate::coalesce::PointReader;
use crate::node::connection::Params;
use crate::page::Scope;
use crate::read::{Need, Reads};
use crate::sighting::Answer;
use crate::watch::change::Selector;
use crate::watch::hub::Hub;
use rows::{
    BY_ID, LIST, LIST_BY_CITY, LIST_BY_CITY_AND_STATUS, LIST_BY_STATUS, OVERVIEW_BY_ID,
    OVERVIEW_LIST, SEARCH, status_text,
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
        need: &Need,
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
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("store_id", &request.store_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let answer = self.reads.point(&self.by_id, id, &asked.need).await.map_err(failure)?;
        let (store, shown) = found(answer, "store", &request.store_id)?;
        let entity = Entity::of_version(store.version, store);
        Ok(asked
            .reply_one(&shown, entity, |store, freshness| GetStoreResponse { store, freshness }))
    }

    async fn batch_get_stores(
        &self,
        request: Request<BatchGetStoresRequest>,
    ) -> Result<Response<BatchGetStoresResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let ids = ids("store_ids", &request.store_ids, &mut violations);
        let (ids, asked) = violations.finish(ids.zip(asked))?;
        let answer = self.reads.rows(&BY_ID, &[&ids], &asked.need).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (stores, missing_ids) = in_order(&ids, rows);
        Ok(asked.reply_list(&shown, |freshness| BatchGetStoresResponse {
            stores,
            missing_ids,
            freshness,
        }))
    }

    async fn list_stores(
        &self,
        request: Request<ListStoresRequest>,
    ) -> Result<Response<ListStoresResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let city = violations.text("city", &request.city, 0..=200);
        let status = status_of(request.status, &mut violations).and_then(status_text);
        let scope = Scope::new("stores").with(&request.city).with(status.unwrap_or_default());
        let page = (request.page_size, request.page_token.as_str());
        let page = Page::read(scope, page, String::new(), &mut violations)?;
        let (city, (page, asked)) = violations.finish(city.zip(page.zip(asked)))?;

        let answer = self.list(&page, &city, status, &asked.need).await?;
        let (rows, shown) = answer.split();
        let (stores, next_page_token) = page.cut(rows, |store| store.name.clone());
        Ok(asked.reply_list(&shown, |freshness| ListStoresResponse {
            stores,
            next_page_token,
            freshness,
        }))
    }

    async fn search_stores(
        &self,
        request: Request<SearchStoresRequest>,
    ) -> Result<Response<SearchStoresResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let text = violations.text("query", &request.query, 1..=100);
        let query = text.as_deref().and_then(prefix_query);
        if text.is_some() && query.is_none() {
            violations.add("query", "must hold at least one letter or digit");
        }
        let scope = Scope::new("stores/search").with(query.as_deref().unwrap_or_default());
        let page = (request.page_size, request.page_token.as_str());
        let page = Page::read(scope, page, String::new(), &mut violations)?;
        let (query, (page, asked)) = violations.finish(query.zip(page.zip(asked)))?;

        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit, &query];
        let answer = self.reads.rows(&SEARCH, params, &asked.need).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (stores, next_page_token) = page.cut(rows, |store| store.name.clone());
        Ok(asked.reply_list(&shown, |freshness| SearchStoresResponse {
            stores,
            next_page_token,
            freshness,
        }))
    }

    async fn get_store_overview(
        &self,
        request: Request<GetStoreOverviewRequest>,
    ) -> Result<Response<GetStoreOverviewResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("store_id", &request.store_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let answer =
            self.reads.point(&self.overview_by_id, id, &asked.need).await.map_err(failure)?;
        let (overview, shown) = found(answer, "store", &request.store_id)?;
        let entity = Entity::of_content(overview);
        Ok(asked.reply_one(&shown, entity, |overview, freshness| GetStoreOverviewResponse {
            overview,
            freshness,
        }))
    }

    async fn list_store_overviews(
        &self,
        request: Request<ListStoreOverviewsRequest>,
    ) -> Result<Response<ListStoreOverviewsResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let page = (request.page_size, request.page_token.as_str());
        let scope = Scope::new("store_overviews");
        let page = Page::read(scope, page, i64::MAX, &mut violations)?;
        let (page, asked) = violations.finish(page.zip(asked))?;

        let params: Params<'_> = &[&page.after.sort, &page.after.id, &page.limit];
        let answer = self.reads.rows(&OVERVIEW_LIST, params, &asked.need).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (overviews, next_page_token) = page.cut(rows, rows::revenue);
        Ok(asked.reply_list(&shown, |freshness| ListStoreOverviewsResponse {
            overviews,
            next_page_token,
            freshness,
        }))
    }

    type WatchStoreStream = Changes<WatchStoreResponse>;

    async fn watch_store(
        &self,
        request: Request<WatchStoreRequest>,
    ) -> Result<Response<Self::WatchStoreStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("store_id", &request.store_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let message = |changes, resume_token, freshness| WatchStoreResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.watched, Selector::Key(id), asked, request.options, message).await
    }

    type WatchStoresStream = Changes<WatchStoresResponse>;

    async fn watch_stores(
        &self,
        request: Request<WatchStoresRequest>,
    ) -> Result<Response<Self::WatchStoresStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let city = violations.text("city", &request.city, 0..=200);
        let status = status_of(request.status, &mut violations);
        let (city, (status, asked)) = violations.finish(city.zip(status.zip(asked)))?;
        // In the order of View::WATCHED_BY.
        let city = Some(city).filter(|city| !city.is_empty());
        let selector = Selector::Rows(vec![city, status_text(status).map(str::to_owned)]);
        let message = |changes, resume_token, freshness| WatchStoresResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.watched, selector, asked, request.options, message).await
    }

    type WatchStoreOverviewStream = Changes<WatchStoreOverviewResponse>;

    async fn watch_store_overview(
        &self,
        request: Request<WatchStoreOverviewRequest>,
    ) -> Result<Response<Self::WatchStoreOverviewStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("store_id", &request.store_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let message = |changes, resume_token, freshness| WatchStoreOverviewResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.overviews_watched, Selector::Key(id), asked, request.options, message).await
    }
}

fn status_of(status: i32, violations: &mut Violations) -> Option<StoreStatus> {
    let status = StoreStatus::try_from(status).ok();
    violations.check(status.is_some(), "status", "must be one of the statuses that there are");
    status
}
