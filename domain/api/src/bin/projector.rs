//! `projector`: turns the log into rows of the read database.

use headwater_chassis::{Shutdown, Telemetry};
use headwater_domain_api::projections;
use headwater_projector::config::Config;
use headwater_projector::run;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("projector", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, projections(), shutdown).await;
    telemetry.shutdown().await;
    ended
}
