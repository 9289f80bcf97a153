//! The edge: messages in, commands out, receipts back.

mod fields;
mod stock;
mod stores;
mod users;

use std::sync::Arc;

use tonic::service::Routes;

use headwater_command_svc::{AggregateType, Executor};
use stock::StockCommands;
use stores::StoreCommands;
use users::UserCommands;

/// The aggregates of the domain.
pub fn aggregates() -> Vec<AggregateType> {
    vec![StoreCommands::aggregate(), StockCommands::aggregate(), UserCommands::aggregate()]
}

/// The services of the domain on an executor.
pub fn routes(executor: &Arc<Executor>) -> Routes {
    Routes::new(StoreCommands::server(executor))
        .add_service(StockCommands::server(executor))
        .add_service(UserCommands::server(executor))
}
