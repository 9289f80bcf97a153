//! `grpc.health.v1`, which shows [`Readiness`] directly: there is no second state that could
//! disagree with it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::readiness::{Checks, Readiness};

/// Descriptors of the health protocol, for reflection and metrics.
pub const DESCRIPTORS: &[u8] = tonic_health::pb::FILE_DESCRIPTOR_SET;

/// Always SERVING: that it answers shows that the process lives. For liveness probes, which must
/// not restart a process because a database is unavailable.
const LIVE: &str = "headwater.live";
/// A check is a service of this name, such as `headwater.sync`.
const CHECK_PREFIX: &str = "headwater.";

/// Services by their full names, each with the names of the checks that it needs.
pub type Services = BTreeMap<String, Needs>;

/// Conditions under which a service serves.
pub enum Needs {
    /// All that the process needs.
    Everything,
    /// Checks that must hold, required of the process or not.
    Checks(Vec<&'static str>),
}

/// The health service. The empty name follows the whole process.
pub fn service(readiness: Readiness, services: Services) -> HealthServer<impl Health> {
    HealthServer::new(Service { readiness, services: Arc::new(services) })
}

struct Service {
    readiness: Readiness,
    services: Arc<Services>,
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match status(&self.services, &self.readiness.checks(), &service) {
            // The protocol's own words: an unknown service is NOT_FOUND here, and a status in
            // `Watch`.
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            status => Ok(Response::new(reply(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut watched = Watched {
            service: request.into_inner().service,
            services: self.services.clone(),
            changes: self.readiness.subscribe(),
            last: None,
            ended: false,
        };
        watched.changes.mark_changed();
        let changes = stream::unfold(watched, |mut watched| async {
            let status = watched.next().await?;
            Some((Ok(reply(status)), watched))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

/// A client that watches a service.
struct Watched {
    service: String,
    services: Arc<Services>,
    changes: watch::Receiver<Checks>,
    last: Option<ServingStatus>,
    ended: bool,
}

impl Watched {
    /// The status when it has changed; at first the status as it is. After a drain has been told,
    /// the stream ends, so that it does not hold the drain up.
    async fn next(&mut self) -> Option<ServingStatus> {
        while !self.ended {
            self.changes.changed().await.ok()?;
            let checks = self.changes.borrow_and_update().clone();
            self.ended = checks.is_draining();
            let status = status(&self.services, &checks, &self.service);
            if self.last.replace(status) != Some(status) {
                return Some(status);
            }
        }
        None
    }
}

fn status(services: &Services, checks: &Checks, service: &str) -> ServingStatus {
    let holds = match (service, services.get(service)) {
        (LIVE, _) => Some(true),
        ("", _) | (_, Some(Needs::Everything)) => Some(checks.is_ready()),
        (_, Some(Needs::Checks(needed))) => Some(
            !checks.is_draining() && needed.iter().all(|name| checks.holds(name) == Some(true)),
        ),
        (_, None) => service.strip_prefix(CHECK_PREFIX).and_then(|name| checks.holds(name)),
    };
    match holds {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    }
}

fn reply(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
