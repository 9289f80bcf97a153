//! Logs as the last release makes them, which programs of this one find at the beginning of an
//! upgrade: an empty one, and one with data.

use headwater_cli::local::{Plan, connect};

/// Makes the empty log of a plan anew, with the last release's schema. Before any program runs.
pub async fn make_log(plan: &Plan) -> anyhow::Result<()> {
    let url = plan.write_owner_url();
    connect(&url).await?.batch_execute("DROP SCHEMA headwater_log CASCADE").await?;
    headwater_previous::EventLog::migrate(&url, plan.partitions).await?;
    Ok(())
}

/// Puts what programs of the last release left (`tests/fixtures/last_release`) in the place of the
/// empty log and views of a plan. Before any program runs.
///
/// # Errors
/// A database cannot be reached.
pub async fn restore(plan: &Plan) -> anyhow::Result<()> {
    let log = include_str!("../../fixtures/last_release/log.dump");
    let views = include_str!("../../fixtures/last_release/views.dump");
    for (url, schema, made) in [
        (plan.write_owner_url(), "headwater_log", log),
        (plan.read_owner_url(), "headwater_read", views),
    ] {
        let client = connect(&url).await?;
        client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await?;
        client.batch_execute(made).await?;
    }
    Ok(())
}
