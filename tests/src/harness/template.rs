//! Postgres nodes made once and copied by every cluster: initdb and pg_basebackup take about five
//! seconds per cluster on two cores, a copy half a second.
//!
//! A template holds clusters, users, slots and an empty database, and no schema of ours, so that it
//! need not be thrown away when a migration changes. It lies in the target folder (`cargo clean`
//! removes it).

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use headwater_cli::local::{Host, Plan, PortBlock, Progress, Secrets, Stack, Watchman, is_root};

use super::options::Options;

/// Raised when what a template holds changes.
const FORMAT: u32 = 1;
/// In every template; a cluster that wants more copies its primary, one that wants fewer leaves
/// some.
const REPLICAS: u16 = 2;
/// Mount point where Linux has a file system in memory.
const MEMORY: &str = "/dev/shm";
/// A cluster takes 0.3 GB, some ten may run at once, and containers often have 64 MB.
const MEMORY_MIN: u64 = 4 << 30;
const SECRETS: &str = "secrets.json";

/// Puts nodes for a cluster of the given kind into the folder, and gives their passwords.
pub async fn unpack(
    binaries: &Path,
    host: &Host,
    options: &Options,
    folder: &Path,
) -> anyhow::Result<Secrets> {
    let template = make(binaries, host, options.single_database).await?;
    let wanted = |name: &str| match name.strip_prefix("replica-") {
        Some(number) => number.parse().is_ok_and(|number: u16| number <= options.replicas),
        None => true,
    };
    let mut copies = Vec::new();
    for entry in fs::read_dir(&template)?.flatten() {
        if wanted(&entry.file_name().to_string_lossy()) {
            let copy = Command::new("cp").arg("-Rp").arg(entry.path()).arg(folder).spawn()?;
            copies.push(copy);
        }
    }
    for mut copy in copies {
        if !copy.wait()?.success() {
            bail!("cannot copy {} to {}", template.display(), folder.display());
        }
    }
    Secrets::load(&folder.join(SECRETS), false)
}

/// Passwords of a folder that is kept; it is made if it is not there.
pub fn kept(folder: &Path) -> anyhow::Result<Secrets> {
    fs::create_dir_all(folder)?;
    let is_new = fs::read_dir(folder)?.next().is_none();
    Secrets::load(&folder.join(SECRETS), is_new)
}

/// The template's folder; it is made if this machine has none yet. One test process makes it,
/// others wait.
async fn make(binaries: &Path, host: &Host, single_database: bool) -> anyhow::Result<PathBuf> {
    let target = binaries.parent().context("binaries are in the target folder")?;
    let folder = target.join("tmp");
    fs::create_dir_all(&folder)?;
    let kind = if single_database { "single" } else { "separate" };
    let uid = host.account.as_ref().map_or(0, |account| account.uid);
    let version = &host.installation.version;
    let template = folder.join(format!("headwater-template-{FORMAT}-{version}-{kind}-{uid}"));
    let lock = File::create(folder.join("headwater-template.lock"))?;
    // Released when the file is closed. Blocks this thread for the seconds that another process
    // needs.
    lock.lock()?;
    if !template.exists() {
        let made = build(binaries, host, single_database).await?;
        let unfinished = template.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let moved = Command::new("cp").arg("-Rp").arg(&made).arg(&unfinished).status()?;
        if !moved.success() {
            bail!("cannot copy {} to {}", made.display(), unfinished.display());
        }
        fs::remove_dir_all(&made)?;
        fs::rename(&unfinished, &template)?;
    }
    Ok(template)
}

/// Makes the nodes in a temporary folder (Postgres' user cannot enter everybody's target folder).
async fn build(binaries: &Path, host: &Host, single_database: bool) -> anyhow::Result<PathBuf> {
    let root = temporary_folder(false)?;
    fs::create_dir(root.join("logs"))?;
    let shape =
        Options { single_database, replicas: REPLICAS, ..Options::databases_only() }.shape();
    let secrets = Secrets::load(&root.join(SECRETS), true)?;
    let mut ports = PortBlock::find(rand::random(), shape.ports())?;
    let plan = Plan::new(&root, host.clone(), secrets, &shape, &mut ports)?;
    let watchman = Watchman::start(&binaries.join("headwater"))?;
    let mut stack = Stack::new(plan, binaries.to_path_buf(), watchman, ports);
    let progress = Progress::silent();
    stack.start_bare_databases(&progress).await.context("cannot make the tests' template")?;
    let killed = stack.stop(&progress).await;
    if !killed.is_empty() {
        bail!("{killed:?} did not stop: the template would be a crashed cluster");
    }
    fs::remove_dir_all(root.join("logs"))?;
    Ok(root)
}

/// A folder that Postgres' user can reach: by default temporary folders are their owner's alone.
///
/// In memory unless the disk is asked for or memory is short: a flush to the disk costs
/// milliseconds, which no test of behaviour is about. A killed process loses no more there than on
/// a disk.
pub fn temporary_folder(on_disk: bool) -> anyhow::Result<PathBuf> {
    let mode = if is_root() { 0o755 } else { 0o700 };
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("headwater-test-").permissions(PermissionsExt::from_mode(mode));
    let memory = Path::new(MEMORY);
    if !on_disk && free_bytes(memory).is_some_and(|free| free >= MEMORY_MIN) {
        return Ok(builder.tempdir_in(memory)?.keep());
    }
    Ok(builder.tempdir()?.keep())
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
