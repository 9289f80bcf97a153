//! Keeps a pool's endpoints what its names stand for, by resolving them again and again: a
//! headless service of Kubernetes names all of its pods, and these come and go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::config::HostPort;
use crate::endpoint::Endpoint;
use crate::health;
use crate::pool::Pool;

/// Endpoints of one pool. Each costs connections and a check every second.
const ENDPOINTS_MAX: usize = 64;
const LOOKUP_MAX: Duration = Duration::from_secs(2);

/// Keeps one pool up to date.
pub struct Resolver {
    pool: Arc<Pool>,
    names: Vec<HostPort>,
    /// Addresses of each name when it last resolved.
    known: HashMap<usize, Vec<SocketAddr>>,
    /// Runtimes of the workers, which keep the connections.
    workers: Vec<Handle>,
    probe_every: Duration,
}

impl Resolver {
    /// For a pool that is still empty.
    pub fn new(
        pool: Arc<Pool>,
        names: Vec<HostPort>,
        workers: Vec<Handle>,
        probe_every: Duration,
    ) -> Resolver {
        Resolver { pool, names, known: HashMap::new(), workers, probe_every }
    }

    /// Runs for ever.
    pub async fn run(mut self, every: Duration) {
        loop {
            sleep(every).await;
            self.resolve().await;
        }
    }

    /// Resolves every name once.
    pub async fn resolve(&mut self) {
        self.resolve_by(async |name| {
            let found = timeout(LOOKUP_MAX, lookup_host(name)).await;
            let found = found.map_err(std::io::Error::from).and_then(|found| found);
            found.map(Iterator::collect)
        })
        .await;
    }

    /// The same by this lookup.
    pub async fn resolve_by(
        &mut self,
        lookup: impl AsyncFn(&str) -> std::io::Result<Vec<SocketAddr>>,
    ) {
        // All at once, so that the slowest one bounds the time.
        let lookups = join_all(self.names.iter().map(|name| lookup(name.as_str()))).await;
        for ((index, name), found) in self.names.iter().enumerate().zip(lookups) {
            match found {
                Ok(found) if !found.is_empty() => {
                    self.known.insert(index, found);
                }
                // A name server that is down, or forgets, must not take a service away that runs.
                Ok(_) => tracing::warn!(%name, "resolves to nothing: keeping what it was"),
                Err(error) => tracing::warn!(%name, %error, "not resolved: keeping what it was"),
            }
        }
        self.apply();
    }

    /// Keeps the endpoints that are still named, adds new ones, retires the others.
    fn apply(&self) {
        let before = self.pool.endpoints();
        let wanted = self.wanted();
        let unchanged = wanted.len() == before.len()
            && before.iter().zip(&wanted).all(|(old, (new, _))| old.address() == *new);
        if unchanged {
            return;
        }
        let endpoints = wanted.iter().map(|(address, name)| {
            let old = before.iter().find(|old| old.address() == *address);
            old.cloned().unwrap_or_else(|| self.start(*address, name))
        });
        let endpoints: Vec<_> = endpoints.collect();
        let named = |old: &Arc<Endpoint>| wanted.iter().any(|(a, _)| *a == old.address());
        let gone: Vec<_> = before.iter().filter(|old| !named(old)).collect();
        self.pool.set_endpoints(endpoints);
        for endpoint in gone {
            tracing::info!(upstream = %self.pool.upstream(), address = %endpoint.address(),
                "endpoint removed");
            endpoint.retire();
        }
    }

    /// Addresses of all names without repetition, in a stable order.
    fn wanted(&self) -> Vec<(SocketAddr, &HostPort)> {
        let mut wanted: Vec<_> = self
            .names
            .iter()
            .enumerate()
            .flat_map(|(index, name)| {
                self.known.get(&index).into_iter().flatten().map(move |address| (*address, name))
            })
            .collect();
        wanted.sort_by_key(|(address, _)| *address);
        wanted.dedup_by_key(|(address, _)| *address);
        if wanted.len() > ENDPOINTS_MAX {
            tracing::warn!(upstream = %self.pool.upstream(), found = wanted.len(),
                used = ENDPOINTS_MAX, "too many endpoints");
            wanted.truncate(ENDPOINTS_MAX);
        }
        wanted
    }

    fn start(&self, address: SocketAddr, name: &HostPort) -> Arc<Endpoint> {
        tracing::info!(upstream = %self.pool.upstream(), %address, "endpoint added");
        let workers = self.workers.len();
        let endpoint = Arc::new(Endpoint::new(address, name.authority().clone(), workers));
        for (worker, link) in self.workers.iter().zip(endpoint.links()) {
            worker.spawn(link.clone().keep());
        }
        tokio::spawn(health::follow(endpoint.clone(), self.pool.clone(), self.probe_every));
        endpoint
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;

    use super::*;
    use crate::routes::Upstream;

    /// Ports that `a:1` and `b:1` resolve to, one round after the other, and the ports of the
    /// endpoints that are there afterwards.
    async fn check(rounds: &[(&[u16], &[u16], &[u16])]) {
        let pool = Arc::new(Pool::new(Upstream::Query));
        let names = ["a:1", "b:1"].map(|name| name.parse().unwrap()).to_vec();
        let every = Duration::from_secs(3_600);
        let mut resolver = Resolver::new(pool.clone(), names, Vec::new(), every);
        for (a, b, want) in rounds {
            let lookup = async |name: &str| {
                let ports = if name == "a:1" { a } else { b };
                let address = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
                match ports.contains(&0) {
                    true => Err(io::Error::other("name server down")),
                    false => Ok(ports.iter().map(address).collect()),
                }
            };
            let before = pool.endpoints();
            resolver.resolve_by(lookup).await;
            let ports: Vec<u16> = pool.endpoints().iter().map(|e| e.address().port()).collect();
            assert_eq!(&ports, want);
            for endpoint in before.iter() {
                let kept = pool.endpoints().iter().any(|e| Arc::ptr_eq(e, endpoint));
                assert_eq!(kept, want.contains(&endpoint.address().port()), "kept as it is");
                assert_eq!(endpoint.retired().is_cancelled(), !kept);
            }
        }
    }

    #[tokio::test]
    async fn endpoints_follow_their_names() {
        check(&[
            (&[], &[], &[]),
            (&[0], &[7], &[7]),
            (&[5, 4], &[7], &[4, 5, 7]),
            (&[5], &[7, 5], &[5, 7]),
            (&[6], &[7], &[6, 7]),
        ])
        .await;
    }

    #[tokio::test]
    async fn a_failed_lookup_changes_nothing() {
        check(&[(&[4, 5], &[6], &[4, 5, 6]), (&[0], &[], &[4, 5, 6]), (&[0], &[8], &[4, 5, 8])])
            .await;
    }

    #[tokio::test]
    async fn endpoints_are_bounded() {
        let many: Vec<u16> = (1..=200).collect();
        check(&[(&many, &many, &many[..ENDPOINTS_MAX])]).await;
    }
}
