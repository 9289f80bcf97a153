//! `headwater.v1.SyncQueryService`: how far the read side has come.

use std::time::Duration;

use headwater_chassis::PAYLOAD_BYTES_MAX;
use headwater_edge::{
    Failure, RequestedAck, Violations, grpc_timeout, requested_ack, token_failure, token_failure_in,
};
use headwater_kernel::{Token, TokenError, Tokens};
use headwater_proto::headwater::v1::sync_query_service_server::{
    SyncQueryService, SyncQueryServiceServer,
};
use headwater_proto::headwater::v1::{AckLevel, AwaitRequest, AwaitResponse};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::reply::too_many_wait;
use crate::read::{LOG_PATIENCE, Reads, Standing, standing};
use crate::seen::{Applied, Awaited, Level, NodeSet, NodeStateTable, applied, showing};
use crate::write_side::is_beyond;

/// The service, answered from what the pool has seen of its nodes; on the tokio runtime.
pub fn sync_service(reads: &Reads) -> SyncQueryServiceServer<impl SyncQueryService> {
    let service = SyncQueryServiceServer::new(Sync(reads.clone()));
    service.max_decoding_message_size(PAYLOAD_BYTES_MAX)
}

/// Has the nodes looked at more often while a call waits.
struct Sync(Reads);

impl Sync {
    /// How far the token's state has come in all projections: a node shows it once each of them
    /// does, since the token does not say which views its client will read.
    fn look(&self, asked: &Asked) -> Result<Applied, Failure> {
        let mut shown: Option<NodeSet> = None;
        let tables = self.0.pool().tables().all();
        for table in tables {
            let token = match standing(table, &asked.tokens) {
                Standing::Settled(token) => token,
                Standing::Foreign => return Err(token_failure(TokenError::Foreign)),
                Standing::Lost => return Err(token_failure(TokenError::Lost)),
                // No node shows it yet.
                Standing::Later | Standing::Unknown => asked.tokens.latest().clone(),
            };
            let here = table.look(|seen| showing(seen, &token));
            shown = Some(shown.map_or(here, |others| others.both(here)));
        }
        let shown = shown.unwrap_or_default();
        // Roles and health are those of the node, the same on all tables.
        let applied = tables.iter().map(|table| table.look(|seen| applied(seen, shown)));
        Ok(applied.max_by_key(|applied| applied.replicas_healthy).unwrap_or_default())
    }

    async fn applied(&self, asked: &Asked) -> Result<Applied, Failure> {
        let first = self.look(asked)?;
        if first.reaches(asked.level) {
            return Ok(first);
        }
        let waited = self.0.wait(self.in_time(asked)).await;
        waited.unwrap_or_else(|| Err(too_many_wait()))
    }

    async fn in_time(&self, asked: &Asked) -> Result<Applied, Failure> {
        let tables = self.0.pool().tables();
        let mut ask_log_at = Some(asked.begun + LOG_PATIENCE.min(asked.wait / 2));
        let until = asked.begun + asked.wait;
        let mut waiter = tables.wait(|table| awaited(table, &asked.tokens));
        loop {
            let now = Instant::now();
            let applied = self.look(asked)?;
            if applied.reaches(asked.level) || now >= until {
                return Ok(applied);
            }
            if ask_log_at.take_if(|at| *at <= now).is_some() {
                self.check_in_log(asked, until).await?;
            }
            // Whether woken or not: look again.
            let _ = timeout_at(ask_log_at.unwrap_or(until).min(until), waiter.changed()).await;
            // The epoch may have become another one, and with it what is waited for.
            waiter = tables.wait(|table| awaited(table, &asked.tokens));
        }
    }

    /// Refuses what is not in the log, looked at after the call arrived: it cannot be waited for.
    /// If the log cannot be asked, it may be there.
    async fn check_in_log(&self, asked: &Asked, until: Instant) -> Result<(), Failure> {
        let end = timeout_at(until, self.0.log().since(asked.begun)).await;
        match end {
            Ok(Ok(end)) if is_beyond(asked.tokens.latest(), &end) => {
                Err(token_failure(TokenError::Lost))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Change of a node that can end a wait for these tokens.
fn awaited(table: &NodeStateTable, tokens: &Tokens) -> Awaited {
    match standing(table, tokens) {
        Standing::Settled(token) => Awaited::Token(token),
        Standing::Foreign | Standing::Lost | Standing::Later | Standing::Unknown => {
            Awaited::OtherNode
        }
    }
}

#[tonic::async_trait]
impl SyncQueryService for Sync {
    async fn r#await(
        &self,
        request: Request<AwaitRequest>,
    ) -> Result<Response<AwaitResponse>, Status> {
        let asked = asked(&request)?;
        let applied = self.applied(&asked).await?;
        let reached = match applied.reached(asked.level) {
            Level::Committed => AckLevel::Committed,
            Level::Projected => AckLevel::Projected,
            Level::Replicated(_) => AckLevel::Replicated,
        };
        Ok(Response::new(AwaitResponse {
            reached: reached.into(),
            replicas: applied.replicas,
            replicas_healthy: applied.replicas_healthy,
        }))
    }
}

struct Asked {
    tokens: Tokens,
    level: Level,
    begun: Instant,
    wait: Duration,
}

fn asked(request: &Request<AwaitRequest>) -> Result<Asked, Failure> {
    let message = request.get_ref();
    let token = Token::decode(&message.token);
    let token = token.map_err(|error| token_failure_in("token", error))?;
    let left = grpc_timeout(request.metadata().as_ref());
    let mut violations = Violations::new();
    let wish = message.acknowledgement.unwrap_or_default();
    let wanted = requested_ack(&wish, "acknowledgement", left, &mut violations);
    let RequestedAck { level, replicas, wait } = violations.finish(wanted)?;
    let level = match level {
        AckLevel::Unspecified | AckLevel::Committed => Level::Committed,
        AckLevel::Projected => Level::Projected,
        AckLevel::Replicated => Level::Replicated(Some(replicas).filter(|n| *n > 0)),
    };
    Ok(Asked { tokens: Tokens::from(token), level, begun: Instant::now(), wait })
}
