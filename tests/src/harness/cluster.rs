//! One running stack, and what a test can do to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use headwater_cli::health;
use headwater_cli::local::{
    Account, Host, Kind, Plan, PortBlock, Process, Program, Progress, RunFile, Stack, Watchman,
    default_root, free_memory,
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tonic::transport::{Channel, Endpoint};

use super::disks::Disk;
use super::last_release;
use super::links::{Line, Links};
use super::logs;
use super::options::Options;
use super::primaries::Primaries;
use super::template;

/// A drain takes up to ten seconds.
const STOP: Duration = Duration::from_secs(15);
/// Warnings about the machine's speed, which is no behaviour: every core is at work on some other
/// test.
const SLOW: &str = "slow statement";
/// Lines of each log that a failed test shows.
const SHOWN_LINES: usize = 15;

/// Clusters that all tests of one test program share, each started when the first one asks for it.
/// They end with the program. For tests of behaviour: whoever breaks something starts a cluster of
/// their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// As `headwater up` starts it: one partition, two databases.
    Default,
    /// Four partitions, two databases.
    FourPartitions,
    /// One partition, one database for both sides.
    SingleDatabase,
}

/// A running stack. Dropped, it kills everything, and fails the test if a program logged a warning
/// or an error that the test did not declare. (If the test program itself is killed, the watchman
/// cleans up.)
pub struct Cluster {
    stack: Mutex<Stack>,
    plan: Plan,
    binaries: PathBuf,
    expected: StdMutex<Vec<String>>,
    primaries: Primaries,
    links: Links,
    disks: BTreeMap<String, Disk>,
}

impl Cluster {
    /// Starts a cluster and waits until everything in it is ready.
    pub async fn start(options: Options) -> anyhow::Result<Cluster> {
        let binaries = binaries()?;
        let host = host()?;
        let watchman = Watchman::start(&binaries.join("headwater"))?;
        let mut disks = BTreeMap::new();
        let (root, secrets) = match &options.kept {
            Some(folder) => (folder.clone(), template::kept(folder)?),
            None => {
                let root = template::temporary_folder(options.on_disk)?;
                watchman.remove_at_the_end(&root);
                if let Some(mib) = options.disk_mib {
                    disks = Disk::mount(&root, &["write", "read"], mib, &host)?;
                }
                let secrets = template::unpack(&binaries, &host, &options, &root).await?;
                (root, secrets)
            }
        };
        std::fs::create_dir_all(root.join("logs"))?;
        let shape = options.shape();
        let mut ports = PortBlock::find(rand::random(), shape.ports())?;
        let mut plan = Plan::new(&root, host, secrets, &shape, &mut ports)?;
        let links = if options.linked { Links::lay(&mut plan).await? } else { Links::default() };
        let mut stack = Stack::new(plan.clone(), binaries.clone(), watchman, ports);
        let progress = Progress::silent();
        stack.start_databases(&progress).await?;
        if options.last_release {
            last_release::make_log(&plan).await?;
        }
        stack.start_programs(true, &progress).await?;
        if options.routers > 0 {
            RunFile::of(&plan, |name| stack.pid(name))?.write(&root)?;
        }
        let (stack, expected) = (Mutex::new(stack), StdMutex::default());
        let primaries = Primaries::of(&plan);
        Ok(Cluster { stack, plan, binaries, expected, primaries, links, disks })
    }

    /// A cluster that the tests of this program share.
    pub async fn shared(which: Shared) -> &'static Cluster {
        static CLUSTERS: [OnceCell<Cluster>; 3] = [const { OnceCell::const_new() }; 3];
        let default = Options::default();
        let (index, options) = match which {
            Shared::Default => (0, default),
            Shared::FourPartitions => (1, Options { partitions: 4, ..default }),
            Shared::SingleDatabase => (2, Options { single_database: true, ..default }),
        };
        let start = || async {
            let cluster = Cluster::start(options).await.expect("a shared cluster");
            cluster.expect_logs(&[SLOW]);
            cluster
        };
        CLUSTERS[index].get_or_init(start).await
    }

    /// Plan of the cluster: names, addresses, passwords.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The nodes that hold log and views.
    pub(super) fn primaries(&self) -> &Primaries {
        &self.primaries
    }

    /// Data folder.
    pub fn root(&self) -> &Path {
        &self.plan.root
    }

    // Breaking and mending. Names are those of the plan: `write`, `read` (or `primary`),
    // `replica-1`, `command-svc`, `command-svc-2`, `projector`, `query-svc`, `router`.

    /// SIGKILL to a program, or to a node with all its backends.
    pub async fn kill(&self, name: &str) {
        self.with(name, Process::kill).await;
    }

    /// Asks it to stop as `headwater up` does, and says whether it went by itself.
    pub async fn stop(&self, name: &str) -> bool {
        let mut stack = self.stack.lock().await;
        let process = stack.process(name).unwrap_or_else(|| panic!("'{name}' was never started"));
        let farewell = process.launch().farewell;
        process.stop(farewell, STOP).await
    }

    /// Stops everything in order, as `headwater up` does; gives the names of those that had to be
    /// killed.
    pub async fn shut_down(self) -> Vec<String> {
        self.stack.lock().await.stop(&Progress::silent()).await
    }

    /// Starts what was killed or stopped, and waits until it is ready.
    pub async fn start_again(&self, name: &str) -> anyhow::Result<()> {
        let mut stack = self.stack.lock().await;
        stack.clear(name).await?;
        stack.start(name)?;
        stack.ready(name).await
    }

    /// Starts what was killed or stopped, without waiting.
    pub async fn launch(&self, name: &str) -> anyhow::Result<()> {
        let mut stack = self.stack.lock().await;
        stack.clear(name).await?;
        stack.start(name)
    }

    /// SIGKILL, and at once a new start.
    pub async fn restart(&self, name: &str) -> anyhow::Result<()> {
        self.kill(name).await;
        self.start_again(name).await
    }

    /// SIGSTOP to a program, or to a node with all its backends: it hangs, its connections stay
    /// open.
    pub async fn pause(&self, name: &str) {
        self.with(name, |process| process.pause()).await;
    }

    /// Undoes [`Cluster::pause`].
    pub async fn resume(&self, name: &str) {
        self.with(name, |process| process.resume()).await;
    }

    /// Sets the condition of the links from a program to what it calls, if the cluster is `linked`.
    /// A name stands for all copies, and `*` for everybody.
    pub fn link(&self, from: &str, to: &str, line: Line) {
        self.links.set(from, to, line);
    }

    /// The file system of a node, if it has one of its own.
    pub fn disk(&self, node: &str) -> Option<&Disk> {
        self.disks.get(node)
    }

    /// Process number of a program.
    pub async fn pid(&self, name: &str) -> u32 {
        self.with(name, |process| process.pid()).await
    }

    /// True if the program's process runs.
    pub async fn is_running(&self, name: &str) -> bool {
        self.with(name, |process| process.exited().is_none()).await
    }

    /// The code that a program ended with by itself; `None` while it runs, or if a signal ended it.
    pub async fn exit_code(&self, name: &str) -> Option<i32> {
        self.with(name, |process| process.exited().and_then(|status| status.code())).await
    }

    async fn with<T>(&self, name: &str, act: impl FnOnce(&mut Process) -> T) -> T {
        let mut stack: MutexGuard<'_, Stack> = self.stack.lock().await;
        act(stack.process(name).unwrap_or_else(|| panic!("'{name}' was never started")))
    }

    // Talking to it.

    /// A channel to the router.
    pub fn router(&self) -> Channel {
        self.channel("router")
    }

    /// A channel to one program, past the router.
    pub fn channel(&self, program: &str) -> Channel {
        let address = self.grpc(program);
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        endpoint.expect("an address makes a URI").connect_lazy()
    }

    /// A program's gRPC address.
    pub fn grpc(&self, program: &str) -> SocketAddr {
        self.program(program).grpc
    }

    /// Reads a page of a program's admin port, such as `/metrics` or `/readyz`.
    pub async fn admin(&self, program: &str, path: &str) -> anyhow::Result<health::Answer> {
        health::get(self.program(program).admin, path).await
    }

    /// Runs `headwater <args>` on this cluster's data folder, and waits for its end.
    pub async fn headwater(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::new(self.binaries.join("headwater"));
        command.args(args).env("HEADWATER_DATA", self.root()).kill_on_drop(true);
        command.output().await.context("headwater cannot be run")
    }

    fn program(&self, name: &str) -> &Program {
        self.plan.program(name).unwrap_or_else(|| panic!("the cluster has no program '{name}'"))
    }

    // Its logs.

    /// Everything that a member has logged.
    pub fn log(&self, name: &str) -> String {
        let text = std::fs::read(self.log_file(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Lets lines of the programs' logs pass that hold these words; whoever breaks something says
    /// what it will look like.
    pub fn expect_logs(&self, words: &[&str]) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.extend(words.iter().map(|words| (*words).to_owned()));
    }

    /// Lines that no test declared, by program. Empty when all is well.
    pub fn alarming_logs(&self) -> Vec<String> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of = |program: &Program| {
            let lines = logs::alarming(&self.log_file(&program.name), &expected);
            lines.into_iter().map(|line| format!("{}: {line}", program.name)).collect::<Vec<_>>()
        };
        self.plan.programs.iter().flat_map(of).collect()
    }

    /// Fails on a warning or an error that was not declared. For shared clusters, which are never
    /// dropped.
    pub fn assert_quiet(&self) {
        let lines = self.alarming_logs();
        assert!(lines.is_empty(), "logged and not declared:\n{}", lines.join("\n"));
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.plan.logs().join(format!("{name}.log"))
    }

    fn show_logs(&self) {
        for name in self.plan.programs.iter().map(|program| &program.name) {
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the end of {name}'s log\n{}", last.join("\n"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The logs are read here, before the stack's own drop kills everything and the watchman
        // removes the folder, in which nothing may be mounted then.
        self.disks.clear();
        let stack = self.stack.get_mut();
        for node in &self.plan.nodes {
            if stack.process(&node.name).is_some_and(|process| process.exited().is_some()) {
                free_memory(&node.folder);
            }
        }
        if std::thread::panicking() {
            self.show_logs();
        } else {
            self.assert_quiet();
        }
    }
}

/// The folder of the programs: that of the test program itself. Fails if one of them is not there.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/deps/<test>
    let folder = own.ancestors().nth(2).context("a test lies in target/<profile>/deps")?;
    let needed = Kind::ALL.map(Kind::binary).into_iter().chain(["headwater"]);
    for name in needed {
        if !folder.join(name).exists() {
            bail!("{} lacks {name}: run `make test`, or cargo build --workspace", folder.display());
        }
    }
    Ok(folder.to_path_buf())
}

fn host() -> anyhow::Result<Host> {
    let given = std::env::var_os("HEADWATER_PG_BIN").map(PathBuf::from);
    let roots: Vec<PathBuf> = default_root().into_iter().collect();
    Host::find(Account::for_postgres()?, given.as_deref(), &roots, None)
}
