//! `command-svc`: decides commands and appends their events.

use headwater_chassis::{Shutdown, Telemetry};
use headwater_command_svc::{Config, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("command-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, shutdown, headwater_command_svc::grpc::routes).await;
    telemetry.shutdown().await;
    ended
}
