//! A small process that stops what a killed `headwater up` or test run leaves behind.
//!
//! The watchman is told over a pipe which processes to watch. When the pipe closes, whatever the
//! reason (SIGKILL included), it stops those that it was not told to forget. Linux could do that by
//! itself (PR_SET_PDEATHSIG), but only by unsafe code, per thread instead of per process, and not
//! on macOS.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;

use super::inspect;

/// Time that the watched get to stop by themselves before they are killed.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Way to ask a process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// SIGTERM: our programs drain.
    Drain,
    /// SIGINT: Postgres' fast shutdown; open transactions are rolled back, data is flushed.
    Fast,
    /// SIGQUIT: Postgres' immediate shutdown; the next start recovers from the WAL.
    Immediate,
}

impl Farewell {
    /// The signal that says so.
    pub fn signal(self) -> Signal {
        match self {
            Farewell::Drain => Signal::TERM,
            Farewell::Fast => Signal::INT,
            Farewell::Immediate => Signal::QUIT,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Farewell::Drain => "drain",
            Farewell::Fast => "fast",
            Farewell::Immediate => "immediate",
        }
    }

    fn from_word(word: &str) -> Option<Farewell> {
        [Farewell::Drain, Farewell::Fast, Farewell::Immediate]
            .into_iter()
            .find(|farewell| farewell.word() == word)
    }
}

/// Our end of the pipe to the watchman. Dropping it ends the watch.
pub struct Watchman {
    child: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Watchman {
    /// Starts `<headwater> watchman`, in a process group of its own so that Ctrl-C does not reach
    /// it.
    pub fn start(headwater: &Path) -> anyhow::Result<Watchman> {
        let mut child = Command::new(headwater)
            .arg("watchman")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // It outlives us: whoever reads our output must not wait for it.
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", headwater.display()))?;
        let pipe = Mutex::new(child.stdin.take());
        Ok(Watchman { child, pipe })
    }

    /// From now on this process is stopped in the given way when we end without having done it.
    pub(crate) fn watch(&self, pid: u32, farewell: Farewell) {
        self.tell(&format!("watch {pid} {}", farewell.word()));
    }

    /// The process has ended; its number may soon be somebody else's.
    pub(crate) fn forget(&self, pid: u32) {
        self.tell(&format!("forget {pid}"));
    }

    /// Removes this folder at the end, after everything has stopped: for temporary data.
    pub fn remove_at_the_end(&self, folder: &Path) {
        self.tell(&format!("remove {}", folder.display()));
    }

    /// A watchman that somebody killed is no reason to fail: it is a second line of defence.
    fn tell(&self, line: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            let _ = pipe.write_all(format!("{line}\n").as_bytes());
        }
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.child.wait();
    }
}

/// The watchman's own side (`headwater watchman`): reads orders until the pipe closes, then cleans
/// up.
pub fn keep_watch(orders: impl BufRead) {
    let mut post = Post::default();
    for line in orders.lines() {
        let Ok(line) = line else { break };
        post.obey(&line);
    }
    post.close();
}

#[derive(Default)]
struct Post {
    watched: BTreeMap<u32, (Farewell, String)>,
    folders: Vec<PathBuf>,
}

impl Post {
    fn obey(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("watch"), Some(pid), Some(word)) => {
                let pid = pid.parse::<u32>().ok();
                let known = pid.and_then(|pid| Some((pid, inspect::identity(pid)?)));
                if let (Some((pid, identity)), Some(farewell)) = (known, Farewell::from_word(word))
                {
                    self.watched.insert(pid, (farewell, identity));
                }
            }
            (Some("forget"), Some(pid), None) => {
                self.watched.retain(|watched, _| watched.to_string() != pid);
            }
            (Some("remove"), _, _) => self.folders.push(PathBuf::from(&line["remove ".len()..])),
            _ => {}
        }
    }

    fn close(mut self) {
        for (pid, (farewell, _)) in self.alive() {
            inspect::signal(pid, farewell.signal());
            // A process that a test has paused would not hear it.
            inspect::signal_tree(pid, Signal::CONT);
        }
        let deadline = Instant::now() + GRACE;
        while !self.alive().is_empty() && Instant::now() < deadline {
            #[expect(clippy::disallowed_methods, reason = "the watchman has no runtime")]
            std::thread::sleep(POLL);
        }
        for (pid, _) in self.alive() {
            inspect::signal_tree(pid, Signal::KILL);
        }
        for folder in std::mem::take(&mut self.folders) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    fn alive(&self) -> BTreeMap<u32, (Farewell, String)> {
        let is_same =
            |pid: u32, identity: &str| inspect::identity(pid).as_deref() == Some(identity);
        let mut watched = self.watched.clone();
        watched.retain(|pid, (_, identity)| is_same(*pid, identity));
        watched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().expect("a process to watch")
    }

    #[test]
    fn what_was_not_forgotten_is_stopped_when_the_pipe_closes() {
        let (mut watched, mut forgotten) = (sleeper(), sleeper());
        let folder = tempfile::tempdir().expect("a folder").keep();
        let orders = format!(
            "watch {0} drain\nwatch {1} immediate\nnonsense\nforget {1}\nremove {2}\n",
            watched.id(),
            forgotten.id(),
            folder.display()
        );
        keep_watch(orders.as_bytes());
        assert!(!watched.wait().expect("its end").success());
        assert_eq!(forgotten.try_wait().expect("its state"), None);
        assert!(!folder.exists());
        forgotten.kill().expect("kill");
        forgotten.wait().expect("its end");
    }

    #[test]
    fn a_paused_process_is_stopped_too() {
        let mut watched = sleeper();
        inspect::signal(watched.id(), Signal::STOP);
        keep_watch(format!("watch {} drain\n", watched.id()).as_bytes());
        assert!(!watched.wait().expect("its end").success());
    }
}
