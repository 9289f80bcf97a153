//! `headwater.v1.SyncQueryService`: how far the read side has come.

use std::time::Duration;

use headwater_chassis::server::grpc_timeout;
use headwater_chassis::{ErrorReason, Failure, Violations};
use headwater_kernel::Token;
use headwater_proto::headwater::v1::sync_query_service_server::SyncQueryService;
use headwater_proto::headwater::v1::{AckLevel, Acknowledgement, AwaitRequest, AwaitResponse};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::applied::{Applied, Level, OtherLog, applied};
use crate::read::Reads;

const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// More replicas than a pool can have nodes.
const REPLICAS_MAX: u32 = 64;

/// Answers from what the pool has seen of its nodes, and has them looked at more often meanwhile.
pub struct Sync(Reads);

impl Sync {
    /// Of a pool.
    pub fn new(reads: &Reads) -> Self {
        Self(reads.clone())
    }

    async fn applied(&self, asked: &Asked) -> Result<Applied, OtherLog> {
        let board = self.0.pool().board();
        let look = || board.look(|seen| applied(seen, &asked.token));
        let first = look()?;
        if first.reaches(asked.level) {
            return Ok(first);
        }
        let mut waiter = board.wait();
        loop {
            let applied = look()?;
            if applied.reaches(asked.level) || Instant::now() >= asked.until {
                return Ok(applied);
            }
            // Whether woken or not: look again.
            let _ = timeout_at(asked.until, waiter.changed()).await;
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
        let foreign = |OtherLog| {
            Failure::new(
                ErrorReason::TokenForeign,
                "the token is of another log, or from before a restore; start anew without it",
            )
        };
        let applied = self.applied(&asked).await.map_err(foreign)?;
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
    token: Token,
    level: Level,
    until: Instant,
}

fn asked(request: &Request<AwaitRequest>) -> Result<Asked, Failure> {
    let message = request.get_ref();
    let token = Token::decode(&message.token)
        .map_err(|error| Failure::new(ErrorReason::TokenMalformed, error.to_string()))?;
    let mut violations = Violations::new();
    let wish = message.acknowledgement.unwrap_or_default();
    let level = level(&wish, &mut violations);
    let wait = match wish.wait_max {
        None => Some(WAIT_DEFAULT),
        Some(wait) => Duration::try_from(wait).ok().filter(|w| (WAIT_MIN..=WAIT_MAX).contains(w)),
    };
    if wait.is_none() {
        violations.add("acknowledgement.wait_max", "must be from 1 ms to 60 s");
    }
    let wait = violations.finish(wait)?;
    // The rest of the caller's time is for the reply.
    let left = grpc_timeout(request.metadata().as_ref()).map(|left| left.mul_f64(0.9));
    let until = Instant::now() + left.map_or(wait, |left| left.min(wait));
    Ok(Asked { token, level, until })
}

fn level(wish: &Acknowledgement, violations: &mut Violations) -> Level {
    if wish.replicas > REPLICAS_MAX {
        violations.add("acknowledgement.replicas", "must be at most 64");
    }
    match AckLevel::try_from(wish.level) {
        Ok(AckLevel::Unspecified | AckLevel::Committed) => Level::Committed,
        Ok(AckLevel::Projected) => Level::Projected,
        Ok(AckLevel::Replicated) => {
            Level::Replicated(Some(wish.replicas).filter(|replicas| *replicas > 0))
        }
        Err(_) => {
            violations.add("acknowledgement.level", "is not a level that this version knows");
            Level::Committed
        }
    }
}
