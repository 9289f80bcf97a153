//! One measurement's bracket: readings before it and after it.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::cpu::{Times, Watched, spent};
use super::disk::Disk;
use super::storage::Storage;

/// Readings before a measurement.
pub struct Meter {
    started: Instant,
    watched: Watched,
    cpu: Times,
    disk: Disk,
    storage: Storage,
}

/// What the measurement took.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Duration, readings excluded.
    pub took: Duration,
    /// CPU time of each process.
    pub cpu: Times,
    /// The disks.
    pub disk: Disk,
    /// The Postgres that was written to, if there is one.
    pub storage: Option<Storage>,
}

impl Meter {
    /// Reads everything. `postgres` is a superuser's connection to the server that is written to.
    pub async fn start(watched: Watched, postgres: Option<&Client>) -> Meter {
        let storage = match postgres {
            Some(client) => Storage::read(client).await,
            None => Storage::default(),
        };
        let (cpu, disk) = (watched.read(), Disk::read());
        Meter { started: Instant::now(), watched, cpu, disk, storage }
    }

    /// Reads everything again.
    pub async fn stop(self, postgres: Option<&Client>) -> Cost {
        let took = self.started.elapsed();
        let cpu = spent(&self.cpu, &self.watched.read());
        let disk = Disk::read().since(&self.disk);
        let storage = match postgres {
            Some(client) => Some(Storage::read(client).await.since(&self.storage, client).await),
            None => None,
        };
        Cost { took, cpu, disk, storage }
    }
}
