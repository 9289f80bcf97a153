//! Queries: requests in, statements out, rows back as messages.

mod report;
mod stock;
mod stores;
mod users;

use headwater_chassis::PAYLOAD_BYTES_MAX;
use headwater_domain_proto::stores::v1::{stock_query_service, store_query_service};
use headwater_domain_proto::users::v1::user_query_service;
use headwater_query_svc::Reads;
use tonic::service::Routes;

pub use stock::Items;
pub use stores::{Overviews, Stores};
pub use users::Users;

use stock::StockQueries;
use stores::StoreQueries;
use users::UserQueries;

/// The domain's services, answered from the pool; on the tokio runtime.
pub fn routes(reads: &Reads) -> Routes {
    let stores = store_query_service::Server::new(StoreQueries::new(reads));
    let stock = stock_query_service::Server::new(StockQueries::new(reads));
    let users = user_query_service::Server::new(UserQueries::new(reads));
    Routes::new(stores.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .add_service(stock.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .add_service(users.max_decoding_message_size(PAYLOAD_BYTES_MAX))
}
