//! Leftovers of a crashed run in a node's data folder: processes that still work there, and their
//! lock file.
//!
//! Only called while we hold the data folder's own lock, hence whatever works in a node is an
//! orphan.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use rustix::process::Signal;

use super::host::{Host, Tool};
use crate::local::system::inspect;

/// A fast shutdown flushes at most `max_wal_size` of dirty pages.
const STOP: Duration = Duration::from_secs(30);
const KILL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Leftover that was found and dealt with; for a word to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The node had been stopped.
    Nothing,
    /// A server without its headwater; it was stopped cleanly.
    Orphan,
    /// Crash of the last run; Postgres recovers from its WAL at the next start.
    Crash,
}

/// Stops whatever runs in the folder, and removes a lock file whose process is gone. Postgres
/// clears such a file itself unless another process of the same user has got the number meanwhile,
/// which is common in containers; so we look whether the process works in this folder.
pub(crate) async fn clear(host: &Host, folder: &Path) -> anyhow::Result<Found> {
    let lock = folder.join("postmaster.pid");
    let Some(pid) = std::fs::read_to_string(&lock).ok().and_then(|text| postmaster(&text)) else {
        return Ok(Found::Nothing);
    };
    let is_ours = |pid| match cfg!(target_os = "linux") {
        true => inspect::working_in(folder).contains(&pid),
        false => inspect::identity(pid).is_some(),
    };
    let found = if is_ours(pid) { Found::Orphan } else { Found::Crash };
    if found == Found::Orphan {
        let args = vec![
            "stop".to_owned(),
            format!("--pgdata={}", folder.display()),
            "--mode=fast".to_owned(),
            format!("--timeout={}", STOP.as_secs()),
        ];
        let deadline = STOP + KILL;
        // A server that does not stop is killed below.
        let _ = host.run(Tool { program: "pg_ctl", args, env: Vec::new(), deadline }).await;
    }
    kill_all(folder).await?;
    if lock.exists() {
        std::fs::remove_file(&lock)?;
    }
    Ok(found)
}

/// Kills every process that works in the folder. Backends outlive a killed postmaster for a moment;
/// a new one must not start beside them.
pub(crate) async fn kill_all(folder: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + KILL;
    loop {
        let left = inspect::working_in(folder);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("processes {left:?} of a crashed run in {} cannot be killed", folder.display());
        }
        for pid in left {
            inspect::signal(pid, Signal::KILL);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Gives back the small segment of shared memory by which a killed server still guards its folder.
/// Only for a folder that is thrown away: a server that starts there again does it itself.
pub fn free_memory(folder: &Path) {
    let lock = std::fs::read_to_string(folder.join("postmaster.pid")).unwrap_or_default();
    if let Some(segment) = segment(&lock) {
        // Gone already, or no such tool: nothing is lost but a few bytes until the next boot.
        let _ = std::process::Command::new("ipcrm")
            .args(["-m", segment])
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// The seventh line of `postmaster.pid` is the key and the number of the segment.
fn segment(text: &str) -> Option<&str> {
    text.lines().nth(6)?.split_whitespace().nth(1)
}

/// The first line of `postmaster.pid` is the server's process number.
fn postmaster(text: &str) -> Option<u32> {
    text.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_is_read() {
        let text = "4711\n/data/write\n1700000000\n16001\n\n127.0.0.1\n  3414 32771\nready\n";
        assert_eq!(postmaster(text), Some(4711));
        assert_eq!(segment(text), Some("32771"));
        assert_eq!(postmaster("no number\n"), None);
        assert_eq!(segment("4711\n"), None);
    }
}
