//! The edge: messages in, commands out, receipts back.

mod fields;
mod stock;
mod stores;
mod users;

use std::sync::Arc;

use headwater_domain_proto::stores::v1::stock_command_service;
use tonic::service::Routes;

use headwater_command_svc::{AggregateType, Commands, Executor};
use headwater_domain_model::item::Item;
use stock::StockCommands;
use stores::StoreCommands;
use users::UserCommands;

/// The aggregates of the domain.
pub fn aggregates() -> Vec<AggregateType> {
    vec![StoreCommands::aggregate(), AggregateType::of::<Item>(), UserCommands::aggregate()]
}

/// The services of the domain on an executor.
pub fn routes(executor: &Arc<Executor>) -> Routes {
    let stock = StockCommands(Commands::new(executor));
    Routes::new(StoreCommands::server(executor))
        .add_service(stock_command_service::Server::new(stock))
        .add_service(UserCommands::server(executor))
}
