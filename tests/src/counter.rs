//! The counter domain: the smallest there can be. It keeps the seam between platform and domain
//! honest, and it is what `docs/your-own-domain.md` builds.

pub mod aggregate;
pub mod view;

pub mod commands;
pub mod queries;

use std::sync::Arc;

use headwater_command_svc::Executor;
use headwater_projector::projection::Projection;
use headwater_query_svc::Reads;
use tonic::service::Routes;

use aggregate::CounterEvent;
use commands::CounterCommands;
use queries::CounterQueries;
use v1::counter_command_service_server::CounterCommandServiceServer;
use v1::counter_query_service_server::CounterQueryServiceServer;
use view::CounterView;

/// `counter.v1`, generated from its proto.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("counter.v1");
}

/// For the command service.
pub fn command_routes(executor: Arc<Executor>) -> Routes {
    Routes::new(CounterCommandServiceServer::new(CounterCommands(executor)))
}

/// For the projector.
pub fn projections() -> Vec<Projection> {
    vec![Projection::of::<CounterEvent>("counting").view::<CounterView>().build()]
}

/// For the query service.
pub fn query_routes(reads: &Reads) -> Routes {
    Routes::new(CounterQueryServiceServer::new(CounterQueries::new(reads)))
}
