//! Everything that is looked at before anything is started, so that what cannot work is said at
//! once.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::account::Account;
use crate::data::{DataFolder, Layout, default_root};
use crate::inspect;
use crate::postgres::find;
use crate::postgres::host::Host;
use crate::postgres::leftovers;
use crate::run_file::RunFile;
use crate::up::Options;

const MIB: u64 = 1 << 20;
/// Four fresh nodes take about 220 MiB, and each up to 1 GiB of WAL under load.
const FREE_NEW: u64 = 1024 * MIB;
/// Enough to start and to say so; Postgres stops when it runs out.
const FREE_EXISTING: u64 = 256 * MIB;
const OTHERWISE: &str = "use another folder (--data) or start anew (--wipe)";
const ORPHAN_STOP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Asks on the terminal; without one there must be a `--yes`.
pub fn confirm_wipe(root: &Path, is_sure: bool) -> anyhow::Result<()> {
    if is_sure {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("--wipe removes all data in {}: add --yes", root.display());
    }
    print!("Remove all data in {}? [y/N] ", root.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was removed");
    }
    Ok(())
}

/// Stops programs that a killed run left behind, if its watchman was killed too. We hold the
/// folder's lock, so nobody else wants them. Postgres nodes are dealt with one by one as they are
/// started.
pub async fn stop_orphans(root: &Path) {
    // A damaged file tells nothing; a program that still runs then shows as a busy port.
    let Ok(Some(run)) = RunFile::read(root) else { return };
    let processes = run.programs.into_iter().map(|program| program.process);
    let mut orphans: Vec<_> = processes.filter(|process| process.is_alive()).collect();
    for orphan in &orphans {
        inspect::signal(orphan.pid, Signal::TERM);
    }
    let until = Instant::now() + ORPHAN_STOP;
    while !orphans.is_empty() && Instant::now() < until {
        tokio::time::sleep(POLL).await;
        orphans.retain(|orphan| orphan.is_alive());
    }
    for orphan in orphans {
        inspect::signal(orphan.pid, Signal::KILL);
    }
}

/// Kills Postgres nodes whose data is about to be removed.
pub async fn stop_nodes(root: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root)?.flatten() {
        leftovers::kill_all(&entry.path()).await?;
    }
    Ok(())
}

/// Finds the Postgres binaries that fit the data, and the user to run them as.
pub fn host(data: &DataFolder, given: Option<&Path>) -> anyhow::Result<Host> {
    let account = Account::for_postgres()?;
    if let Some(account) = &account {
        // Made by root, perhaps under a strict umask; everything private inside has its own mode.
        std::fs::set_permissions(data.root(), PermissionsExt::from_mode(0o755))?;
        account.can_enter(data.root())?;
    }
    let roots: Vec<_> = default_root().into_iter().chain([data.root().to_path_buf()]).collect();
    let major = data.layout()?.map(|layout| layout.postgres_major);
    let installation = find::find(&find::places(given, &roots), major, account.as_ref())?;
    Ok(Host { installation, account })
}

/// What the folder was made with, or will be; an error if something else is asked for now.
pub fn layout(data: &DataFolder, options: &Options, major: u32) -> anyhow::Result<Layout> {
    let Some(made) = data.layout()? else {
        let partitions = options.partitions.unwrap_or(1);
        return Ok(Layout::new(major, partitions, options.single_database));
    };
    agree(&made, options.partitions, options.single_database)?;
    Ok(made)
}

fn agree(made: &Layout, partitions: Option<u16>, single_database: bool) -> anyhow::Result<()> {
    let has = made.partitions;
    if let Some(wanted) = partitions.filter(|wanted| *wanted != has) {
        bail!(
            "this data has {has} partition(s), which is fixed, and --partitions says {wanted}: \
             {OTHERWISE}"
        );
    }
    if single_database && !made.single_database {
        bail!("this data is in two databases, and --single-database says one: {OTHERWISE}");
    }
    Ok(())
}

/// Refuses to start on a disk that is nearly full.
pub fn disk(data: &DataFolder) -> anyhow::Result<()> {
    let stat = rustix::fs::statvfs(data.root())?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = if data.has_data() { FREE_EXISTING } else { FREE_NEW };
    room(free, needed).with_context(|| format!("the disk under {}", data.root().display()))
}

fn room(free: u64, needed: u64) -> anyhow::Result<()> {
    if free < needed {
        bail!(
            "only {} MiB are free, {} MiB are needed: make room, or choose another folder with \
             --data",
            free / MIB,
            needed / MIB
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearly_full_disk_is_refused() {
        assert!(room(FREE_NEW, FREE_NEW).is_ok());
        let error = room(FREE_NEW - 1, FREE_NEW).expect_err("too little").to_string();
        assert!(error.contains("1023 MiB are free, 1024 MiB"), "{error}");
    }

    #[test]
    fn what_is_fixed_cannot_be_asked_for_anew() {
        let made = Layout::new(15, 4, false);
        let cases = [
            (None, false, true),
            (Some(4), false, true),
            (Some(1), false, false),
            (None, true, false),
        ];
        for (partitions, single_database, fits) in cases {
            let outcome = agree(&made, partitions, single_database);
            assert_eq!(outcome.is_ok(), fits, "{partitions:?} {single_database}");
        }
        assert!(agree(&Layout::new(15, 1, true), None, false).is_ok());
    }
}
