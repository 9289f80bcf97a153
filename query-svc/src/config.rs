//! The query server's settings: the one place where its environment is read.

use std::time::Duration;

use headwater_chassis::{Common, ConfigErrors, Settings};

use crate::node::connection::Address;
use crate::pick::NODES_MAX;

/// What the query server is told.
pub struct Config {
    /// What every program is told.
    pub common: Common,
    /// The nodes of the read database.
    pub nodes: Vec<Address>,
    /// Connections of each node for lists and transactions.
    pub connections: usize,
    /// Longest wait for a node that is fresh enough.
    pub wait_max: Duration,
    /// Time between probes of a node.
    pub probe_every: Duration,
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        Self::read(Settings::from_process("query-svc"))
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(mut settings: Settings) -> Result<Self, ConfigErrors> {
        let config = Self::read_all(&mut settings);
        settings.finish(config)
    }

    fn read_all(s: &mut Settings) -> Option<Self> {
        let common = Common::read(s, "127.0.0.1:50052", "127.0.0.1:9052");
        let nodes = nodes(s);
        let connections = s.in_range(
            "HEADWATER_NODE_CONNECTIONS",
            "8",
            1..=100,
            "connections to each node for lists; three more carry point reads and probes",
        );
        let wait_ms_max: Option<u64> = s.in_range(
            "HEADWATER_WAIT_MS_MAX",
            "2000",
            1..=60_000,
            "longest wait in ms for a node that is as fresh as a query asks",
        );
        let probe_every = s.millis(
            "HEADWATER_PROBE_MS",
            "250",
            10..=10_000,
            "time between looks at each node while no query waits",
        );
        Some(Self {
            common: common?,
            nodes: nodes?,
            connections: connections?,
            wait_max: Duration::from_millis(wait_ms_max?),
            probe_every: probe_every?,
        })
    }
}

fn nodes(settings: &mut Settings) -> Option<Vec<Address>> {
    const NAME: &str = "HEADWATER_READ_URLS";
    let urls = settings.secrets(
        NAME,
        None,
        "Postgres URLs of read primary and replicas, separated by commas; roles are found out",
    )?;
    if urls.len() > NODES_MAX {
        settings.mistake(NAME, format!("at most {NODES_MAX} nodes, not {}", urls.len()));
    }
    let mut nodes = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        match Address::parse(url) {
            Ok(address) => nodes.push(address),
            Err(problem) => settings.mistake(NAME, format!("URL {}: {problem}", index + 1)),
        }
    }
    (nodes.len() == urls.len()).then_some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(Settings::from_parts("query-svc", vars, []))
    }

    #[test]
    fn nodes_are_named_by_host_and_port() {
        let urls = "postgres://q:pw@a.example/db, host=b.example port=6000 user=q,\
                    postgres:///db?host=/run/pg";
        let config = read(&[("HEADWATER_READ_URLS", urls)]).expect("a configuration");
        let names: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a.example:5432", "b.example:6000", "/run/pg:5432"]);
    }

    #[test]
    fn mistakes_are_reported_together_and_without_secrets() {
        let urls = "postgres://q:hunter2@a,b/db,nonsense hunter2";
        let vars = [
            ("HEADWATER_READ_URLS", urls),
            ("HEADWATER_WAIT_MS_MAX", "0"),
            ("HEADWATER_PROBE_MS", "soon"),
        ];
        let errors = read(&vars).err().expect("mistakes");
        let text = errors.to_string();
        assert!(errors.mistakes().len() >= 3, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn urls_are_required() {
        let errors = read(&[]).err().expect("a mistake");
        assert!(errors.to_string().contains("HEADWATER_READ_URLS"), "{errors}");
    }
}
