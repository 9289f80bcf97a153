//! Services of the router itself: health and reflection.

use std::sync::Arc;

use anyhow::Context as _;
use headwater_chassis::Readiness;
use headwater_chassis::server::health::{self, Needs};
use tonic::service::Routes as Services;
use tonic_reflection::server::Builder;

use crate::endpoint::Health;
use crate::meters::Meters;
use crate::pool::Pool;
use crate::routes::{Routes, Upstream};

/// Health (`grpc.health.v1`), where a service serves if all upstreams that it needs do, and
/// reflection (v1 and v1alpha) over these descriptors.
///
/// # Errors
/// If the descriptors cannot be indexed.
pub fn services(
    descriptors: &[u8],
    routes: &Routes,
    readiness: &Readiness,
) -> anyhow::Result<Services> {
    let malformed = "the descriptor set is malformed";
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(health::DESCRIPTORS)
    };
    let needs = |upstreams: &[Upstream]| {
        Needs::Checks(upstreams.iter().map(|upstream| check(*upstream)).collect())
    };
    let by_name = routes.services().map(|(name, upstreams)| (name.to_owned(), needs(upstreams)));
    let health = health::service(readiness.clone(), by_name.collect());
    Ok(Services::new(health)
        .add_service(reflection().build_v1().context(malformed)?)
        .add_service(reflection().build_v1alpha().context(malformed)?)
        .prepare())
}

/// Tells the world what is known of the upstreams.
pub struct Status {
    /// Readiness, told over HTTP and over gRPC.
    pub readiness: Readiness,
    /// The upstreams, by their index.
    pub pools: [Arc<Pool>; Upstream::ALL.len()],
    /// Metrics of the router.
    pub meters: Arc<Meters>,
    /// Upstreams that have been healthy since the start.
    pub seen: [bool; Upstream::ALL.len()],
}

impl Status {
    /// Not ready yet.
    pub fn new(
        readiness: Readiness,
        pools: [Arc<Pool>; Upstream::ALL.len()],
        meters: Arc<Meters>,
    ) -> Status {
        let seen = [false; Upstream::ALL.len()];
        Status { readiness, pools, meters, seen }
    }

    /// Names of the checks.
    pub fn checks() -> [&'static str; Upstream::ALL.len()] {
        Upstream::ALL.map(check)
    }

    /// Runs for ever.
    pub async fn follow(mut self) {
        let [mut command, mut query] = self.pools.clone().map(|pool| pool.subscribe());
        loop {
            self.tell();
            // The senders outlive this: they are held here.
            let _ = tokio::select! {
                changed = command.changed() => changed,
                changed = query.changed() => changed,
            };
        }
    }

    fn tell(&mut self) {
        let ready = self.pools.each_ref().map(|pool| pool.ready());
        for upstream in Upstream::ALL {
            self.seen[upstream.index()] |= ready[upstream.index()].is_ok();
            self.count(upstream);
        }
        let verdicts = verdicts(&ready, self.seen);
        for (upstream, (result, required)) in Upstream::ALL.into_iter().zip(verdicts) {
            match required {
                true => self.readiness.set(check(upstream), result),
                false => self.readiness.report(check(upstream), result),
            }
        }
    }

    fn count(&self, upstream: Upstream) {
        let pool = &self.pools[upstream.index()];
        for health in Health::ALL {
            let labels =
                [("upstream", upstream.name().to_owned()), ("health", health.name().to_owned())];
            let gauge = self.meters.endpoints.get_or_create_owned(&labels);
            gauge.set(pool.count(health) as i64);
        }
    }
}

fn check(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Command => "upstream-command",
        Upstream::Query => "upstream-query",
    }
}

/// Verdict on each upstream, and whether the router is unready for it.
///
/// It starts unready until both have been healthy. From then on one that is unreachable is only
/// reported while the other serves: a router that took itself out of service for it would stop
/// queries because commands fail, or the other way round.
fn verdicts(ready: &[Result<(), String>; 2], seen: [bool; 2]) -> [(Result<(), String>, bool); 2] {
    let started = seen.iter().all(|seen| *seen);
    let any = ready.iter().any(Result::is_ok);
    ready.clone().map(|result| {
        let required = result.is_ok() || !started || !any;
        (result, required)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_upstream_away_does_not_take_the_router_out_of_service() {
        // command ready, query ready, both seen before, router ready
        let cases = [
            (true, true, true, true),
            (false, true, true, true),
            (true, false, true, true),
            (false, false, true, false),
            (true, false, false, false),
            (false, false, false, false),
        ];
        for (command, query, seen, want) in cases {
            let result = |ok: bool| ok.then_some(()).ok_or_else(|| "away".to_owned());
            let ready = [result(command), result(query)];
            let verdicts = verdicts(&ready, [seen || command, seen || query]);
            let is_ready = verdicts.iter().all(|(result, required)| result.is_ok() || !required);
            assert_eq!(is_ready, want, "{command} {query} {seen}");
        }
    }
}
