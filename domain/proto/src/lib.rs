//! The sample domain's wire contract: messages, services and the descriptor set, generated from the
//! `.proto` files in `proto/`.
#![allow(missing_docs, clippy::all)]

/// `stores.v1`: stores and their stock.
pub mod stores {
    pub mod v1 {
        tonic::include_proto!("stores.v1");
    }
}

/// `users.v1`: users.
pub mod users {
    pub mod v1 {
        tonic::include_proto!("users.v1");
    }
}

/// Every file of the contract and of the platform's, with its options and comments, encoded as a
/// `google.protobuf.FileDescriptorSet`: for reflection, for the router's routes and for decoding
/// events by their type name.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
