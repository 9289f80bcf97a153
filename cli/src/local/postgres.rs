//! PostgreSQL nodes that headwater runs itself: finding the binaries, making clusters, starting
//! them.

mod find;
mod host;
pub(super) mod init;
pub(super) mod leftovers;
mod node;
mod settings;
pub(super) mod users;

pub use find::Installation;
pub use host::{Host, Tool};
pub use node::{Node, Role, accepting, connect};
pub use settings::{Settings, Size, Upstream};
