//! PostgreSQL nodes that headwater runs itself: finding the binaries, making clusters, starting
//! them.

pub mod find;
pub mod host;
pub mod init;
pub mod leftovers;
pub mod node;
pub mod settings;
pub mod users;
