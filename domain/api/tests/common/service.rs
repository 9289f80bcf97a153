//! The query server of a test, without its process: pool, reads, and the gRPC services called
//! directly.

use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::{Metrics, Readiness, Secret, Shutdown};
use headwater_domain_api::{PROJECTION, queries};
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{GetStoreRequest, Store};
use headwater_domain_proto::users::v1::user_query_service_client::UserQueryServiceClient;
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_proto::headwater::v1::sync_query_service_client::SyncQueryServiceClient;
use headwater_proto::headwater::v1::{Consistency, Freshness, NodeRole};
use headwater_query_svc::{
    Address, CONNECTED_MAX, PoolConfig, READY_CHECK, ReadPool, Reads, sync_service,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::eventually;

pub struct Service {
    pub reads: Reads,
    pub pool: Arc<ReadPool>,
    pub metrics: Metrics,
    pub readiness: Readiness,
    routes: Routes,
    shutdown: Shutdown,
}

impl Service {
    /// On the nodes with these URLs; reads wait at most `wait_ms`.
    pub fn start(urls: &[String], wait_ms: u64) -> Self {
        Self::probing(urls, wait_ms, Duration::from_millis(50))
    }

    /// The same with another time between probes.
    pub fn probing(urls: &[String], wait_ms: u64, probe_every: Duration) -> Self {
        Self::set(urls, wait_ms, probe_every, (50, CONNECTED_MAX))
    }

    /// The same with another share of the read primary, and once all nodes have been seen.
    pub async fn sharing(urls: &[String], wait_ms: u64, primary_share: u8) -> Self {
        let service =
            Self::set(urls, wait_ms, Duration::from_millis(50), (primary_share, CONNECTED_MAX));
        service.all_seen().await;
        service
    }

    /// The same with another time for which connections are used.
    pub async fn reconnecting(urls: &[String], wait_ms: u64, connected_max: Duration) -> Self {
        let service = Self::set(urls, wait_ms, Duration::from_millis(50), (50, connected_max));
        service.all_seen().await;
        service
    }

    fn set(
        urls: &[String],
        wait_ms: u64,
        probe_every: Duration,
        (primary_share, connected_max): (u8, Duration),
    ) -> Self {
        let served = [PROJECTION];
        let limits = (primary_share, connected_max);
        Self::serving(&served, urls, (wait_ms, probe_every), limits)
    }

    /// The same with these projections.
    pub fn serving(
        projections: &[&str],
        urls: &[String],
        (wait_ms, probe_every): (u64, Duration),
        (primary_share, connected_max): (u8, Duration),
    ) -> Self {
        let address = |url: &String| Address::parse(&Secret::new(url.as_str())).unwrap();
        let config = PoolConfig {
            nodes: urls.iter().map(address).collect(),
            connections: 4,
            probe_every,
            projections: projections.iter().map(|name| (*name).to_owned()).collect(),
            primary_share,
            connected_max,
        };
        let metrics = Metrics::new();
        let readiness = Readiness::new(&[READY_CHECK]);
        let shutdown = Shutdown::new();
        let pool = Arc::new(ReadPool::new(&config, &metrics).unwrap());
        pool.watch(&readiness, &shutdown);
        let reads = Reads::new(Arc::clone(&pool), Duration::from_millis(wait_ms));
        let routes = queries::routes(&reads).add_service(sync_service(&reads)).prepare();
        Self { reads, pool, metrics, readiness, routes, shutdown }
    }

    /// The same, once all nodes have been seen.
    pub async fn ready(urls: &[String], wait_ms: u64) -> Self {
        let service = Self::start(urls, wait_ms);
        service.all_seen().await;
        service
    }

    async fn all_seen(&self) {
        self.seen("all nodes are seen", |roles| roles.iter().all(Option::is_some)).await;
    }

    /// Waits for the roles in which the usable nodes are seen.
    pub async fn seen(&self, what: &str, mut is: impl FnMut(&[Option<NodeRole>]) -> bool) {
        eventually(what, async || is(&self.roles())).await;
    }

    /// By node; `None` if it is not in the choice.
    pub fn roles(&self) -> Vec<Option<NodeRole>> {
        self.pool.tables().of(PROJECTION).unwrap().look(|seen| {
            let role = |role| match role {
                headwater_kernel::NodeRole::Primary => NodeRole::Primary,
                headwater_kernel::NodeRole::Replica => NodeRole::Replica,
            };
            seen.iter()
                .map(|node| node.node_state.as_ref().filter(|_| node.usable).map(|s| role(s.role)))
                .collect()
        })
    }

    pub fn stores(&self) -> StoreQueryServiceClient<Routes> {
        StoreQueryServiceClient::new(self.routes.clone())
    }

    pub fn stock(&self) -> StockQueryServiceClient<Routes> {
        StockQueryServiceClient::new(self.routes.clone())
    }

    pub fn users(&self) -> UserQueryServiceClient<Routes> {
        UserQueryServiceClient::new(self.routes.clone())
    }

    pub fn sync(&self) -> SyncQueryServiceClient<Routes> {
        SyncQueryServiceClient::new(self.routes.clone())
    }

    /// One store: its row, and what the reply says of its freshness.
    pub async fn get(
        &self,
        id: Uuid,
        consistency: Option<Consistency>,
    ) -> Result<(Store, Freshness), Status> {
        let response = self.get_store(Request::new(get(id, consistency))).await?.into_inner();
        Ok((response.store.unwrap(), response.freshness.unwrap()))
    }

    pub async fn get_store(
        &self,
        request: Request<GetStoreRequest>,
    ) -> Result<Response<headwater_domain_proto::stores::v1::GetStoreResponse>, Status> {
        self.stores().get_store(request).await
    }

    /// The value of a metric: of all its lines that contain the label, the sum.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        self.metrics
            .encode()
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

pub fn get(id: Uuid, consistency: Option<Consistency>) -> GetStoreRequest {
    GetStoreRequest { store_id: id.to_string(), consistency }
}

pub fn at_least(token: &str) -> Option<Consistency> {
    Some(Consistency {
        requirement: Some(Requirement::AtLeast(token.to_owned())),
        ..Default::default()
    })
}

pub fn within(limit: Duration) -> Option<Consistency> {
    let limit = prost_types::Duration::try_from(limit).unwrap();
    Some(Consistency { requirement: Some(Requirement::MaxStaleness(limit)), ..Default::default() })
}

/// The stable reason of an error.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A fact from an error's details.
pub fn detail(status: &Status, key: &str) -> String {
    let info = status.get_details_error_info().expect("error details");
    info.metadata.get(key).cloned().unwrap_or_else(|| panic!("no {key} in {:?}", info.metadata))
}

/// The fields that an error finds wrong.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request().map(|details| details.field_violations);
    details.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

pub fn metadata<T>(response: &Response<T>, key: &str) -> String {
    let value = response.metadata().get(key);
    value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}
