//! Options of a test's cluster.

use std::path::PathBuf;

use headwater_cli::local::{Kind, Shape, Size, Variable};

/// The default is what `headwater up` starts: one partition, two databases, two replicas, one copy
/// of each program.
#[derive(Clone, Debug)]
pub struct Options {
    /// Partitions of the log.
    pub partitions: u16,
    /// Streaming replicas of the read primary.
    pub replicas: u16,
    /// Streaming standbys of the write primary.
    pub write_standbys: u16,
    /// Log and views in one database.
    pub single_database: bool,
    /// The log's schema is the last release's, not migrated.
    pub last_release: bool,
    /// Copies of command-svc; the second is called `command-svc-2`.
    pub command_svcs: u16,
    /// Copies of the projector.
    pub projectors: u16,
    /// Copies of query-svc.
    pub query_svcs: u16,
    /// Routers.
    pub routers: u16,
    /// Extra environment of programs.
    pub variables: Vec<Variable>,
    /// Size that each Postgres node may have. With fsync, as in production, unless a test asks
    /// otherwise.
    pub size: Size,
    /// Keep the data on a real disk, not in memory; whoever measures wants that.
    pub on_disk: bool,
    /// A link that can be cut between each program and all that it calls.
    pub linked: bool,
    /// Size of a file system of its own for each primary of two, where one can be mounted.
    pub disk_mib: Option<u32>,
    /// A folder to run on and to leave as it is at the end, instead of a new one that is removed;
    /// made if it is not there.
    pub kept: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            partitions: 1,
            replicas: 2,
            write_standbys: 0,
            single_database: false,
            last_release: false,
            command_svcs: 1,
            projectors: 1,
            query_svcs: 1,
            routers: 1,
            variables: Vec::new(),
            size: Size { shared_buffers_mib: 32, is_disposable: true, ..Size::LAPTOP },
            on_disk: false,
            linked: false,
            disk_mib: None,
            kept: None,
        }
    }
}

impl Options {
    /// Nodes with their schemas, and no programs.
    pub fn databases_only() -> Options {
        Options { command_svcs: 0, projectors: 0, query_svcs: 0, routers: 0, ..Options::default() }
    }

    /// Sets a variable for all copies of a program.
    pub fn set(mut self, kind: Kind, name: &str, value: &str) -> Options {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.variables.push(Variable { kind: Some(kind), name, value });
        self
    }

    pub(super) fn shape(&self) -> Shape {
        // Logs in JSON, so that a line's level can be told for sure.
        let for_all = [("HEADWATER_LOG_FORMAT", "json"), ("RUST_BACKTRACE", "1")];
        let for_all = for_all.map(|(name, value)| {
            let (name, value) = (name.to_owned(), value.to_owned());
            Variable { kind: None, name, value }
        });
        Shape {
            replicas: self.replicas,
            write_standbys: self.write_standbys,
            partitions: self.partitions,
            single_database: self.single_database,
            copies: vec![
                (Kind::CommandSvc, self.command_svcs),
                (Kind::Projector, self.projectors),
                (Kind::QuerySvc, self.query_svcs),
                (Kind::Router, self.routers),
            ],
            router_listen: None,
            variables: for_all.into_iter().chain(self.variables.iter().cloned()).collect(),
            size: self.size,
        }
    }
}
