//! A log as the last release makes it, which programs of this one find at the beginning of an
//! upgrade.

use headwater_cli::local::{Plan, connect};

/// Makes the empty log of a plan anew, with the last release's schema. Before any program runs.
pub async fn make_log(plan: &Plan) -> anyhow::Result<()> {
    let url = plan.write_owner_url();
    connect(&url).await?.batch_execute("DROP SCHEMA headwater_log CASCADE").await?;
    headwater_previous::EventLog::migrate(&url, plan.partitions).await?;
    Ok(())
}
