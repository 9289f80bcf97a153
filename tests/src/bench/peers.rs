//! Systems that Headwater is measured beside, and their clients: processes of their own, under the
//! same load. `tests/peers/build.sh` makes them.

mod client;
mod pgbench;
mod programs;
mod proxies;
mod server;
mod stores;

pub use client::Client;
pub use pgbench::{TABLE, run as pgbench};
pub use proxies::{envoy, haproxy};
pub use server::Server;
pub use stores::{cqrs_es, umadb};
