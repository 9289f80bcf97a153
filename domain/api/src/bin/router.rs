//! The router.

use headwater_chassis::{Invocation, Shutdown, Telemetry};
use headwater_domain_api::FILE_DESCRIPTOR_SET;
use headwater_router::{Config, PROGRAM, run};

/// Control alone runs here: accepting, resolving, health checks, admin. Traffic has its threads.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::read(Invocation::from_process(PROGRAM))?;
    let telemetry = Telemetry::init(PROGRAM, &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let result = run(config, FILE_DESCRIPTOR_SET, shutdown).await;
    telemetry.shutdown().await;
    result
}
