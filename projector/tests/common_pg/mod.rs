//! A Postgres server for tests: on a free port of 127.0.0.1, in a folder of its own, gone when the
//! last test drops it.
#![allow(dead_code)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// A running server.
pub struct Postgres {
    folder: TempDir,
    port: u16,
    user: Option<(u32, u32)>,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

/// The server that the tests of a process share; it stops with the last of them.
pub fn shared() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().expect("no test panicked here");
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Postgres::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

impl Postgres {
    /// A server of its own.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("headwater-pg").expect("a folder");
        // It refuses to run as root.
        let user = rustix::process::getuid().is_root().then(postgres_user);
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("given to the server's user");
        }
        let port = {
            let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
            probe.local_addr().expect("bound").port()
        };
        let (process, databases) = (Mutex::new(None), AtomicU32::new(0));
        let server = Self { folder, port, user, process, databases };
        let mut initdb = server.command("initdb");
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.arg("-D").arg(server.data()).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.up();
        server
    }

    /// Starts the server process and waits until it answers.
    pub fn up(&self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        command.arg("-k").arg(self.folder.path());
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        let process = command.stdout(Stdio::null()).stderr(log).spawn().expect("postgres runs");
        *self.process.lock().expect("no panic") = Some(process);
        self.eventually_answers();
    }

    fn eventually_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            #[expect(clippy::disallowed_methods, reason = "servers are started without a runtime")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server process like a crash.
    pub fn crash(&self) {
        if let Some(mut process) = self.process.lock().expect("no panic").take() {
            let pid = Pid::from_child(&process);
            kill_process(pid, Signal::QUIT).expect("it runs");
            process.wait().expect("it ends");
        }
    }

    /// Creates a database and answers its owner's URL.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        sql(&self.url("postgres"), &format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn answers(&self) -> bool {
        let mut probe = self.command("pg_isready");
        let address = ["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()];
        probe.args(address).status().expect("pg_isready runs").success()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binaries().join(program));
        // The server's user may not read the folder the test was started in.
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Runs statements as the owner.
pub async fn sql(url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connected");
    let connection = tokio::spawn(connection);
    client.batch_execute(statements).await.expect(statements);
    connection.abort();
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> = line.expect("a user named postgres").split(':').collect();
    (fields[2].parse().expect("a uid"), fields[3].parse().expect("a gid"))
}

/// Where the server's binaries are: of a Debian package the newest version, else wherever PATH has
/// them.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.retain(|path| path.join("postgres").exists());
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    versions.pop().or(on_path).unwrap_or_else(|| Path::new("").to_owned())
}
