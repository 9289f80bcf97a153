//! Everything that is looked at before anything is started, so that what cannot work is said at
//! once.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::local::{Account, DataFolder, Host, Layout, default_root};
use crate::up::Options;

const MIB: u64 = 1 << 20;
/// Four fresh nodes take about 220 MiB, and each up to 1 GiB of WAL under load.
const FREE_NEW: u64 = 1024 * MIB;
/// Enough to start and to say so; Postgres stops when it runs out.
const FREE_EXISTING: u64 = 256 * MIB;
const OTHERWISE: &str = "use another folder (--data) or start anew (--wipe)";

/// Asks on the terminal; without one there must be a `--yes`.
pub(super) fn confirm_wipe(root: &Path, is_sure: bool) -> anyhow::Result<()> {
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

/// Finds the Postgres binaries that fit the data, and the user to run them as.
pub(super) fn host(data: &DataFolder, given: Option<&Path>) -> anyhow::Result<Host> {
    let account = Account::for_postgres()?;
    if let Some(account) = &account {
        // Made by root, perhaps under a strict umask; everything private inside has its own mode.
        std::fs::set_permissions(data.root(), PermissionsExt::from_mode(0o755))?;
        account.can_enter(data.root())?;
    }
    let roots: Vec<_> = default_root().into_iter().chain([data.root().to_path_buf()]).collect();
    let major = data.layout()?.map(|layout| layout.postgres_major);
    Host::find(account, given, &roots, major)
}

/// Layout that the folder was made with, or will be; an error if something else is asked for now.
pub(super) fn layout(data: &DataFolder, options: &Options, major: u32) -> anyhow::Result<Layout> {
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
pub(super) fn disk(data: &DataFolder) -> anyhow::Result<()> {
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
