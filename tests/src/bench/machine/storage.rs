//! Counters of one Postgres about its WAL and its checkpoints: they tell a slow disk and a
//! checkpoint's full-page images from what an operation itself costs.

use tokio_postgres::Client;

/// Counters since the start of the server, or between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Storage {
    /// Bytes of WAL.
    pub wal: f64,
    /// Bytes of them that are images of whole pages: of each page the first time that it is changed
    /// after a checkpoint began.
    pub images: f64,
    /// Flushes of the WAL.
    pub syncs: f64,
    /// Checkpoints that ended.
    pub checkpoints: f64,
    /// Pages that checkpoints wrote.
    pub checkpoint_pages: f64,
    /// Pages that sessions had to write themselves to make room.
    pub session_pages: f64,
    /// Place in the WAL.
    pub lsn: u64,
}

/// Before PostgreSQL 17 the checkpointer's counters were among the background writer's.
const COUNTERS_15: &str = "
    SELECT w.wal_bytes::float8, w.wal_sync::float8,
           (b.checkpoints_timed + b.checkpoints_req)::float8, b.buffers_checkpoint::float8,
           b.buffers_backend::float8, (pg_current_wal_lsn() - '0/0')::int8
      FROM pg_stat_wal w, pg_stat_bgwriter b";
const COUNTERS_17: &str = "
    SELECT w.wal_bytes::float8, 0::float8,
           (c.num_timed + c.num_requested)::float8, c.buffers_written::float8,
           0::float8, (pg_current_wal_lsn() - '0/0')::int8
      FROM pg_stat_wal w, pg_stat_checkpointer c";
/// Reads the WAL itself.
const IMAGES: &str = "
    SELECT coalesce(sum(fpi_size), 0)::float8
      FROM pg_get_wal_stats('0/0'::pg_lsn + $1::int8, '0/0'::pg_lsn + $2::int8)";

impl Storage {
    /// The counters now; all zero if the server has none of these.
    pub async fn read(client: &Client) -> Storage {
        // Sessions tell of what they did when they have been idle for a moment, at the latest.
        let version: Option<i64> =
            one(client, "SELECT current_setting('server_version_num')::int8").await;
        let sql = if version.is_some_and(|v| v >= 170_000) { COUNTERS_17 } else { COUNTERS_15 };
        let Ok(row) = client.query_one(sql, &[]).await else { return Storage::default() };
        Storage {
            wal: row.get(0),
            images: 0.0,
            syncs: row.get(1),
            checkpoints: row.get(2),
            checkpoint_pages: row.get(3),
            session_pages: row.get(4),
            lsn: row.get::<_, i64>(5).cast_unsigned(),
        }
    }

    /// From an earlier reading to this one. The images' bytes are counted in the WAL, by the
    /// extension `pg_walinspect`, if that is installed; otherwise they are not a number.
    pub async fn since(&self, before: &Storage, client: &Client) -> Storage {
        let places = [before.lsn.cast_signed(), self.lsn.cast_signed()];
        let images = client.query_one(IMAGES, &[&places[0], &places[1]]).await;
        Storage {
            wal: (self.lsn - before.lsn) as f64,
            images: images.map_or(f64::NAN, |row| row.get(0)),
            syncs: self.syncs - before.syncs,
            checkpoints: self.checkpoints - before.checkpoints,
            checkpoint_pages: self.checkpoint_pages - before.checkpoint_pages,
            session_pages: self.session_pages - before.session_pages,
            lsn: self.lsn,
        }
    }
}

async fn one(client: &Client, sql: &str) -> Option<i64> {
    client.query_one(sql, &[]).await.ok().map(|row| row.get(0))
}
