//! The edge: messages in, commands out, receipts back. The only modules that name the domain.

mod fields;
mod stock;
mod stores;
mod users;

use std::sync::Arc;

use headwater_proto::headwater::v1;
use headwater_proto::stores::v1::stock_command_service_server::StockCommandServiceServer;
use headwater_proto::stores::v1::store_command_service_server::StoreCommandServiceServer;
use headwater_proto::users::v1::user_command_service_server::UserCommandServiceServer;
use prost_types::Timestamp;
use tonic::Response;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;

use crate::execute::{Committed, Executor};
use stock::StockCommands;
use stores::StoreCommands;
use users::UserCommands;

impl Committed {
    /// The receipt as clients get it.
    pub fn wire(&self) -> v1::Receipt {
        let recorded = self.receipt.recorded_at;
        v1::Receipt {
            token: self.token.encode(),
            version: self.receipt.version.0,
            recorded_time: Some(Timestamp {
                seconds: recorded.unix_timestamp(),
                nanos: recorded.nanosecond() as i32,
            }),
            replayed: self.replayed,
            acknowledged: self.acked.level.into(),
            replicas: self.acked.replicas,
        }
    }

    /// The reply to a command: the body that `make` builds around the receipt, with the token in
    /// the metadata too.
    pub fn reply<R>(&self, make: impl FnOnce(v1::Receipt) -> R) -> Response<R> {
        let receipt = self.wire();
        // Tokens are base64: always a valid header value.
        let token = MetadataValue::try_from(receipt.token.as_str());
        let mut response = Response::new(make(receipt));
        if let Ok(token) = token {
            response.metadata_mut().insert("headwater-token", token);
        }
        response
    }
}

/// The services of the domain on an executor.
pub fn routes(executor: Arc<Executor>) -> Routes {
    Routes::new(StoreCommandServiceServer::new(StoreCommands(Arc::clone(&executor))))
        .add_service(StockCommandServiceServer::new(StockCommands(Arc::clone(&executor))))
        .add_service(UserCommandServiceServer::new(UserCommands(executor)))
}
