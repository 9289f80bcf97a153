//! Operating system services that a stack needs: child processes and their end, ports, accounts.

mod account;
pub mod inspect;
mod ports;
mod process;
mod watchman;
pub(super) mod words;

pub(super) use process::Launch;
pub(super) use watchman::Farewell;

pub(crate) use ports::must_be_free;

pub use account::{Account, is_root};
pub use ports::PortBlock;
pub use process::Process;
pub use watchman::{Watchman, keep_watch};
