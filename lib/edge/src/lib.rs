//! The edge: the vocabulary of the wire contract, and what a gRPC adapter needs that no domain
//! owns.
//!
//! Reads from a request its consistency, tokens, ETags, idempotency key, acknowledgement and page,
//! and checks its fields; says in one way why a request was not carried out. Knows no domain, no
//! database and no server.

mod ack;
mod command;
mod consistency;
mod deadline;
mod etag;
mod failure;
mod fields;
mod key;
mod messages;
mod page;
mod page_token;
mod policy;
mod query;
mod search;
mod token;
mod trace;
mod validate;

pub use ack::{ACK_WAIT_MIN, AckRequest, RequestedAck, requested_ack};
pub use command::{
    BatchMetadata, Call, CallOptions, CommandRequest, Envelope, Target, read_command,
};
pub use consistency::{NotWritten, Requirement, STALENESS, Written, duration};
pub use deadline::{grpc_status, grpc_timeout, time_to_wait};
pub use etag::{ETag, Expected, History, Tags};
pub use failure::{
    ErrorReason, Failure, PLATFORM, RpcStatus, code_of, code_of_rejection, reason_name,
};
pub use fields::{checked, id_or_new, ids, time, timestamp};
pub use key::KeyHashes;
pub use messages::{
    BatchReply, ChangeMessage, CommandBatch, CommandBatchReply, CommandReply, Entity, EntityReply,
    ListReply, ListRequest, WatchReply, WatchRequest,
};
pub use page::{Page, page_size};
pub use page_token::{Cursor, PageTokenError, Scope, SortValue};
pub use policy::{Policies, Policy};
pub use query::{DatedReply, Need, QueryOptions, QueryRequest, Required, queries};
pub use search::prefix_query;
pub use token::{TOKEN, token_failure, token_failure_in};
pub use validate::Violations;
// Generated code names them.
pub use tonic_types::pb as google_rpc;
pub use uuid::Uuid;

/// Includes what `headwater_codegen` made of a package, as a module, and beside it the descriptor
/// set of the whole contract, `FILE_DESCRIPTOR_SET`: for reflection, for the router's routes and
/// for decoding events by their type name.
#[macro_export]
macro_rules! include_contract {
    ($module:ident = $package:literal) => {
        #[doc = concat!("`", $package, "`, generated from its proto.")]
        #[allow(missing_docs, clippy::all)]
        pub mod $module {
            ::tonic::include_proto!($package);
        }

        /// The contract, encoded as a `google.protobuf.FileDescriptorSet`.
        pub const FILE_DESCRIPTOR_SET: &[u8] =
            include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    };
}
