//! `command-svc`: decides commands and appends their events.

use headwater_chassis::{Shutdown, Telemetry};
use headwater_command_svc::{Config, run};
use headwater_domain_api::{FILE_DESCRIPTOR_SET, commands};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("command-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, FILE_DESCRIPTOR_SET, shutdown, commands::routes).await;
    telemetry.shutdown().await;
    ended
}
