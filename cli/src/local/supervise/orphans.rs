//! Stops what a killed run left behind, before the next one starts.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::local::postgres::leftovers;
use crate::local::run_file::RunFile;
use crate::local::system::inspect;

const STOP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Stops programs that a killed run left behind, if its watchman was killed too. We hold the
/// folder's lock, so nobody else wants them. Postgres nodes are dealt with one by one as they are
/// started.
pub(crate) async fn stop_orphans(root: &Path) {
    // A damaged file tells nothing; a program that still runs then shows as a busy port.
    let Ok(Some(run)) = RunFile::read(root) else { return };
    let processes = run.programs.into_iter().map(|program| program.process);
    let mut orphans: Vec<_> = processes.filter(|process| process.is_alive()).collect();
    for orphan in &orphans {
        inspect::signal(orphan.pid, Signal::TERM);
    }
    let until = Instant::now() + STOP;
    while !orphans.is_empty() && Instant::now() < until {
        tokio::time::sleep(POLL).await;
        orphans.retain(|orphan| orphan.is_alive());
    }
    for orphan in orphans {
        inspect::signal(orphan.pid, Signal::KILL);
    }
}

/// Kills Postgres nodes whose data is about to be removed.
pub(crate) async fn stop_nodes(root: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root)?.flatten() {
        leftovers::kill_all(&entry.path()).await?;
    }
    Ok(())
}
