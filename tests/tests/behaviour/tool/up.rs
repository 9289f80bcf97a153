//! `headwater up` as a person uses it: what it keeps, what it recovers from, and what it refuses.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use headwater_cli::local::{RunFile, Running, connect, inspect};
use headwater_tests::harness::{binaries, eventually, temporary_folder};

/// Four clusters' worth of initdb and copying on a machine that is busy with other tests.
const UP: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(30);

/// A data folder, and the `headwater up` that runs on it.
struct Home {
    root: PathBuf,
    running: Option<Child>,
}

impl Home {
    fn new() -> Home {
        Home { root: temporary_folder(false).expect("a folder"), running: None }
    }

    fn headwater(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries().expect("binaries").join("headwater"));
        command.args(args).env("HEADWATER_DATA", &self.root).stdin(Stdio::null());
        command
    }

    fn up(&self, args: &[&str]) -> Command {
        let mut all = vec!["up", "--replicas", "1"];
        all.extend(args);
        self.headwater(&all)
    }

    /// Starts it and waits for its run file, which it writes when all is well.
    async fn start(&mut self, args: &[&str]) -> RunFile {
        let log = std::fs::File::create(self.root.with_extension("out")).expect("a file");
        let mut command = self.up(args);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let pid = self.running.insert(command.spawn().expect("headwater starts")).id();
        let root = self.root.clone();
        eventually(UP, || async { run_file_of(&root, pid) }).await
    }

    /// Runs it where it is to fail at once; gives what it says.
    fn refusal(&self, args: &[&str]) -> String {
        let Output { status, stderr, .. } = self.up(args).output().expect("headwater runs");
        let words = String::from_utf8_lossy(&stderr).into_owned();
        assert!(!status.success(), "{args:?} was not refused: {words}");
        words
    }

    async fn call(&self, method: &str, json: &str) -> String {
        let output = self.headwater(&["call", method, json]).output().expect("headwater runs");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{answer}{}", String::from_utf8_lossy(&output.stderr));
        answer
    }

    fn pid(&self) -> u32 {
        self.running.as_ref().expect("it was started").id()
    }

    /// Bytes of WAL that a node which was stopped replays at its start.
    fn to_replay(&self, node: &str) -> u64 {
        let found = self.headwater(&["postgres"]).output().expect("headwater runs").stdout;
        let bin = String::from_utf8(found).expect("a path");
        let mut tool = Command::new(Path::new(bin.trim()).join("pg_controldata"));
        let output = tool.arg(self.root.join(node)).env("LC_ALL", "C").output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let place = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
            let (high, low) = line[name.len()..].trim().split_once('/').expect("a place");
            let part = |hex| u64::from_str_radix(hex, 16).expect("a number");
            (part(high) << 32) + part(low)
        };
        place("Minimum recovery ending location:") - place("Latest checkpoint's REDO location:")
    }

    fn kill(&mut self) {
        let mut child = self.running.take().expect("it was started");
        child.kill().expect("SIGKILL");
        child.wait().expect("its end");
    }

    /// As Ctrl-C does.
    async fn stop(&mut self) {
        let mut child = self.running.take().expect("it was started");
        inspect::signal(child.id(), rustix::process::Signal::INT);
        let ended = || {
            let status = child.try_wait().expect("its state");
            async move { status.context("it still runs") }
        };
        assert!(eventually(SOON, ended).await.success());
        assert!(RunFile::read(&self.root).expect("a folder").is_none(), "a clean stop leaves none");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.root.with_extension("out"));
            eprintln!("--- headwater up said\n{}", said.unwrap_or_default());
        }
        if self.running.is_some() {
            self.kill();
        }
        // The watchman may still be at work in the folder.
        let until = std::time::Instant::now() + SOON;
        let at_work = || alive(&self.root).is_some_and(|processes| !processes.is_empty());
        while at_work() && std::time::Instant::now() < until {
            #[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
            // tidy: allow sleep: a drop cannot await; the loop has a bound
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = std::fs::remove_dir_all(&self.root);
        let _ = std::fs::remove_file(self.root.with_extension("out"));
    }
}

fn run_file_of(root: &Path, pid: u32) -> anyhow::Result<RunFile> {
    let run = RunFile::read(root)?.context("there is no run file")?;
    anyhow::ensure!(run.supervisor == Running::now(pid), "it is that of a former run");
    Ok(run)
}

/// Processes of the last run that still run, Postgres' among them.
fn alive(root: &Path) -> Option<Vec<u32>> {
    let run = RunFile::read(root).ok()??;
    let programs = run.programs.into_iter().map(|program| program.process);
    let programs = programs.filter(Running::is_alive).map(|process| process.pid);
    let nodes = run.nodes.iter().flat_map(|node| inspect::working_in(&root.join(&node.name)));
    Some(programs.chain(nodes).collect())
}

fn any_port() -> [&'static str; 2] {
    ["--router-listen", "127.0.0.1:0"]
}

/// Somebody's machine crashes, or `kill -9` is typed: nothing may be left running, nothing lost.
#[tokio::test]
async fn a_killed_run_leaves_nothing_behind_and_loses_nothing() {
    let mut home = Home::new();
    let run = home.start(&any_port()).await;
    let store = r#"{"name": "Harbour Street", "city": "Bergen", "currency": "NOK"}"#;
    home.call("stores.v1.StoreCommandService/OpenStore", store).await;

    let refused = home.refusal(&any_port());
    assert!(refused.contains(&format!("in use by process {}", home.pid())), "{refused}");

    home.kill();
    let gone = || async {
        let left = alive(&home.root).unwrap_or_default();
        anyhow::ensure!(left.is_empty(), "{left:?} still run");
        Ok(())
    };
    eventually(SOON, gone).await;

    let again = home.start(&any_port()).await;
    assert_eq!(again.router, run.router, "ports stay from run to run");
    let found = home.call("stores.v1.StoreQueryService/ListStores", r#"{"city": "Bergen"}"#).await;
    assert!(found.contains("Harbour Street"), "{found}");
    home.call("stores.v1.StoreCommandService/OpenStore", store).await;
    home.stop().await;
    // What a replica would have to replay at its next start, which grows with what was written.
    let to_replay = home.to_replay("replica-1");
    assert!(to_replay < 4_096, "{to_replay} bytes of WAL");
}

/// The data folder is of a build whose view of stores had an earlier version.
#[tokio::test]
async fn views_of_an_earlier_version_are_rebuilt_at_the_start() {
    let mut home = Home::new();
    let run = home.start(&any_port()).await;
    let store = "01993c2f-0000-7000-8000-000000000001";
    let request =
        format!(r#"{{"store_id": "{store}", "name": "Kept", "city": "C", "currency": "EUR"}}"#);
    home.call("stores.v1.StoreCommandService/OpenStore", &request).await;
    let earlier = "ALTER TABLE headwater_read.store_v1 RENAME TO store_v0;
                   UPDATE headwater_read.view_version SET version = 0 WHERE view = 'store'";
    let owner = connect(&run.read_owner_url).await.expect("a connection");
    owner.batch_execute(earlier).await.expect(earlier);
    drop(owner);
    home.stop().await;
    home.start(&any_port()).await;
    let request = format!(r#"{{"store_id": "{store}"}}"#);
    let answer = home.call("stores.v1.StoreQueryService/GetStore", &request).await;
    assert!(answer.contains("Kept"), "{answer}");
    home.stop().await;
}

/// The watchman is killed too (out of memory, say): the next start stops what was left and goes on.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphans_are_stopped_by_the_next_start() {
    let mut home = Home::new();
    home.start(&["--router-listen", "127.0.0.1:0", "--single-database"]).await;
    let command_line = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
    let is_watchman =
        |pid: &u32| command_line(*pid).is_ok_and(|line| line.ends_with("\0watchman\0"));
    let watchman = inspect::descendants(home.pid()).into_iter().find(is_watchman);
    let orphans = alive(&home.root).expect("a run file");
    inspect::signal(watchman.expect("a watchman"), rustix::process::Signal::KILL);
    home.kill();
    assert_eq!(alive(&home.root).expect("a run file").len(), orphans.len());

    home.start(&any_port()).await;
    for pid in orphans {
        assert_eq!(inspect::identity(pid), None, "{pid} still runs");
    }
    home.stop().await;
}

#[tokio::test]
async fn what_dies_is_started_again() {
    let mut home = Home::new();
    let run = home.start(&any_port()).await;
    let victim = run.programs.iter().find(|program| program.name == "query-svc");
    let victim = victim.expect("a query-svc");
    let node = inspect::working_in(&home.root.join("write"));
    inspect::signal(victim.process.pid, rustix::process::Signal::KILL);
    for pid in node {
        inspect::signal(pid, rustix::process::Signal::KILL);
    }
    let store = r#"{"name": "Harbour Street", "city": "Bergen", "currency": "NOK"}"#;
    let works = || async {
        let method = "stores.v1.StoreCommandService/OpenStore";
        let output = home.headwater(&["call", method, store]).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        headwater_cli::health::ready(victim.admin).await
    };
    eventually(UP, works).await;
    home.stop().await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_a_reason() {
    let mut home = Home::new();
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("its address").to_string();
    let refused = home.refusal(&["--router-listen", &address]);
    assert!(refused.contains(&address) && refused.contains("--router-listen"), "{refused}");
    assert!(!home.root.join("layout.json").exists(), "nothing was made");

    home.start(&any_port()).await;
    home.stop().await;
    let cases: [(&[&str], &str); 4] = [
        (&["--partitions", "4"], "1 partition(s), which is fixed"),
        (&["--single-database"], "two databases"),
        (&["--wipe"], "add --yes"),
        (&["--pg-bin", "/nonexistent"], "whose server programs are not here"),
    ];
    for (args, words) in cases {
        let refused = home.refusal(args);
        assert!(refused.contains(words), "{args:?}: {refused}");
    }
    assert!(home.root.join("write/PG_VERSION").exists(), "nothing was removed");
}
