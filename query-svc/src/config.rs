//! The query server's settings: the one place where its environment is read.

use std::time::Duration;

use headwater_chassis::{Common, ConfigErrors, Invocation, Settings};
use headwater_edge::{Policies, queries};
use headwater_eventlog::Servers;

use crate::choice::NO_LIMIT;
use crate::nodes::Address;
use crate::read::WAITING_MAX;
use crate::seen::NODES_MAX;

const ABOUT: &str = "Answers queries from the nodes of the read database";

/// Settings of a query server.
pub struct Config {
    /// Settings that every program has.
    pub common: Common,
    /// The nodes of the read database.
    pub nodes: Vec<Address>,
    /// Connections of each node for lists and transactions.
    pub connections: usize,
    /// Longest wait for a node that is fresh enough.
    pub wait_max: Duration,
    /// Calls that may wait for such a node at once.
    pub waiting_max: u32,
    /// Time between probes of a node.
    pub probe_every: Duration,
    /// Fallback quota of the read primary, in percent of what replicas answer.
    pub primary_share: u8,
    /// The servers of the write database, for the end of the log and the time; without them there
    /// are no strong reads.
    pub write: Option<Servers>,
    /// Policy of each method.
    pub policies: Policies,
}

impl Config {
    /// Reads the settings of this process; policies name the queries of the encoded descriptor set.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_process(descriptors: &[u8]) -> Result<Self, ConfigErrors> {
        Self::read(Invocation::from_process("query-svc"), descriptors)
    }

    /// Reads the settings, likewise.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(invocation: Invocation, descriptors: &[u8]) -> Result<Self, ConfigErrors> {
        invocation.read(ABOUT, |settings| Self::read_all(settings, descriptors))
    }

    fn read_all(s: &mut Settings, descriptors: &[u8]) -> Option<Self> {
        let common = Common::read(s, "127.0.0.1:50052", "127.0.0.1:9052");
        s.group("Read database");
        let nodes = nodes(s);
        let connections = s.in_range(
            "HEADWATER_NODE_CONNECTIONS",
            "8",
            1..=100,
            "connections to each node for lists; three more carry point reads and probes",
        );
        let wait_max = s.millis(
            "HEADWATER_WAIT_MS_MAX",
            "2000",
            1..=60_000,
            "longest wait for a node that is as fresh as a query asks",
        );
        let waiting_max = s.in_range(
            "HEADWATER_READS_WAITING_MAX",
            &WAITING_MAX.to_string(),
            1..=1_000_000,
            "queries that may wait for such a node at once; more are refused with a delay",
        );
        let probe_every = s.millis(
            "HEADWATER_PROBE_MS",
            "250",
            10..=10_000,
            "time between looks at each node while no query waits",
        );
        let primary_share = s.in_range(
            "HEADWATER_PRIMARY_SHARE",
            "50",
            0..=NO_LIMIT,
            "queries that the read primary takes over when no replica can answer them, in percent \
             of what replicas answer; 0: none, 100: all",
        );
        s.group("Write database");
        let write = write(s);
        s.group("Policies of methods");
        let policies = policies(s, descriptors, !matches!(write, Some(None)));
        Some(Self {
            common: common?,
            nodes: nodes?,
            connections: connections?,
            wait_max: wait_max?,
            waiting_max: waiting_max?,
            probe_every: probe_every?,
            primary_share: primary_share?,
            write: write?,
            policies: policies?,
        })
    }
}

/// `Some(None)` if there is none.
fn write(s: &mut Settings) -> Option<Option<Servers>> {
    const NAME: &str = "HEADWATER_WRITE_URL";
    let help = "URL of the write database, for strong reads and the clock that ages are measured \
                by; of several servers in it, separated by commas, the one that takes writes is \
                found";
    let Some(url) = s.optional_secret(NAME, help) else { return Some(None) };
    let servers = Servers::parse(url.expose()).map_err(|problem| s.mistake(NAME, problem));
    servers.ok().map(Some)
}

fn policies(settings: &mut Settings, descriptors: &[u8], has_write_url: bool) -> Option<Policies> {
    const CONSISTENCY: &str = "HEADWATER_DEFAULT_CONSISTENCY";
    const MAX_AGE: &str = "HEADWATER_MAX_AGE";
    let consistencies: Option<String> = settings.optional(
        CONSISTENCY,
        "freshness of queries that ask for none: method=any, =strong or =max_staleness=5s, each \
         with `; or_stale` if wanted; separated by commas, * for every other method",
    )?;
    let ages: Option<String> = settings.optional(
        MAX_AGE,
        "how long clients may keep replies: method=5s, separated by commas, * for every other one",
    )?;
    let mut policies = Policies::default();
    let methods =
        queries(descriptors).expect("the descriptor set that this program was built with");
    let wrong = policies.set_consistencies(&consistencies.unwrap_or_default(), &methods);
    let mut mistakes: Vec<_> = wrong.into_iter().map(|what| (CONSISTENCY, what)).collect();
    if policies.any_strong() && !has_write_url {
        mistakes.push((CONSISTENCY, "strong needs HEADWATER_WRITE_URL".to_owned()));
    }
    let wrong = policies.set_max_ages(&ages.unwrap_or_default(), &methods);
    mistakes.extend(wrong.into_iter().map(|what| (MAX_AGE, what)));
    let is_right = mistakes.is_empty();
    mistakes.into_iter().for_each(|(name, what)| settings.mistake(name, what));
    is_right.then_some(policies)
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
    use headwater_edge::Requirement;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let invocation = Invocation::from_parts("query-svc", vars, []);
        Config::read(invocation, headwater_domain_proto::FILE_DESCRIPTOR_SET)
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
            ("HEADWATER_READS_WAITING_MAX", "0"),
            ("HEADWATER_PROBE_MS", "soon"),
            ("HEADWATER_PRIMARY_SHARE", "101"),
        ];
        let errors = read(&vars).err().expect("mistakes");
        let text = errors.to_string();
        assert!(errors.mistakes().len() >= 5, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn policies_are_read_and_their_mistakes_reported() {
        let get = "stores.v1.StoreQueryService/GetStore";
        let urls = ("HEADWATER_READ_URLS", "postgres://q@a/db");
        let (strong, age) = (format!("{get}=strong"), format!("{get}=5s"));
        let both =
            [urls, ("HEADWATER_DEFAULT_CONSISTENCY", &*strong), ("HEADWATER_MAX_AGE", &*age)];
        let errors = read(&both).err().expect("no way to the write database").to_string();
        assert!(errors.contains("strong needs HEADWATER_WRITE_URL"), "{errors}");
        let with_url = [&both[..], &[("HEADWATER_WRITE_URL", "postgres://q@b/db")]].concat();
        let policy = read(&with_url).expect("a configuration").policies.of(get);
        assert_eq!(policy.consistency.requirement, Some(Requirement::Strong));
        assert_eq!(policy.max_age, Duration::from_secs(5));
        let wrong = [
            urls,
            ("HEADWATER_DEFAULT_CONSISTENCY", "stores.v1.StoreCommandService/OpenStore=any,x"),
            ("HEADWATER_MAX_AGE", "*=soon"),
        ];
        assert_eq!(read(&wrong).err().expect("mistakes").mistakes().len(), 3);
    }

    #[test]
    fn urls_are_required() {
        let errors = read(&[]).err().expect("a mistake");
        assert!(errors.to_string().contains("HEADWATER_READ_URLS"), "{errors}");
    }
}
