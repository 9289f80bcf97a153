//! The domain: counters. What the platform takes of it stands here; the programs in `bin/` hand it
//! over.

pub mod aggregate;
pub mod api;
pub mod view;

use std::sync::Arc;

use headwater_command_svc::Executor;
use headwater_projector::projection::Projection;
use headwater_query_svc::Reads;
use tonic::service::Routes;

use aggregate::CounterEvent;
use api::{CounterCommands, CounterQueries};
use v1::counter_command_service_server::CounterCommandServiceServer;
use v1::counter_query_service_server::CounterQueryServiceServer;
use view::CounterView;

headwater_edge::include_contract!(v1 = "counter.v1");

/// The projections whose views are served.
pub const PROJECTIONS: [&str; 1] = ["counters"];

/// The views, for the projector.
pub fn projections() -> Vec<Projection> {
    vec![Projection::of::<CounterEvent>("counters").view::<CounterView>().build()]
}

/// The commands, for the command service.
pub fn commands(executor: &Arc<Executor>) -> Routes {
    Routes::new(CounterCommandServiceServer::new(CounterCommands::new(executor)))
}

/// The queries, for the query service.
pub fn queries(reads: &Reads) -> Routes {
    Routes::new(CounterQueryServiceServer::new(CounterQueries::new(reads)))
}
