//! Asks an endpoint for its health, again and again, on a connection of its own: a loaded worker
//! must not make an endpoint look ill, and an ill endpoint must not wait behind requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;
use tonic::transport::{Channel, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::endpoint::{Endpoint, Health};
use crate::pool::Pool;

/// For connecting and for answering.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// One lost check is no illness.
const SILENT_AFTER: u32 = 2;

/// Runs until the endpoint is retired.
pub async fn follow(endpoint: Arc<Endpoint>, pool: Arc<Pool>, every: Duration) {
    let retired = endpoint.retired();
    let Some(mut client) = client(&endpoint) else {
        return;
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let checks = async {
        let mut lost = 0;
        loop {
            ticks.tick().await;
            match check(&mut client).await {
                Some(health) => {
                    lost = 0;
                    if health == Health::Serving {
                        endpoint.links().iter().for_each(|link| link.wake());
                    }
                    note(&endpoint, &pool, health);
                }
                None => {
                    lost += 1;
                    if lost >= SILENT_AFTER {
                        note(&endpoint, &pool, Health::Silent);
                    }
                }
            }
        }
    };
    retired.run_until_cancelled(checks).await;
}

fn client(endpoint: &Endpoint) -> Option<HealthClient<Channel>> {
    let origin = Uri::builder().scheme("http").authority(endpoint.authority().clone());
    let origin = origin.path_and_query("/").build().ok()?;
    let channel = Channel::from_shared(format!("http://{}", endpoint.address()))
        .ok()?
        .origin(origin)
        .timeout(ANSWER_MAX)
        .connect_timeout(ANSWER_MAX)
        // A connection into nothing must be noticed, or the endpoint stays ill after it is well.
        .http2_keep_alive_interval(ANSWER_MAX)
        .keep_alive_timeout(ANSWER_MAX)
        .keep_alive_while_idle(true)
        .connect_lazy();
    Some(HealthClient::new(channel))
}

/// None if there was no answer.
async fn check(client: &mut HealthClient<Channel>) -> Option<Health> {
    match client.check(HealthCheckRequest::default()).await {
        Ok(reply) => Some(match reply.into_inner().status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                Health::NotServing
            }
        }),
        // A server without a health service, or without a state for the empty name, answers.
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::NotFound) => {
            Some(Health::Serving)
        }
        Err(_) => None,
    }
}

fn note(endpoint: &Endpoint, pool: &Pool, health: Health) {
    let before = endpoint.set_health(health);
    if before == health {
        return;
    }
    let (upstream, address) = (pool.upstream(), endpoint.address());
    let (before, now) = (before.name(), health.name());
    match health {
        Health::Serving => tracing::info!(%upstream, %address, before, now, "endpoint"),
        Health::Unknown | Health::NotServing | Health::Silent => {
            tracing::warn!(%upstream, %address, before, now, "endpoint");
        }
    }
    pool.changed();
}
