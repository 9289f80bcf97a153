//! Plan of a local stack, decided before anything is started. Pure: ports, passwords and folders
//! come in as data.

pub mod logins;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::local::postgres::users::{DATABASE, OWNER, SUPERUSER};
use crate::local::postgres::{Host, Node, Role, Settings, Size, Upstream};
use crate::local::secrets::Secrets;
use crate::local::system::{Farewell, Launch, PortBlock};

/// More replicas than this on one machine serve no purpose, and each takes a slot and a WAL sender.
pub(crate) const REPLICAS_MAX: u16 = 8;

/// A program of headwater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Decides and appends.
    CommandSvc,
    /// Applies the log to the views.
    Projector,
    /// Answers queries.
    QuerySvc,
    /// The one address for clients.
    Router,
}

impl Kind {
    /// In the order in which they are started.
    pub const ALL: [Kind; 4] = [Kind::CommandSvc, Kind::Projector, Kind::QuerySvc, Kind::Router];

    /// Name of its binary.
    pub fn binary(self) -> &'static str {
        match self {
            Kind::CommandSvc => "command-svc",
            Kind::Projector => "projector",
            Kind::QuerySvc => "query-svc",
            Kind::Router => "router",
        }
    }

    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Kind::CommandSvc => "commands",
            Kind::Projector => "log to views",
            Kind::QuerySvc => "queries",
            Kind::Router => "the address for clients",
        }
    }
}

/// Threads of each program: they share this machine with each other and with as many Postgres
/// nodes, and a thread that hands its work to another one costs more than it gains (BENCHMARKS.md
/// has the pairs).
fn threads_each() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 4).max(1))
}

/// Variable that a program reads its number of threads from. The router's are runtimes of their
/// own.
fn threads_variable(kind: Kind) -> &'static str {
    match kind {
        Kind::Router => "HEADWATER_THREADS",
        Kind::CommandSvc | Kind::Projector | Kind::QuerySvc => "TOKIO_WORKER_THREADS",
    }
}

/// A variable for the environment of some programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The programs that get it; all if `None`.
    pub kind: Option<Kind>,
    /// Name, prefix included.
    pub name: String,
    /// Value of the variable.
    pub value: String,
}

/// Size and kind of the stack that somebody wants to run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Streaming replicas of the read primary.
    pub replicas: u16,
    /// Streaming standbys of the write primary; none in a single database, where any replica is.
    pub write_standbys: u16,
    /// Partitions of the log.
    pub partitions: u16,
    /// Log and views in one database.
    pub single_database: bool,
    /// Number of copies of each program; the first is called like its binary, the others
    /// `<binary>-2` and so on.
    pub copies: Vec<(Kind, u16)>,
    /// The first router's address; from the block of ports if `None`.
    pub router_listen: Option<SocketAddr>,
    /// Extra environment; wins over what the plan sets.
    pub variables: Vec<Variable>,
    /// Size that each Postgres node may have.
    pub size: Size,
}

impl Shape {
    /// Number of ports that the stack needs.
    pub fn ports(&self) -> u16 {
        let programs: u16 = self.copies.iter().map(|(_, count)| count * 2).sum();
        self.replicas + self.write_standbys + 2 + programs
    }
}

/// A program of the plan.
#[derive(Clone)]
pub struct Program {
    /// Unique in the stack.
    pub name: String,
    /// Program that runs.
    pub kind: Kind,
    /// Address of gRPC.
    pub grpc: SocketAddr,
    /// Address of the admin server: metrics, liveness, readiness.
    pub admin: SocketAddr,
    /// Environment of the process.
    pub env: Vec<(String, String)>,
}

impl Program {
    /// Command line, environment and log file of the process.
    pub fn launch(&self, binaries: &Path, logs: &Path) -> Launch {
        Launch {
            name: self.name.clone(),
            executable: binaries.join(self.kind.binary()),
            args: Vec::new(),
            env: self.env.clone(),
            account: None,
            log: logs.join(format!("{}.log", self.name)),
            output: logs.join(format!("{}.out", self.name)),
            farewell: Farewell::Drain,
        }
    }
}

/// A whole stack.
#[derive(Clone)]
pub struct Plan {
    /// The data folder.
    pub root: PathBuf,
    /// Installation and account that Postgres is run with.
    pub host: Host,
    /// Passwords.
    pub secrets: Secrets,
    /// Partitions of the log.
    pub partitions: u16,
    /// Primaries first.
    pub nodes: Vec<Node>,
    /// In the order in which they are started.
    pub programs: Vec<Program>,
}

impl Plan {
    /// Lays out nodes and programs over folders and ports.
    pub fn new(
        root: &Path,
        host: Host,
        secrets: Secrets,
        shape: &Shape,
        ports: &mut PortBlock,
    ) -> anyhow::Result<Plan> {
        let (partitions, root) = (shape.partitions, root.to_path_buf());
        let mut plan =
            Plan { root, host, secrets, partitions, nodes: Vec::new(), programs: Vec::new() };
        plan.add_nodes(shape, ports)?;
        plan.add_programs(shape, ports)?;
        plan.tell_where_the_router_is();
        Ok(plan)
    }

    fn add_nodes(&mut self, shape: &Shape, ports: &mut PortBlock) -> anyhow::Result<()> {
        let (first, second) = (ports.take()?, ports.take()?);
        let both = [("primary", Role::SinglePrimary, first)];
        let separate = [("write", Role::WritePrimary, first), ("read", Role::ReadPrimary, second)];
        let primaries: &[_] = if shape.single_database { &both } else { &separate };
        for (name, role, address) in primaries {
            let settings = Settings { address: *address, size: shape.size, upstream: None };
            self.add_node((*name).to_owned(), *role, settings);
        }
        let primary = if shape.single_database { first } else { second };
        let write_standbys = if shape.single_database { 0 } else { shape.write_standbys };
        for (role, name, count, primary) in [
            (Role::Replica, "replica", shape.replicas, primary),
            (Role::WriteStandby, "write-standby", write_standbys, first),
        ] {
            for number in 1..=count {
                let name = format!("{name}-{number}");
                let upstream = Some(self.upstream(primary, &name));
                let settings = Settings { address: ports.take()?, size: shape.size, upstream };
                self.add_node(name, role, settings);
            }
        }
        Ok(())
    }

    /// Settings by which a node of this name follows the one at this address.
    pub fn upstream(&self, address: SocketAddr, name: &str) -> Upstream {
        let (password, slot) = (self.secrets.replication.clone(), name.replace('-', "_"));
        Upstream { address, password, slot }
    }

    fn add_node(&mut self, name: String, role: Role, settings: Settings) {
        let logins = logins::on(role, &self.secrets);
        let folder = self.root.join(&name);
        self.nodes.push(Node { name, role, folder, settings, logins });
    }

    fn add_programs(&mut self, shape: &Shape, ports: &mut PortBlock) -> anyhow::Result<()> {
        for kind in Kind::ALL {
            let copies = shape.copies.iter().find(|(of, _)| *of == kind).map_or(1, |(_, n)| *n);
            for number in 1..=copies {
                let name = match number {
                    1 => kind.binary().to_owned(),
                    _ => format!("{}-{number}", kind.binary()),
                };
                let mut grpc = ports.take()?;
                let admin = ports.take()?;
                if let (Kind::Router, 1, Some(given)) = (kind, number, shape.router_listen) {
                    grpc = given;
                }
                let mut env = vec![
                    ("HEADWATER_LISTEN".to_owned(), grpc.to_string()),
                    ("HEADWATER_ADMIN_LISTEN".to_owned(), admin.to_string()),
                ];
                env.push((threads_variable(kind).to_owned(), threads_each().to_string()));
                env.extend(self.environment(kind));
                let extra = shape.variables.iter().filter(|v| v.kind.is_none_or(|of| of == kind));
                env.extend(extra.map(|v| (v.name.clone(), v.value.clone())));
                self.programs.push(Program { name, kind, grpc, admin, env });
            }
        }
        Ok(())
    }

    /// Command services ask through it how far the read side has come. Its address is known only
    /// once every program has its ports.
    fn tell_where_the_router_is(&mut self) {
        let router = self.programs.iter().find(|program| program.kind == Kind::Router);
        let Some(url) = router.map(|router| format!("http://{}", router.grpc)) else { return };
        for program in self.programs.iter_mut().filter(|p| p.kind == Kind::CommandSvc) {
            // In front: what is given by hand comes later and wins.
            program.env.insert(0, ("HEADWATER_SYNC_URL".to_owned(), url.clone()));
        }
    }

    fn environment(&self, kind: Kind) -> Vec<(String, String)> {
        let secrets = &self.secrets;
        let set = |name: &str, value: String| (name.to_owned(), value);
        match kind {
            Kind::CommandSvc => {
                vec![set("HEADWATER_WRITE_URL", self.write_url(logins::COMMAND, &secrets.command))]
            }
            Kind::Projector => {
                let (user, password) = (logins::PROJECTOR, &secrets.projector);
                vec![
                    set("HEADWATER_WRITE_URL", self.write_url(user, password)),
                    set("HEADWATER_READ_URL", self.url_of(Role::shows_views, user, password)),
                ]
            }
            Kind::QuerySvc => {
                let urls = self.read_urls(logins::QUERY, &secrets.query);
                let urls: Vec<String> = urls.into_iter().map(|(_, url)| url).collect();
                vec![
                    set("HEADWATER_READ_URLS", urls.join(",")),
                    set("HEADWATER_WRITE_URL", self.write_url(logins::QUERY, &secrets.query)),
                ]
            }
            Kind::Router => vec![
                set("HEADWATER_COMMAND_UPSTREAMS", self.upstreams(Kind::CommandSvc)),
                set("HEADWATER_QUERY_UPSTREAMS", self.upstreams(Kind::QuerySvc)),
            ],
        }
    }

    fn upstreams(&self, kind: Kind) -> String {
        let programs = self.programs.iter().filter(|program| program.kind == kind);
        programs.map(|program| program.grpc.to_string()).collect::<Vec<_>>().join(",")
    }

    fn write_url(&self, user: &str, password: &str) -> String {
        let may_hold_log = |role: Role| match role {
            Role::WritePrimary | Role::WriteStandby | Role::SinglePrimary => true,
            Role::Replica => self.log_primary().role == Role::SinglePrimary,
            Role::ReadPrimary => false,
        };
        self.url_of(may_hold_log, user, password)
    }

    /// Names all nodes of a database, of which the one that takes writes is found, whichever is
    /// promoted.
    fn url_of(&self, is_of_it: impl Fn(Role) -> bool, user: &str, password: &str) -> String {
        let nodes = self.nodes.iter().filter(|node| is_of_it(node.role));
        let addresses: Vec<String> = nodes.map(|node| node.address().to_string()).collect();
        format!("postgres://{user}:{password}@{}/{DATABASE}", addresses.join(","))
    }

    /// Every node that holds views, primary first, with the URL of a user.
    fn read_urls(&self, user: &str, password: &str) -> Vec<(String, String)> {
        let nodes = self.nodes.iter().filter(|node| node.role.shows_views());
        nodes.map(|node| (node.name.clone(), node.url(user, password, DATABASE))).collect()
    }

    /// The folder of everybody's logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The node that holds the log.
    pub fn log_primary(&self) -> &Node {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.role.holds_log()).expect("every plan has a log")
    }

    /// The primary that holds the views.
    pub fn view_primary(&self) -> &Node {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.role.holds_views()).expect("every plan has views")
    }

    /// The owner's way to the log.
    pub fn write_owner_url(&self) -> String {
        self.log_primary().url(OWNER, &self.secrets.owner, DATABASE)
    }

    /// The owner's way to the views.
    pub fn read_owner_url(&self) -> String {
        self.view_primary().url(OWNER, &self.secrets.owner, DATABASE)
    }

    /// The superuser's way to a node.
    pub fn superuser_url(&self, node: &Node, database: &str) -> String {
        node.url(SUPERUSER, &self.secrets.superuser, database)
    }

    /// The way of `status`, `tail` and `verify` to the log: reading only.
    pub(crate) fn write_cli_url(&self) -> String {
        self.write_url(logins::CLI, &self.secrets.cli)
    }

    /// Connection URLs of the nodes that hold views, primary first, by node.
    pub(crate) fn read_cli_urls(&self) -> Vec<(String, String)> {
        self.read_urls(logins::CLI, &self.secrets.cli)
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// A program by its name.
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }
}

#[cfg(test)]
mod tests;
