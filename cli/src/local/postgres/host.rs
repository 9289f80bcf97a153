//! Runs one of PostgreSQL's own tools (initdb, pg_basebackup, pg_ctl) to its end.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::find::{self, Installation};
use crate::local::system::Account;
use crate::local::system::words::{hint, last_lines};

/// Lines of a failed tool's output that are shown.
const SHOWN_LINES: usize = 12;

/// The binaries, and the user that they run as.
#[derive(Clone, Debug)]
pub struct Host {
    /// Programs of Postgres.
    pub installation: Installation,
    /// The user to drop to, if we are root.
    pub account: Option<Account>,
}

impl Host {
    /// The newest server programs that the user can run, or the newest of a major version: in the
    /// given folder, else wherever they usually are and under these data folders.
    pub fn find(
        account: Option<Account>,
        given: Option<&Path>,
        data_roots: &[PathBuf],
        major: Option<u32>,
    ) -> anyhow::Result<Host> {
        let places = find::places(given, data_roots);
        let installation = find::find(&places, major, account.as_ref())?;
        Ok(Host { installation, account })
    }

    /// Environment of everything of Postgres: messages that can be recognised, and nothing of ours.
    pub fn environment() -> Vec<(String, String)> {
        let pairs = [("LC_ALL", "C"), ("TZ", "UTC")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Runs a tool; its end is awaited, and it is killed if the caller stops waiting.
    pub async fn run(&self, tool: Tool<'_>) -> anyhow::Result<()> {
        let program = self.installation.program(tool.program);
        let mut command = Command::new(&program);
        command.args(&tool.args).env_clear().current_dir("/").kill_on_drop(true);
        command.envs(Host::environment()).envs(tool.env);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(std::process::Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let cannot_run = || format!("cannot run {}", program.display());
        let ended = tokio::time::timeout(tool.deadline, command.output()).await;
        let Ok(output) = ended else {
            bail!("{} did not end within {:?}", tool.program, tool.deadline);
        };
        let output = output.with_context(cannot_run)?;
        if output.status.success() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if let Some(signal) = output.status.signal() {
            text.push_str(&format!("\nkilled by signal {signal}"));
        }
        bail!("{} failed:\n{}{}", tool.program, last_lines(&text, SHOWN_LINES), hint(&text));
    }

    /// Makes a folder that Postgres may write to and nobody else may look into.
    pub fn make_folder(&self, path: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        self.hand_over(path)
    }

    /// Makes Postgres' user the owner of the path.
    pub(crate) fn hand_over(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(account) = &self.account {
            account.own(path).with_context(|| format!("cannot hand over {}", path.display()))?;
        }
        Ok(())
    }
}

/// One run of a tool.
pub struct Tool<'a> {
    /// Name of the program.
    pub program: &'a str,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Environment beside [`Host::environment`]; passwords go here, since arguments can be seen by
    /// all.
    pub env: Vec<(&'static str, String)>,
    /// After this long it is killed.
    pub deadline: Duration,
}
