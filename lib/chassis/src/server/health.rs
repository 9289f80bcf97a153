//! `grpc.health.v1`, which shows [`Readiness`] directly: there is no second state that could disagree with it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::readiness::{Checks, Readiness};

/// Its protos, for reflection and metrics.
pub(super) const DESCRIPTORS: &[u8] = tonic_health::pb::FILE_DESCRIPTOR_SET;

/// Checks are services of this name: `headwater.sync`.
const CHECK_PREFIX: &str = "headwater.";

/// The service. `services` are known by name and follow the whole process, as does the empty name.
pub(super) fn service(
    readiness: Readiness,
    services: &BTreeSet<String>,
) -> HealthServer<impl Health + use<>> {
    HealthServer::new(Service { readiness, services: Arc::new(services.clone()) })
}

struct Service {
    readiness: Readiness,
    services: Arc<BTreeSet<String>>,
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match status(&self.services, &self.readiness.checks(), &service) {
            // The protocol's own words: an unknown service is NOT_FOUND here, and a status in `Watch`.
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            status => Ok(Response::new(reply(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let services = self.services.clone();
        let mut last = None;
        let mut draining = false;
        let changes = WatchStream::new(self.readiness.subscribe())
            // The change to draining is told; then the stream ends, so that it does not hold up the drain.
            .take_while(move |checks| {
                let ended = std::mem::replace(&mut draining, checks.is_draining());
                std::future::ready(!ended)
            })
            .map(move |checks| status(&services, &checks, &service))
            .filter(move |status| std::future::ready(last.replace(*status) != Some(*status)))
            .map(|status| Ok(reply(status)));
        Ok(Response::new(Box::pin(changes)))
    }
}

fn status(services: &BTreeSet<String>, checks: &Checks, service: &str) -> ServingStatus {
    let check = || checks.holds(service.strip_prefix(CHECK_PREFIX)?);
    let holds = match service.is_empty() || services.contains(service) {
        true => Some(checks.is_ready()),
        false => check(),
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
