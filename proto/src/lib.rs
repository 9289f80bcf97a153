//! The wire contract: messages, services and the descriptor set, generated from the `.proto` files
//! beside this crate.
#![allow(missing_docs, clippy::all)]

/// `headwater.v1`: receipts, consistency, freshness, error reasons.
pub mod headwater {
    pub mod v1 {
        tonic::include_proto!("headwater.v1");
    }
}

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

/// Every file of the contract with its options and comments, encoded as a
/// `google.protobuf.FileDescriptorSet`: for reflection and for decoding
/// events by their type name.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
