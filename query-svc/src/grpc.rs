//! The edge: requests in, statements out, rows back as messages. With `views` and the binaries the
//! only modules that name the domain.

pub mod asked;
pub mod call;
mod paging;
mod stock;
mod stores;
mod sync;
mod users;
mod watching;
mod words;

use headwater_chassis::PAYLOAD_BYTES_MAX;
use headwater_proto::headwater::v1::sync_query_service_server::SyncQueryServiceServer;
use headwater_proto::stores::v1::stock_query_service_server::StockQueryServiceServer;
use headwater_proto::stores::v1::store_query_service_server::StoreQueryServiceServer;
use headwater_proto::users::v1::user_query_service_server::UserQueryServiceServer;
use tonic::service::Routes;

use crate::read::Reads;
use stock::StockQueries;
use stores::StoreQueries;
use sync::Sync;
use users::UserQueries;

/// The projection whose views are queried.
pub const PROJECTION: &str = "retail";

/// The services of the domain, answered from the pool; on the tokio runtime.
pub fn routes(reads: &Reads) -> Routes {
    let stores = StoreQueryServiceServer::new(StoreQueries::new(reads));
    let stock = StockQueryServiceServer::new(StockQueries::new(reads));
    let users = UserQueryServiceServer::new(UserQueries::new(reads));
    let sync = SyncQueryServiceServer::new(Sync::new(reads));
    Routes::new(stores.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .add_service(stock.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .add_service(users.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .add_service(sync.max_decoding_message_size(PAYLOAD_BYTES_MAX))
        .prepare()
}
