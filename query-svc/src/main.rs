//! `query-svc`: answers queries from the nodes of the read database.

use headwater_chassis::{Shutdown, Telemetry};
use headwater_query_svc::config::Config;
use headwater_query_svc::{grpc, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("query-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run::run(config, grpc::PROJECTION, shutdown, grpc::routes).await;
    telemetry.shutdown().await;
    ended
}
