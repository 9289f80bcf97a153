//! One Postgres node: what it is, how it is started, and when it answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_postgres::{Client, NoTls};

use super::host::Host;
use super::settings::{FILE, Settings};
use super::users::Login;
use crate::local::data::write_private;
use crate::local::system::{Farewell, Launch, Process};

/// A replay of a gigabyte of WAL after a crash takes about a minute on a laptop.
const ACCEPTING: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(25);

/// Part that a node plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds the log.
    WritePrimary,
    /// Holds the views.
    ReadPrimary,
    /// Holds both: single-database mode.
    SinglePrimary,
    /// Follows the primary that holds the views.
    Replica,
    /// Follows the write primary, to be promoted should that die.
    WriteStandby,
}

impl Role {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Role::WritePrimary => "write primary",
            Role::ReadPrimary => "read primary",
            Role::SinglePrimary => "write and read primary",
            Role::Replica => "read replica",
            Role::WriteStandby => "write standby",
        }
    }

    /// True if the node follows another one.
    pub(crate) fn is_standby(self) -> bool {
        matches!(self, Role::Replica | Role::WriteStandby)
    }

    /// True if the views can be read here.
    pub fn shows_views(self) -> bool {
        self.holds_views() || self == Role::Replica
    }

    /// True if the log is migrated here.
    pub fn holds_log(self) -> bool {
        matches!(self, Role::WritePrimary | Role::SinglePrimary)
    }

    /// True if the views are migrated here.
    pub fn holds_views(self) -> bool {
        matches!(self, Role::ReadPrimary | Role::SinglePrimary)
    }
}

/// A node of the plan.
#[derive(Clone)]
pub struct Node {
    /// Also the name of its folder.
    pub name: String,
    /// Part that the node plays.
    pub role: Role,
    /// Data folder.
    pub folder: PathBuf,
    /// Settings that the server is started with.
    pub settings: Settings,
    /// Logins of programs that are granted what the migrations make here; none on a replica.
    pub logins: Vec<Login>,
}

impl Node {
    /// Address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// Connection URL of the given user for the given database on the node.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let address = self.address();
        format!("postgres://{user}:{password}@{address}/{database}")
    }

    /// True if the data folder has been made (whole: see [`super::init`]).
    pub(crate) fn exists(&self) -> bool {
        self.folder.join("PG_VERSION").exists()
    }

    /// Writes its settings, as every start does: ports may have changed.
    pub(crate) fn configure(&self, host: &Host) -> anyhow::Result<()> {
        let path = self.folder.join(FILE);
        write_private(&path, &self.settings.render())?;
        host.hand_over(&path)
    }

    /// Command line of the server. We are its parent: pg_ctl would let it loose.
    pub(crate) fn launch(&self, host: &Host, logs: &Path) -> Launch {
        Launch {
            name: self.name.clone(),
            executable: host.installation.program("postgres"),
            args: vec!["-D".to_owned(), self.folder.display().to_string()],
            env: Host::environment(),
            account: host.account.clone(),
            log: logs.join(format!("{}.log", self.name)),
            output: logs.join(format!("{}.out", self.name)),
            farewell: Farewell::Fast,
        }
    }
}

/// Waits until the node answers a statement; fails early, with the end of its log, if it stops.
pub(crate) async fn accepting(process: &mut Process, url: &str) -> anyhow::Result<Client> {
    let until = Instant::now() + ACCEPTING;
    loop {
        if let Some(status) = process.exited() {
            bail!("{} stopped at its start ({status}):\n{}", name(process), process.log_tail());
        }
        let last = match connect(url).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if Instant::now() > until {
            let within = format!("{} does not answer within {ACCEPTING:?}", name(process));
            return Err(last.context(format!("{within}:\n{}", process.log_tail())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Connects, and lets the connection live as long as the client does.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let connected = tokio::time::timeout(CONNECT, tokio_postgres::connect(url, NoTls)).await;
    let (client, connection) = connected.context("no answer")?.context("cannot connect")?;
    // Its error reaches the client as well, by the call that it fails.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client.simple_query("SELECT 1").await?;
    Ok(client)
}

fn name(process: &Process) -> &str {
    &process.launch().name
}
