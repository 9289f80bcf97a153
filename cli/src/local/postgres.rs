//! PostgreSQL nodes that headwater runs itself: finding the binaries, making clusters, starting
//! them.

pub(super) mod find;
mod host;
pub(super) mod init;
pub(super) mod leftovers;
mod node;
mod settings;
pub(super) mod users;

pub(super) use node::accepting;
pub(super) use settings::{Settings, Upstream};

pub use host::{Host, Tool};
pub use node::{Node, Role, connect};
pub use settings::Size;
