//! Makes a node's data folder: a new cluster, or a copy of a running primary.
//!
//! Both are made under another name and renamed when complete, so that a folder with its right name
//! is whole, whatever interrupted us.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::host::{Host, Tool};
use super::settings::{FILE, Upstream};
use super::users::{REPLICATION, SUPERUSER};
use crate::local::data::write_private;

/// Generous: on a busy laptop disk initdb's final flush takes several seconds.
const DEADLINE: Duration = Duration::from_secs(180);

/// Makes a new, empty cluster. Connections need the password (SCRAM), on loopback too.
pub(crate) async fn new_cluster(host: &Host, folder: &Path, password: &str) -> anyhow::Result<()> {
    let partial = start_afresh(host, folder)?;
    let password_file = folder.with_extension("password");
    write_private(&password_file, password)?;
    host.hand_over(&password_file)?;
    let mut args = vec![
        format!("--pgdata={}", partial.display()),
        format!("--username={SUPERUSER}"),
        format!("--pwfile={}", password_file.display()),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--data-checksums".to_owned(),
    ];
    args.extend(locale(host.installation.major));
    let tool = Tool { program: "initdb", args, env: Vec::new(), deadline: DEADLINE };
    let made = host.run(tool).await;
    std::fs::remove_file(&password_file)?;
    made.with_context(|| format!("cannot make a cluster in {}", folder.display()))?;
    include_our_settings(&partial)?;
    std::fs::rename(&partial, folder)?;
    Ok(())
}

/// Copies a running primary; the slot must exist. `standby.signal` makes it a replica when it
/// starts. (`pg_basebackup -R` would write the same, but in a file that overrides ours with a port
/// that may change.)
pub async fn copy_primary(host: &Host, folder: &Path, upstream: &Upstream) -> anyhow::Result<()> {
    let partial = start_afresh(host, folder)?;
    let args = vec![
        format!("--pgdata={}", partial.display()),
        format!("--host={}", upstream.address.ip()),
        format!("--port={}", upstream.address.port()),
        format!("--username={REPLICATION}"),
        format!("--slot={}", upstream.slot),
        "--wal-method=stream".to_owned(),
        "--checkpoint=fast".to_owned(),
        "--no-password".to_owned(),
    ];
    let env = vec![("PGPASSWORD", upstream.password.clone())];
    let tool = Tool { program: "pg_basebackup", args, env, deadline: DEADLINE };
    let copied = host.run(tool).await;
    copied.with_context(|| format!("cannot copy the primary to {}", folder.display()))?;
    mark_standby(host, &partial)?;
    std::fs::rename(&partial, folder)?;
    Ok(())
}

/// Makes a whole data folder that of a replica.
pub fn mark_standby(host: &Host, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("standby.signal");
    std::fs::File::create(&path)?;
    host.hand_over(&path)
}

/// Collation by code point and letters of all scripts known: the same order on every machine, and
/// `lower()` works beyond ASCII. PostgreSQL 17 has that built in; before, the C library's locale
/// does it.
fn locale(major: u32) -> Vec<String> {
    let args: &[&str] = if major >= 17 {
        &["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    } else if cfg!(target_os = "macos") {
        &["--locale=C", "--lc-ctype=UTF-8"]
    } else {
        &["--locale=C", "--lc-ctype=C.UTF-8"]
    };
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn start_afresh(host: &Host, folder: &Path) -> anyhow::Result<PathBuf> {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove the unfinished {}", partial.display()))?;
    }
    host.make_folder(&partial)?;
    Ok(partial)
}

fn include_our_settings(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("postgresql.conf");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path)?;
    writeln!(file, "\ninclude_if_exists = '{FILE}'").context("cannot write postgresql.conf")
}
