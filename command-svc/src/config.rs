//! What the command service reads from its environment and flags.

use headwater_chassis::{Common, ConfigErrors, Secret, Settings};

/// The settings of a command service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those of every program.
    pub common: Common,
    /// The write database.
    pub write_url: Secret,
    /// Connections for loading, beside one per partition for appending.
    pub write_connections: u32,
    /// What it holds at most.
    pub limits: Limits,
    /// How long idempotency keys are kept.
    pub key_retention_hours: u32,
}

/// What the executor holds at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Commands that may wait, per partition; more are refused.
    pub queue_max: usize,
    /// Commands per append.
    pub batch_max: usize,
    /// Cached states of aggregates.
    pub cache_max: u64,
    /// Events of a stream between two snapshots.
    pub snapshot_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue_max: 4_096, batch_max: 512, cache_max: 100_000, snapshot_every: 100 }
    }
}

impl Config {
    /// Reads them from the process.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        let mut settings = Settings::from_process("command-svc");
        let config = Self::read(&mut settings);
        settings.finish(config)
    }

    /// Reads them from the given settings; `None` if there was a mistake.
    pub fn read(s: &mut Settings) -> Option<Self> {
        let common = Common::read(s, "127.0.0.1:50051", "127.0.0.1:9051");
        let write_url = s.secret("HEADWATER_WRITE_URL", None, "URL of the write database");
        let write_connections = s.in_range(
            "HEADWATER_WRITE_CONNECTIONS",
            "4",
            1..=64,
            "connections for loading, beside one per partition for appending",
        );
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
        let snapshot_every = s.in_range(
            "HEADWATER_SNAPSHOT_EVERY",
            "100",
            10..=1_000_000,
            "events of a stream between two snapshots",
        );
        let key_retention_hours = s.in_range(
            "HEADWATER_KEY_RETENTION_HOURS",
            "168",
            24..=8_760,
            "hours for which idempotency keys are kept",
        );
        Some(Self {
            common: common?,
            write_url: write_url?,
            write_connections: write_connections?,
            limits: Limits {
                queue_max: queue_max?,
                batch_max: batch_max?,
                cache_max: cache_max?,
                snapshot_every: snapshot_every?,
            },
            key_retention_hours: key_retention_hours?,
        })
    }
}
