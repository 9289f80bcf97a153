//! One Postgres without replicas, gone when dropped: all that a domain's own test needs.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headwater_cli::local::{Account, Host, PortBlock, connect};
use tempfile::TempDir;

/// A running server.
pub struct Postgres {
    host: Host,
    folder: TempDir,
    address: SocketAddr,
    _ports: PortBlock,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub async fn start() -> Self {
        let account = Account::for_postgres().expect("a user for Postgres");
        let given = std::env::var_os("HEADWATER_PG_BIN").map(PathBuf::from);
        let host = Host::find(account, given.as_deref(), &[], None).expect("Postgres");
        let folder = TempDir::with_prefix("headwater-test").expect("a folder");
        if let Some(account) = &host.account {
            account.own(folder.path()).expect("handed over");
        }
        let mut ports = PortBlock::find(rand::random(), 1).expect("free ports");
        let address = ports.take().expect("a free port");
        let mut postgres = Self { host, folder, address, _ports: ports, server: None };

        let initdb = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"];
        let made = postgres.program("initdb").args(initdb).status().expect("initdb runs");
        assert!(made.success(), "initdb failed");
        let socket = postgres.folder.path().display().to_string();
        let (port, listen) = (address.port().to_string(), "listen_addresses=127.0.0.1");
        let args = ["-p", &port, "-k", &socket, "-c", listen, "-c", "fsync=off"];
        postgres.server = Some(postgres.program("postgres").args(args).spawn().expect("started"));

        let until = Instant::now() + Duration::from_secs(60);
        while let Err(error) = connect(&postgres.url()).await {
            assert!(Instant::now() < until, "Postgres does not answer: {error:#}");
            // tidy: allow sleep: between two looks, within the bound
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        postgres
    }

    /// The only database, as its superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    /// Carries out SQL as the superuser.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn run(&self, sql: &str) {
        let client = connect(&self.url()).await.expect("a connection");
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// One of its programs, on its data folder.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.host.installation.program(name));
        command.arg("-D").arg(self.folder.path().join("data")).current_dir("/");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(account) = &self.host.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.program("pg_ctl").args(["-m", "immediate", "stop"]).status();
        let Some(mut server) = self.server.take() else { return };
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = server.kill();
        }
        let _ = server.wait();
    }
}
