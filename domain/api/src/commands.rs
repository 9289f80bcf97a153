//! The edge: messages in, commands out, receipts back.

mod fields;
mod stock;
mod stores;
mod users;

use std::sync::Arc;

use headwater_domain_proto::stores::v1::stock_command_service_server::StockCommandServiceServer;
use headwater_domain_proto::stores::v1::store_command_service_server::StoreCommandServiceServer;
use headwater_domain_proto::users::v1::user_command_service_server::UserCommandServiceServer;
use tonic::service::Routes;

use headwater_command_svc::{Commands, Executor};
use stock::StockCommands;
use stores::StoreCommands;
use users::UserCommands;

/// The services of the domain on an executor.
pub fn routes(executor: &Arc<Executor>) -> Routes {
    let stores = StoreCommands(Commands::new(executor));
    let stock = StockCommands(Commands::new(executor));
    let users = UserCommands(Commands::new(executor));
    Routes::new(StoreCommandServiceServer::new(stores))
        .add_service(StockCommandServiceServer::new(stock))
        .add_service(UserCommandServiceServer::new(users))
}
