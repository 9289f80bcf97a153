//! Options of `headwater up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::local::{Kind, Layout, REPLICAS_MAX, Shape, Size, Variable};

/// Passed on to the programs if set: how they log and trace, and how long they drain.
const PASSED_ON: [&str; 5] = [
    "HEADWATER_LOG",
    "HEADWATER_LOG_FORMAT",
    "HEADWATER_OTLP_ENDPOINT",
    "HEADWATER_TRACE_RATIO",
    "HEADWATER_SHUTDOWN_MS",
];

/// Runs all of headwater on this machine until Ctrl-C: two Postgres primaries, replicas, and every
/// program. Data is kept; the next `up` goes on with it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Data folder [default: /var/lib/headwater for root, else ~/.local/share/headwater].
    #[arg(long, env = "HEADWATER_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The address for clients. Port 0 takes one of the other ports' block.
    #[arg(long, default_value = "127.0.0.1:50050")]
    pub(crate) router_listen: SocketAddr,
    /// First of 64 ports for everything else [default: chosen by the data folder's name, and the
    /// next free block if somebody has it].
    #[arg(long)]
    pub(crate) port_base: Option<u16>,
    /// Streaming replicas of the read primary.
    #[arg(long, default_value_t = 2, value_parser = up_to(REPLICAS_MAX))]
    pub(crate) replicas: u16,
    /// Partitions of the log; fixed when the data folder is made [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) partitions: Option<u16>,
    /// Log and views in one database; fixed when the data folder is made.
    #[arg(long)]
    pub(crate) single_database: bool,
    /// Start anew: removes all data of the folder first (asks).
    #[arg(long)]
    pub(crate) wipe: bool,
    /// Do not ask before wiping.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not wait until everything is healthy.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Folder of the PostgreSQL server programs to use [default: the newest found].
    #[arg(long, env = "HEADWATER_PG_BIN")]
    pub(crate) pg_bin: Option<PathBuf>,
    /// A setting for a program, such as command-svc:HEADWATER_QUEUE_MAX=5000; may be repeated.
    #[arg(long = "set", value_name = "PROGRAM:NAME=VALUE", value_parser = parse_variable)]
    pub(crate) variables: Vec<Variable>,
    /// Folder of the programs [default: where this one is].
    #[arg(long, hide = true)]
    pub(crate) bin_dir: Option<PathBuf>,
}

impl Options {
    /// The stack that is wanted, given how the data folder was made.
    pub(crate) fn shape(&self, layout: &Layout) -> Shape {
        let passed_on = PASSED_ON.iter().filter_map(|name| {
            let (kind, name) = (None, (*name).to_owned());
            std::env::var(&name).ok().map(|value| Variable { kind, name, value })
        });
        Shape {
            replicas: self.replicas,
            write_standbys: 0,
            partitions: layout.partitions,
            single_database: layout.single_database,
            copies: Vec::new(),
            router_listen: (self.router_listen.port() != 0).then_some(self.router_listen),
            variables: passed_on.chain(self.variables.iter().cloned()).collect(),
            size: Size::LAPTOP,
        }
    }
}

fn up_to(max: u16) -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(0..=i64::from(max))
}

fn parse_variable(text: &str) -> anyhow::Result<Variable> {
    let (program, rest) = text.split_once(':').context("it lacks the program and a colon")?;
    let (name, value) = rest.split_once('=').context("it lacks a = and a value")?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.binary() == program) else {
        bail!("there is no program '{program}'");
    };
    Ok(Variable { kind: Some(kind), name: name.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_names_its_program() {
        let parsed = parse_variable("query-svc:HEADWATER_PROBE_MS=50").expect("well formed");
        assert_eq!(parsed.kind, Some(Kind::QuerySvc));
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("HEADWATER_PROBE_MS", "50"));
        for wrong in ["HEADWATER_PROBE_MS=50", "query-svc:HEADWATER_PROBE_MS", "database:A=b"] {
            assert!(parse_variable(wrong).is_err(), "{wrong}");
        }
    }
}
