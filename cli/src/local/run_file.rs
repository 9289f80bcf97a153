//! `run.json` in the data folder: what runs now, for `status`, `call`, `tail` and the others, and
//! for the next `up` to clear away if this one is killed. It holds passwords, so only its owner may
//! read it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::local::data::{default_root, write_private};
use crate::local::plan::{Kind, Plan};
use crate::local::system::inspect;

const NAME: &str = "run.json";

/// The addresses of one running stack.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunFile {
    /// The process that supervises it.
    pub supervisor: Running,
    /// The one address for clients.
    pub router: SocketAddr,
    /// Partitions of the log.
    pub partitions: u16,
    /// Reads the log (`headwater status`, `tail`, `verify`).
    pub write_url: String,
    /// Reads the views: node's name and URL, the read primary first.
    pub read_urls: Vec<(String, String)>,
    /// The owner of the write database, for repairs.
    pub write_owner_url: String,
    /// The owner of the read database, for repairs and rebuilds.
    pub read_owner_url: String,
    /// Postgres nodes.
    pub nodes: Vec<NodeEntry>,
    /// Programs.
    pub programs: Vec<ProgramEntry>,
}

/// A process, told from later ones with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Process number; 0 if it was not running.
    pub pid: u32,
    /// Start time of the process, in the system's own terms.
    pub identity: Option<String>,
}

impl Running {
    /// The process with this number, as it is now.
    pub fn now(pid: u32) -> Running {
        Running { pid, identity: inspect::identity(pid) }
    }

    /// True if this very process still runs.
    pub fn is_alive(&self) -> bool {
        self.identity.is_some() && inspect::identity(self.pid) == self.identity
    }
}

/// A Postgres node.
#[derive(Clone, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Name of the node.
    pub name: String,
    /// Role of the node, in words.
    pub role: String,
    /// Address that the node listens on.
    pub address: SocketAddr,
}

/// A program.
#[derive(Clone, Serialize, Deserialize)]
pub struct ProgramEntry {
    /// Name: the binary's, with a number from the second copy on.
    pub name: String,
    /// Binary of the program.
    pub binary: String,
    /// Address of gRPC.
    pub grpc: SocketAddr,
    /// Address of the admin server: `/metrics`, `/livez`, `/readyz`.
    pub admin: SocketAddr,
    /// Process of the program.
    pub process: Running,
}

impl RunFile {
    /// Run file of a plan, with the processes as they are now.
    pub fn of(plan: &Plan, mut pid: impl FnMut(&str) -> u32) -> anyhow::Result<RunFile> {
        let is_router = |kind: Kind| kind == Kind::Router;
        let router = plan.programs.iter().find(|program| is_router(program.kind));
        let nodes = plan.nodes.iter().map(|node| NodeEntry {
            name: node.name.clone(),
            role: node.role.describe().to_owned(),
            address: node.address(),
        });
        let programs = plan.programs.iter().map(|program| ProgramEntry {
            name: program.name.clone(),
            binary: program.kind.binary().to_owned(),
            grpc: program.grpc,
            admin: program.admin,
            process: Running::now(pid(&program.name)),
        });
        Ok(RunFile {
            supervisor: Running::now(std::process::id()),
            router: router.context("a stack has a router")?.grpc,
            partitions: plan.partitions,
            write_url: plan.write_cli_url(),
            read_urls: plan.read_cli_urls(),
            write_owner_url: plan.write_owner_url(),
            read_owner_url: plan.read_owner_url(),
            nodes: nodes.collect(),
            programs: programs.collect(),
        })
    }

    /// Writes it to the data folder.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        write_private(&root.join(NAME), &serde_json::to_string_pretty(self)?)
    }

    /// Reads what runs on the given data folder, or on the default one.
    pub fn find(data: Option<PathBuf>) -> anyhow::Result<RunFile> {
        let root = data.map_or_else(default_root, Ok)?;
        let Some(run) = RunFile::read(&root)? else {
            anyhow::bail!("nothing runs on {}: start it with `headwater up`", root.display());
        };
        Ok(run)
    }

    /// Reads it; `None` if nothing runs, or ran and stopped cleanly.
    pub fn read(root: &Path) -> anyhow::Result<Option<RunFile>> {
        let path = root.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let run = serde_json::from_str(&text);
                run.map(Some).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Removes it: everything has stopped.
    pub(crate) fn remove(root: &Path) {
        // If it stays, the next start finds that none of its processes is alive.
        let _ = std::fs::remove_file(root.join(NAME));
    }
}
