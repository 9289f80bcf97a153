//! Settings that the command service reads from its environment and flags.

use std::str::FromStr;

use headwater_chassis::{Common, ConfigErrors, Invocation, Settings};
use headwater_eventlog::Servers;
use thiserror::Error;
use tonic::transport::Endpoint;

const ABOUT: &str = "Decides commands and appends their events to the log";

/// The settings of a command service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings of every program.
    pub common: Common,
    /// The servers of the write database.
    pub write: Servers,
    /// Connections for loading, beside one per partition for appending.
    pub write_connections: u32,
    /// Service to ask how far the read side has come.
    pub sync: Option<SyncUrl>,
    /// Bounds of queues, batches and caches.
    pub limits: Limits,
    /// Time that idempotency keys are kept, in hours.
    pub key_retention_hours: u32,
}

/// Bounds of the executor's queues, batches and caches.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Commands that may wait, per partition; more are refused.
    pub queue_max: usize,
    /// Commands per append.
    pub batch_max: usize,
    /// Cached states of aggregates.
    pub cache_max: u64,
    /// Memory of cached states, by an estimate.
    pub cache_bytes_max: u64,
    /// Size of a command's message.
    pub message_bytes_max: usize,
    /// Size of a message with many commands.
    pub batch_bytes_max: usize,
    /// Events of a stream between two snapshots.
    pub snapshot_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_max: 4_096,
            batch_max: 512,
            cache_max: 100_000,
            cache_bytes_max: 64 * 1024 * 1024,
            message_bytes_max: 256 * 1024,
            batch_bytes_max: 1024 * 1024,
            snapshot_every: 100,
        }
    }
}

/// Address of the service that says how far the read side has come.
#[derive(Clone, Debug)]
pub struct SyncUrl(pub Endpoint);

/// Not a usable address.
#[derive(Clone, Copy, Debug, Error)]
#[error("must be http:// and a host, such as http://router:50050")]
pub struct NoUrl;

impl FromStr for SyncUrl {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Self, NoUrl> {
        let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|_| NoUrl)?;
        let uri = endpoint.uri();
        match (uri.scheme_str(), uri.host(), uri.path()) {
            (Some("http"), Some(host), "/" | "") if !host.is_empty() => Ok(Self(endpoint)),
            _ => Err(NoUrl),
        }
    }
}

impl Config {
    /// Reads them from the process.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        Self::read(Invocation::from_process("command-svc"))
    }

    /// Reads them from the given variables and flags.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(invocation: Invocation) -> Result<Self, ConfigErrors> {
        invocation.read(ABOUT, Self::read_all)
    }

    fn read_all(s: &mut Settings) -> Option<Self> {
        let common = Common::read(s, "127.0.0.1:50051", "127.0.0.1:9051");
        s.group("Write database");
        let write = write(s);
        let write_connections = s.in_range(
            "HEADWATER_WRITE_CONNECTIONS",
            "4",
            3..=64,
            "connections for loading, beside one per partition for appending",
        );
        s.group("Acknowledgements");
        let sync = s.optional(
            "HEADWATER_SYNC_URL",
            "where to ask how far the read side has come, a router's or a query service's http://host:port; \
             unset: no acknowledgements beyond committed",
        );
        let limits = limits(s);
        s.group("Idempotency");
        let key_retention_hours = s.in_range(
            "HEADWATER_KEY_RETENTION_HOURS",
            "168",
            24..=8_760,
            "hours for which the idempotency keys of commands that changed nothing are kept; those of \
             others stay as long as their events",
        );
        Some(Self {
            common: common?,
            write: write?,
            write_connections: write_connections?,
            sync: sync?,
            limits: limits?,
            key_retention_hours: key_retention_hours?,
        })
    }
}

fn limits(s: &mut Settings) -> Option<Limits> {
    s.group("Limits");
    let queue_max = s.in_range(
        "HEADWATER_QUEUE_MAX",
        "4096",
        1..=1_000_000,
        "commands that may wait, per partition; more are refused with RESOURCE_EXHAUSTED",
    );
    let batch_max = s.in_range("HEADWATER_BATCH_MAX", "512", 1..=1_024, "commands per append");
    let cache_max = s.in_range(
        "HEADWATER_CACHE_MAX",
        "100000",
        1..=100_000_000,
        "aggregates whose state is kept in memory",
    );
    let cache_bytes_max = s.in_range(
        "HEADWATER_CACHE_BYTES_MAX",
        "67108864",
        1_048_576..=68_719_476_736,
        "memory for these states, by an estimate",
    );
    let message_bytes_max = s.in_range(
        "HEADWATER_MESSAGE_BYTES_MAX",
        "262144",
        4_096..=4_194_304,
        "size of a command's message; a larger one is refused with INVALID_ARGUMENT",
    );
    let batch_bytes_max = s.in_range(
        "HEADWATER_BATCH_BYTES_MAX",
        "1048576",
        4_096..=4_194_304,
        "size of a message with many commands, likewise",
    );
    let snapshot_every = s.in_range(
        "HEADWATER_SNAPSHOT_EVERY",
        "100",
        10..=1_000_000,
        "events of a stream between two snapshots",
    );
    Some(Limits {
        queue_max: queue_max?,
        batch_max: batch_max?,
        cache_max: cache_max?,
        cache_bytes_max: cache_bytes_max?,
        message_bytes_max: message_bytes_max?,
        batch_bytes_max: batch_bytes_max?,
        snapshot_every: snapshot_every?,
    })
}

fn write(s: &mut Settings) -> Option<Servers> {
    const NAME: &str = "HEADWATER_WRITE_URL";
    let help = "URL of the write database; of several servers in it, separated by commas, the one \
                that takes writes is found";
    let url = s.secret(NAME, None, help)?;
    Servers::parse(url.expose()).map_err(|problem| s.mistake(NAME, problem)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_databases_url_is_told_without_its_password() {
        let url = ("HEADWATER_WRITE_URL".to_owned(), "postgres://u:hunter2@a,,b/d".to_owned());
        let invocation = Invocation::from_parts("command-svc", [url], []);
        let errors = Config::read(invocation).expect_err("a mistake").to_string();
        assert!(errors.contains("has an empty name"), "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }

    #[test]
    fn urls() {
        for good in ["http://router:50050", "http://127.0.0.1:1", "http://[::1]:50050/"] {
            assert!(good.parse::<SyncUrl>().is_ok(), "{good}");
        }
        for bad in ["", "router:50050", "https://router", "http://", "http://a/b", "a b"] {
            assert!(bad.parse::<SyncUrl>().is_err(), "{bad}");
        }
    }
}
