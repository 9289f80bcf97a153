//! Postgres servers of a test's own, with data in a folder that goes when they go.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use super::eventually;

/// Durability off, since nothing outlives the test; replication on.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
wal_level = replica
max_wal_senders = 5
wal_retrieve_retry_interval = 100ms
hot_standby_feedback = on
max_standby_streaming_delay = 100ms
";

/// Data of a server that was never started, copied for each new one: making it takes ten times as
/// long. It goes with the last server that was made of it.
static TEMPLATE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());

/// One server, running or stopped.
pub struct Postgres {
    folder: TempDir,
    _template: Arc<TempDir>,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// A new database server.
    pub fn init() -> Self {
        let (template, folder) = (template(), folder());
        run(command("cp").arg("-a").args([data(&template), data(&folder)]));
        let mut server = Self { folder, _template: template, port: free_port(), child: None };
        server.start();
        server
    }

    /// A streaming replica of this one.
    pub fn replicate(&self) -> Self {
        let folder = folder();
        let source = format!("host=127.0.0.1 port={} user=postgres", self.port);
        run(command("pg_basebackup")
            .args(["-R", "-X", "stream", "--checkpoint=fast", "--no-sync", "-d", &source, "-D"])
            .arg(data(&folder)));
        let _template = Arc::clone(&self._template);
        let mut server = Self { folder, _template, port: free_port(), child: None };
        server.start();
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, user: &str) -> String {
        url(user, self.port)
    }

    /// Host and port, as the pool names it.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it and waits until it accepts connections.
    pub fn start(&mut self) {
        let log = File::create(self.folder.path().join("log")).unwrap();
        let port = self.port.to_string();
        let child = command("postgres")
            .args(["-p", &port, "-D"])
            .arg(data(&self.folder))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        run(command("timeout").args(["30", "sh", "-c"]).arg(format!(
            "until {} -q -h 127.0.0.1 -p {port}; do sleep 0.02; done",
            bin("pg_isready").display()
        )));
    }

    /// Ends it as a crash would: connections break, and the next start recovers.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process(Pid::from_child(&child), Signal::QUIT);
            child.wait().unwrap();
        }
    }

    /// A superuser's connection.
    pub async fn admin(&self) -> Client {
        self.connect("postgres").await
    }

    pub async fn connect(&self, user: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(user), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn run(&self, sql: &str) {
        self.admin().await.batch_execute(sql).await.unwrap();
    }

    /// Makes a replica take writes.
    pub async fn promote(&self) {
        let admin = self.admin().await;
        admin.execute("SELECT pg_promote(false)", &[]).await.unwrap();
        eventually("it is promoted", async || {
            let row = admin.query_one("SELECT NOT pg_is_in_recovery()", &[]).await.unwrap();
            row.get(0)
        })
        .await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn url(user: &str, port: u16) -> String {
    format!("postgres://{user}@127.0.0.1:{port}/postgres")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn template() -> Arc<TempDir> {
    let mut known = TEMPLATE.lock().unwrap();
    if let Some(template) = known.upgrade() {
        return template;
    }
    let template = Arc::new(folder());
    let data = data(&template);
    run(command("initdb").args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"]).arg(&data));
    let settings = data.join("postgresql.conf");
    let all = std::fs::read_to_string(&settings).unwrap() + SETTINGS;
    std::fs::write(&settings, all).unwrap();
    *known = Arc::downgrade(&template);
    template
}

fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("headwater-query-").tempdir().unwrap();
    if let Some((user, group)) = postgres_user() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// Postgres refuses to run as root; then it runs as its own user.
fn postgres_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> = line.expect("a user postgres").split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn command(program: &str) -> Command {
    let mut command = Command::new(bin(program));
    command.stdin(Stdio::null()).current_dir("/");
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The newest server that the distribution has, or whatever is in the path.
fn bin(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    versions
        .map(|version| version.path())
        .filter(|version| version.join("bin").join(program).exists())
        .max_by_key(number)
        .map_or_else(|| Path::new(program).to_owned(), |found| found.join("bin").join(program))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
