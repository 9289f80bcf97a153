//! `query-svc`: answers queries from the nodes of the read database.

use headwater_chassis::{Shutdown, Telemetry};
use headwater_domain_api::{FILE_DESCRIPTOR_SET, PROJECTION, queries};
use headwater_query_svc::{Config, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_process(FILE_DESCRIPTOR_SET)?;
    let telemetry = Telemetry::init("query-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, &[PROJECTION], FILE_DESCRIPTOR_SET, shutdown, queries::routes).await;
    telemetry.shutdown().await;
    ended
}
