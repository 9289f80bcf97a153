//! The receipt of a command on the wire.

use headwater_edge::TOKEN;
use headwater_proto::headwater::v1;
use prost_types::Timestamp;
use tonic::Response;
use tonic::metadata::MetadataValue;

use crate::execute::Committed;

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
            response.metadata_mut().insert(TOKEN, token);
        }
        response
    }
}
