//! A read primary and a streaming replica of its own for each test, and a stand-in for the
//! projector.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod postgres;
pub mod proxy;
pub mod service;

use std::time::Duration;

use headwater_domain_api::projections;
use headwater_kernel::{Epoch, LogId, Position, Token};
use headwater_projector::migrate::migrate;
use tokio::time::Instant;
use tokio_postgres::Client;
use uuid::Uuid;

use postgres::Postgres;

pub const LOG: LogId = LogId(Uuid::from_u128(0x7e57));
pub const EPOCH: Epoch = Epoch(3);
/// No condition of these tests takes longer, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until it is so.
pub async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !look().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A read primary that was migrated, and a replica of it.
pub struct Cluster {
    pub primary: Postgres,
    pub replica: Postgres,
}

impl Cluster {
    pub async fn start() -> (Self, Projector) {
        let primary = Postgres::init();
        let projector = Projector::start(&primary).await;
        let replica = primary.replicate();
        let cluster = Self { primary, replica };
        cluster.caught_up(&projector).await;
        (cluster, projector)
    }

    pub async fn caught_up(&self, projector: &Projector) {
        let replica = self.replica.admin().await;
        eventually("the replica has caught up", async || {
            position(&replica).await == projector.position
        })
        .await;
    }

    pub async fn pause(&self) {
        self.replica.run("SELECT pg_wal_replay_pause()").await;
        let replica = self.replica.admin().await;
        eventually("replay is paused", async || {
            let state = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
            replica.query_one(state, &[]).await.unwrap().get(0)
        })
        .await;
    }

    pub async fn resume(&self) {
        self.replica.run("SELECT pg_wal_replay_resume()").await;
    }
}

async fn position(client: &Client) -> u64 {
    let sql = "SELECT positions[1] FROM headwater_read.checkpoint WHERE projection = 'retail'";
    let row = client.query_opt(sql, &[]).await.ok().flatten();
    row.map_or(0, |row| row.get::<_, i64>(0) as u64)
}

/// Does what the projector does: rows and checkpoint in one transaction.
pub struct Projector {
    client: Client,
    pub position: u64,
}

impl Projector {
    pub async fn start(primary: &Postgres) -> Self {
        migrate(&primary.url("postgres"), &projections()).await.unwrap();
        primary
            .run("CREATE ROLE query LOGIN IN ROLE headwater_query; CREATE ROLE stranger LOGIN")
            .await;
        let client = primary.admin().await;
        let sql = "INSERT INTO headwater_read.checkpoint \
                   VALUES ('retail', $1, $2, '{0}', '{\"\"}', clock_timestamp(), 0, '{0}')";
        client.execute(sql, &[&LOG.0, &(EPOCH.0 as i32)]).await.unwrap();
        Self { client, position: 0 }
    }

    /// Applies one event, whose effect is this SQL; gives the token that proves it.
    pub async fn apply(&mut self, sql: &str) -> String {
        self.apply_as_of(sql, 0.0).await
    }

    /// The same, as if the checkpoint had been made so many seconds ago.
    pub async fn apply_as_of(&mut self, sql: &str, seconds_ago: f64) -> String {
        self.position += 1;
        let position = self.position;
        let sql = format!(
            "BEGIN; {sql}; UPDATE headwater_read.checkpoint SET positions = '{{{position}}}', \
             as_of = clock_timestamp() - make_interval(secs => {seconds_ago}) \
             WHERE projection = 'retail'; COMMIT"
        );
        self.client.batch_execute(&sql).await.unwrap();
        token(position)
    }

    /// Nothing new: only the time of the checkpoint.
    pub async fn heartbeat(&self) {
        let sql = "UPDATE headwater_read.checkpoint SET as_of = clock_timestamp() \
                   WHERE projection = 'retail'";
        self.client.batch_execute(sql).await.unwrap();
    }

    /// A store with this name.
    pub async fn open(&mut self, id: Uuid, name: &str) -> String {
        self.apply(&store(id, name, "Bern", "open")).await
    }
}

pub fn token(position: u64) -> String {
    Token::of_positions(LOG, EPOCH, &[Position(position)]).encode()
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// SQL that stores a store's row; its version is the number of times that it was stored.
pub fn store(id: Uuid, name: &str, city: &str, status: &str) -> String {
    let name = name.replace('\'', "''");
    format!(
        "INSERT INTO headwater_read.store VALUES \
         ('{id}', '{name}', '{city}', 'CHF', '{status}', NULL, '2026-01-02 03:04:05Z', 1) \
         ON CONFLICT (store_id) DO UPDATE SET name = excluded.name, version = store_v1.version + 1"
    )
    .replace("headwater_read.store VALUES", "headwater_read.store_v1 VALUES")
}
