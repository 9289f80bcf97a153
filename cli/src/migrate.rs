//! `headwater migrate`: brings both databases to the version of this build, in two steps, so that
//! programs can be upgraded one by one in between. Also what `up` does by itself.
//!
//! Each side's schema belongs to the crate that writes it; this is the one place that calls them.

mod sides;

use anyhow::Context;
use clap::Args;
use headwater_eventlog::{Edition, EventLog, LogInfo};
use headwater_projector::projection::Projection;
use headwater_projector::rebuild::{History, Rebuild};

/// Connections of the databases' owner. Servers never migrate; a deployment runs this once before
/// them, and with --finish once all of them are of this version.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    owners: Owners,
    /// Partitions of the log; fixed when it is created.
    #[arg(long, env = "HEADWATER_PARTITIONS", default_value_t = 1)]
    partitions: u16,
    /// Take away what only programs of the version before use. Commands go on meanwhile; the write
    /// database needs room for a copy of the events.
    #[arg(long)]
    finish: bool,
}

/// Connection URLs of the databases' owners.
#[derive(Args)]
pub struct Owners {
    /// The write database, as its owner: postgres://owner:…@host/database.
    #[arg(long, env = "HEADWATER_WRITE_OWNER_URL", hide_env_values = true)]
    pub write_owner_url: String,
    /// The read database, as its owner; the same as the write database's in single-database mode.
    #[arg(long, env = "HEADWATER_READ_OWNER_URL", hide_env_values = true)]
    pub read_owner_url: String,
}

/// Runs the command.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Options { owners: Owners { write_owner_url, read_owner_url }, partitions, finish } =
        options;
    if finish {
        let log = finish_the_log(&write_owner_url).await?;
        println!("finished: {}", log.said());
        return Ok(());
    }
    sides::check(&write_owner_url, &read_owner_url).await?;
    let log = both(&write_owner_url, &read_owner_url, partitions).await?;
    println!("migrated: {}", log.said());
    if log.log.edition != Edition::Finished {
        println!(
            "programs of the version before go on; once none is left, run: headwater migrate --finish"
        );
    }
    for projection in &log.to_rebuild {
        let name = projection.name();
        println!(
            "the views of {name} are live in another version than this build's; programs of that \
             version go on until you run: headwater rebuild views --projection {name}"
        );
    }
    Ok(())
}

/// The databases after a migration.
pub struct Migrated {
    log: LogInfo,
    /// The projections that have to be rebuilt before their projector can start.
    pub to_rebuild: Vec<Projection>,
}

impl Migrated {
    fn said(&self) -> String {
        let LogInfo { id, epoch, partitions, .. } = self.log;
        format!("log {} with {partitions} partition(s), epoch {}", id.0, epoch.0)
    }
}

/// Finishes the migration of the log; nothing happens if it is finished.
pub async fn finish_the_log(write_url: &str) -> anyhow::Result<Migrated> {
    let info = EventLog::finish_migration(write_url).await;
    let log = info.context("cannot finish the migration of the write database")?;
    Ok(Migrated { log, to_rebuild: Vec::new() })
}

/// Migrates the log first: the views' checkpoint names the log that they come from.
pub async fn both(write_url: &str, read_url: &str, partitions: u16) -> anyhow::Result<Migrated> {
    let log = EventLog::migrate(write_url, partitions).await;
    let log = log.context("cannot migrate the write database")?;
    let to_rebuild = the_views(read_url).await.context("cannot migrate the read database")?;
    Ok(Migrated { log, to_rebuild })
}

async fn the_views(url: &str) -> anyhow::Result<Vec<Projection>> {
    let mut projections = (crate::domain::domain().projections)();
    let migrated = headwater_projector::migrate::migrate(url, &projections).await?;
    projections.retain(|projection| migrated.to_rebuild.contains(&projection.name()));
    Ok(projections)
}

/// Rebuilds projections, before their projector is started.
pub async fn rebuild(
    write_url: &str,
    read_url: &str,
    projections: &[Projection],
    history: History,
) -> anyhow::Result<()> {
    for projection in projections {
        let log = EventLog::connect(write_url, 2).await?;
        let rebuild = Rebuild::begin(read_url, log, projection, history, |_, _| {}).await?;
        rebuild.switch().await?;
    }
    Ok(())
}
