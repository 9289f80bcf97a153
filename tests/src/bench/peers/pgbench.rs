//! `pgbench`: single-row inserts into a table like the log's, on the same Postgres.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

/// A table like the event table, filled by a sequence instead of a held head row.
pub const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS public.bench_event (
        position bigserial NOT NULL, version bigint NOT NULL, recorded_at timestamptz NOT NULL,
        stream uuid NOT NULL, command_id uuid NOT NULL, partition smallint NOT NULL,
        schema_version smallint NOT NULL, type text NOT NULL, payload bytea NOT NULL,
        caller text, traceparent text, digest bytea, PRIMARY KEY (partition, position));
    CREATE UNIQUE INDEX IF NOT EXISTS bench_event_stream ON public.bench_event (stream, version);
";

/// One row of about the size of a recorded sale.
const SCRIPT: &str = "INSERT INTO public.bench_event
    (version, recorded_at, stream, command_id, partition, schema_version, type, payload)
    VALUES (1, now(), gen_random_uuid(), gen_random_uuid(), 0, 1, 'stores.v1.SaleRecorded',
            decode(repeat('ab', 60), 'hex'));\n";

/// Runs it and gives transactions per second.
///
/// # Errors
/// If pgbench is missing or fails.
pub async fn run(bin: &Path, url: &str, clients: usize, time: Duration) -> anyhow::Result<f64> {
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), SCRIPT)?;
    let output = Command::new(bin.join("pgbench"))
        .args(["-n", "-M", "prepared", "-j", "2"])
        .args(["-c", &clients.to_string(), "-T", &time.as_secs().max(2).to_string()])
        .arg("-f")
        .arg(script.path())
        .arg(url)
        .output()
        .await
        .context("pgbench cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Connecting took all of the time: the machine is busy. It prints no rate then.
    if text.lines().any(|line| line == "number of transactions actually processed: 0") {
        return Ok(0.0);
    }
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    tps.and_then(|tps| tps.parse().ok())
        .with_context(|| format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)))
}
