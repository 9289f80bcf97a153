//! State of one read: its attempts so far, and the time that is left.

use std::sync::Arc;
use std::time::Duration;

use headwater_edge::time_to_wait;
use headwater_kernel::{Access, Consistency};
use tokio::time::Instant;

use super::need::ReadError;
use crate::choice::{FallbackLimiter, FallbackPermit};
use crate::choice::{PickRequest, PrimaryFallback};
use crate::nodes::RETRY_AFTER;
use crate::seen::NodeError;
use crate::seen::NodeSet;
use crate::write_side::Reading;

/// Wait of a read for a replica before it may go to the read primary. Replication takes
/// milliseconds; what takes longer than this may take for ever.
const REPLICA_PATIENCE: Duration = Duration::from_millis(100);

/// Wait after which the log is asked whether it goes as far as the token. Replication takes
/// milliseconds: reads that wait for nothing else need not each ask the write database.
pub const LOG_PATIENCE: Duration = Duration::from_millis(50);

/// Time between two questions to a log whose answer may be that of a server which was replaced. Its
/// servers are looked at twice a second.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Outcome of an attempt that is no reply.
pub enum AttemptError {
    /// An answer that was not fresh enough, or of another log.
    TooOld,
    /// No answer; another node may give one.
    Failed(NodeError),
    /// No answer, and it must not be asked for again.
    Final(NodeError),
}

impl From<NodeError> for AttemptError {
    fn from(error: NodeError) -> Self {
        Self::Failed(error)
    }
}

/// End of a wait for a node that is fresh enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is one, in the time in which only replicas were waited for.
    Satisfied,
    /// There is one, or the read primary does.
    SatisfiedLate,
    /// The read primary takes over no more, and nothing is left to wait for.
    Refused,
    /// Too many wait already.
    Full,
    /// There can be none: the log ends before the token.
    BeyondLog,
    /// There was none in time.
    Expired,
}

impl Waited {
    /// Label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::SatisfiedLate => "satisfied_late",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::BeyondLog => "beyond_log",
            Self::Expired => "expired",
        }
    }
}

/// State of a read's request for the read primary.
enum Fallback {
    /// Not needed so far.
    Unasked,
    /// Permit to read there, now or later.
    Granted(FallbackPermit),
    /// There is no permit in time; when to try again.
    Refused(Duration),
}

/// State of a read under way: what it has tried, and how long it may go on.
pub struct Progress {
    /// Moment at which the read arrived.
    pub begun: Instant,
    /// Moment at which the log is asked whether it goes as far as the token; `None` once it was, or
    /// need not be.
    pub ask_log_at: Option<Instant>,
    /// End of the wait.
    pub until: Instant,
    /// Moment from which the read primary will do, too.
    pub primary_from: Instant,
    /// Statements sent so far.
    pub attempts: u32,
    /// Nodes that have failed this read, until something changes.
    pub avoided: NodeSet,
    /// True if the log itself is in the epoch of the token, or nobody can say that it is not.
    pub in_tokens_epoch: bool,
    /// Error of the last node.
    pub error: Option<NodeError>,
    fallback: Fallback,
}

impl Progress {
    pub fn begin(wait_max: Duration, time_left: Option<Duration>) -> Self {
        let now = Instant::now();
        // An answer that says what is missing is worth more than a deadline exceeded.
        let left = time_left.map_or(wait_max, |left| wait_max.min(time_to_wait(left)));
        Self {
            begun: now,
            ask_log_at: Some(now + LOG_PATIENCE.min(left / 2)),
            until: now + left,
            // Half at most: the read primary may need a permit, and time to answer.
            primary_from: now + REPLICA_PATIENCE.min(left / 2),
            attempts: 0,
            avoided: NodeSet::default(),
            in_tokens_epoch: false,
            error: None,
            fallback: Fallback::Unasked,
        }
    }

    pub fn pick_request<'a>(
        &self,
        access: Access,
        consistency: &'a Consistency,
        time: Reading,
        random_seed: usize,
    ) -> PickRequest<'a> {
        let now = Instant::now();
        PickRequest {
            access,
            consistency,
            avoided: self.avoided,
            primary_too: now >= self.primary_from,
            primary_fallback: match &self.fallback {
                Fallback::Granted(permit) if now < permit.at() => PrimaryFallback::Later,
                Fallback::Unasked | Fallback::Granted(_) => PrimaryFallback::Allowed,
                Fallback::Refused(_) => PrimaryFallback::Refused,
            },
            in_tokens_epoch: self.in_tokens_epoch,
            now: time.now,
            random_seed,
        }
    }

    /// True until a permit for the read primary has been asked for.
    pub fn needs_permit(&self) -> bool {
        matches!(self.fallback, Fallback::Unasked)
    }

    /// Asks for a permit for the read primary, now or before the wait is over.
    pub fn ask_permit(&mut self, limiter: &Arc<FallbackLimiter>) {
        let permit = limiter.ask(self.until);
        self.fallback = permit.map_or_else(Fallback::Refused, Fallback::Granted);
    }

    /// End of a wait at `now` with a node that will do.
    pub fn satisfied(&self, now: Instant) -> Waited {
        if now < self.primary_from { Waited::Satisfied } else { Waited::SatisfiedLate }
    }

    /// There is no place to wait for a replica in: the read primary will do from now on. False if
    /// it did before.
    pub fn no_patience(&mut self, now: Instant) -> bool {
        let had_some = now < self.primary_from;
        self.primary_from = self.primary_from.min(now);
        had_some
    }

    /// The read primary is read from.
    pub fn spend_permit(&mut self) {
        if let Fallback::Granted(permit) = &mut self.fallback {
            permit.spend();
        }
    }

    /// If the read primary takes over no more: when to try again.
    pub fn refused(&self) -> Option<Duration> {
        match &self.fallback {
            Fallback::Unasked | Fallback::Granted(_) => None,
            Fallback::Refused(retry_after) => Some(*retry_after),
        }
    }

    /// The next moment at which more becomes possible, or nothing any more.
    pub fn next_stage(&self) -> Instant {
        let permitted = match &self.fallback {
            Fallback::Granted(permit) => permit.at(),
            Fallback::Unasked | Fallback::Refused(_) => self.until,
        };
        let now = Instant::now();
        let ask_log_at = self.ask_log_at.unwrap_or(self.until);
        let stages = [self.primary_from, permitted, ask_log_at, self.until].into_iter();
        stages.filter(|stage| *stage > now).min().unwrap_or(self.until)
    }

    /// Counts an attempt, and avoids its node from now on.
    pub fn missed(&mut self, node: usize, missed: AttemptError) -> Result<(), ReadError> {
        self.attempts += 1;
        self.avoided.insert(node);
        match missed {
            AttemptError::TooOld => self.error = None,
            AttemptError::Failed(error) if error.try_elsewhere() => self.error = Some(error),
            AttemptError::Failed(NodeError::TooSlow) => {
                return Err(ReadError::Overloaded { retry_after: RETRY_AFTER });
            }
            AttemptError::Failed(error) | AttemptError::Final(error @ NodeError::Defect(_)) => {
                return Err(ReadError::Defect(error));
            }
            AttemptError::Final(error) => return Err(ReadError::NoNode(Some(error))),
        }
        Ok(())
    }
}
