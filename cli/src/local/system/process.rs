//! One child process: how it is started, what it said, and how it is stopped.
//!
//! Plain `std::process`, not tokio's: a process must outlive the runtime that started it (the tests
//! share one cluster between runtimes). Whoever supervises asks [`Process::exited`] now and then.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;

use super::account::Account;
use super::inspect;
use super::watchman::{Farewell, Watchman};
use super::words;

/// Lines of a log that an error shows.
const LOG_LINES: usize = 12;
/// An immediate shutdown takes a tenth of a second.
const LAST_MOMENT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// Everything needed to start a process, and to start it again.
#[derive(Clone)]
pub struct Launch {
    /// Unique among the processes of one stack; names its log.
    pub name: String,
    /// The program's file.
    pub executable: PathBuf,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Environment, whole, beside `PATH` and `HOME`.
    pub env: Vec<(String, String)>,
    /// The user to run as, if not ours.
    pub account: Option<Account>,
    /// Standard error is appended here, by the process itself, so that it goes on if we die.
    pub log: PathBuf,
    /// Standard output, started anew each time.
    pub output: PathBuf,
    /// Way to ask the process to stop.
    pub farewell: Farewell,
}

/// A running child. Dropping it kills it and everything below it.
pub struct Process {
    launch: Launch,
    child: Child,
    watchman: Arc<Watchman>,
    since: Instant,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it, in a process group of its own so that Ctrl-C reaches only us, who stop it in
    /// order.
    pub(crate) fn spawn(launch: &Launch, watchman: &Arc<Watchman>) -> anyhow::Result<Process> {
        let mut command = Command::new(&launch.executable);
        command.args(&launch.args).env_clear().current_dir("/").process_group(0);
        for inherited in ["PATH", "HOME"] {
            command.envs(std::env::var_os(inherited).map(|value| (inherited, value)));
        }
        command.envs(launch.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command.stdout(File::create(&launch.output).with_context(|| unwritable(&launch.output))?);
        command.stderr(append(&launch.log)?);
        if let Some(account) = &launch.account {
            command.uid(account.uid).gid(account.gid);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", launch.executable.display()))?;
        watchman.watch(child.id(), launch.farewell);
        let watchman = Arc::clone(watchman);
        Ok(Process { launch: launch.clone(), child, watchman, since: Instant::now(), ended: None })
    }

    /// Command line and environment that the process was started with.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Start time of the process.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Exit status, if the process has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.watchman.forget(self.child.id());
            self.ended = Some(status);
        }
        self.ended
    }

    /// The first line of its standard output that starts with this word, without it.
    pub(crate) fn said(&self, word: &str) -> Option<String> {
        let text = std::fs::read_to_string(&self.launch.output).ok()?;
        let whole_lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let mut found = whole_lines.filter_map(|line| line.strip_prefix(word));
        found.next().map(|rest| rest.trim().to_owned())
    }

    /// The end of its log, for an error's text.
    pub(crate) fn log_tail(&self) -> String {
        let log = &self.launch.log;
        let text = std::fs::read(log).unwrap_or_default();
        let tail = words::last_lines(&String::from_utf8_lossy(&text), LOG_LINES);
        format!("{tail}{}\n  (all of it: {})", words::hint(&tail), log.display())
    }

    /// Asks it to stop, waits, and kills it when it does not within the deadline. True if it went
    /// by itself.
    pub async fn stop(&mut self, farewell: Farewell, deadline: Duration) -> bool {
        if self.exited().is_some() {
            return true;
        }
        inspect::signal(self.pid(), farewell.signal());
        let until = Instant::now() + deadline;
        while Instant::now() < until {
            if self.exited().is_some() {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        self.kill();
        false
    }

    /// SIGKILL to it and everything below it, as when the machine loses power.
    pub fn kill(&mut self) {
        if self.exited().is_some() {
            return;
        }
        // Listed before the parent dies: afterwards nothing leads from it to its children.
        let below = inspect::descendants(self.pid());
        inspect::signal(self.pid(), Signal::KILL);
        for pid in below {
            inspect::signal(pid, Signal::KILL);
        }
        self.ended = self.child.wait().ok();
        self.watchman.forget(self.child.id());
    }

    /// SIGSTOP to it and everything below it: it hangs, its sockets stay open.
    pub fn pause(&self) {
        inspect::signal_tree(self.pid(), Signal::STOP);
    }

    /// Undoes [`Process::pause`].
    pub fn resume(&self) {
        inspect::signal_tree(self.pid(), Signal::CONT);
    }
}

impl Drop for Process {
    /// A Postgres gets a moment for its immediate shutdown: killed, it would leave shared memory.
    fn drop(&mut self) {
        if self.launch.farewell != Farewell::Drain && self.exited().is_none() {
            inspect::signal(self.pid(), Farewell::Immediate.signal());
            inspect::signal_tree(self.pid(), Signal::CONT);
            let until = Instant::now() + LAST_MOMENT;
            while self.exited().is_none() && Instant::now() < until {
                #[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
                std::thread::sleep(POLL);
            }
        }
        self.kill();
    }
}

fn append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| unwritable(path))
}

fn unwritable(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Launch {
        Launch {
            name: "shell".to_owned(),
            executable: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            account: None,
            log: folder.join("shell.log"),
            output: folder.join("shell.out"),
            farewell: Farewell::Drain,
        }
    }

    /// Watchman for tests, which ends at once and obeys nobody.
    fn watchman() -> Arc<Watchman> {
        Arc::new(Watchman::start(Path::new("/usr/bin/true")).expect("a watchman"))
    }

    async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("not within ten seconds")
    }

    #[tokio::test]
    async fn a_process_speaks_and_stops_when_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let launch = shell("echo noise; echo \"ready $GREETING\"; exec sleep 60", folder.path());
        let mut process = Process::spawn(&launch, &watchman()).expect("a process");
        assert_eq!(eventually(|| process.said("ready")).await, "hello");
        assert_eq!(process.exited(), None);
        assert!(process.stop(Farewell::Drain, Duration::from_secs(10)).await);
        assert!(process.exited().is_some_and(|status| !status.success()));
    }

    #[tokio::test]
    async fn one_that_will_not_stop_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let launch = shell("trap '' TERM; sleep 60 & echo \"child $!\"; wait", folder.path());
        let mut process = Process::spawn(&launch, &watchman()).expect("a process");
        let child: u32 = eventually(|| process.said("child")).await.parse().expect("a pid");
        assert!(!process.stop(Farewell::Drain, Duration::from_millis(50)).await);
        eventually(|| inspect::identity(child).is_none().then_some(())).await;
    }
}
