//! What a stack needs of the operating system: child processes and their end, ports, accounts.

mod account;
pub mod inspect;
mod ports;
mod process;
mod watchman;
pub(super) mod words;

pub use account::{Account, is_root};
pub use ports::{PortBlock, must_be_free};
pub use process::{Launch, Process};
pub use watchman::{Farewell, Watchman, keep_watch};
