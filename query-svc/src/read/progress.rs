//! How one read stands: what it has tried, and how long it may go on.

use std::sync::Arc;
use std::time::Duration;

use headwater_kernel::Consistency;
use tokio::time::Instant;

use super::need::ReadError;
use crate::choice::{FallbackLimiter, FallbackPermit};
use crate::choice::{PickRequest, PrimaryRoom};
use crate::nodes::RETRY_AFTER;
use crate::seen::NodeError;
use crate::seen::NodeSet;
use crate::write_side::Reading;

/// How long a read waits for a replica before it may go to the read primary. Replication takes
/// milliseconds; what takes longer than this may take for ever.
const REPLICA_PATIENCE: Duration = Duration::from_millis(100);

/// What an attempt came to, if not to a reply.
pub enum AttemptError {
    /// An answer that was not fresh enough, or of another log.
    TooOld,
    /// No answer.
    Failed(NodeError),
}

/// Where a read stands with the read primary.
enum Fallback {
    /// It has not needed it.
    Unasked,
    /// It has a turn there, now or later.
    Given(FallbackPermit),
    /// There is no turn in time; when to try again.
    Refused(Duration),
}

/// How a read stands that was not answered at once.
pub struct Progress {
    /// When waiting has been long enough.
    pub until: Instant,
    /// When the read primary will do, too.
    pub primary_from: Instant,
    /// Statements sent so far.
    pub attempts: u32,
    /// Nodes that have failed this read, until something changes.
    pub avoided: NodeSet,
    /// Whether the log itself is in the epoch of the token, or nobody can say that it is not.
    pub in_tokens_epoch: bool,
    /// What the last node said.
    pub error: Option<NodeError>,
    fallback: Fallback,
}

impl Progress {
    pub fn begin(wait_max: Duration, time_left: Option<Duration>) -> Self {
        let now = Instant::now();
        // The rest of the client's time is for the reply: an answer that says what is missing is
        // worth more than a deadline exceeded.
        let left = time_left.map_or(wait_max, |left| wait_max.min(left.mul_f64(0.9)));
        Self {
            until: now + left,
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
        consistency: &'a Consistency,
        time: Reading,
        random_seed: usize,
    ) -> PickRequest<'a> {
        let now = Instant::now();
        PickRequest {
            consistency,
            avoided: self.avoided,
            primary_too: now >= self.primary_from,
            primary_room: match &self.fallback {
                Fallback::Given(turn) if now < turn.at() => PrimaryRoom::Later,
                Fallback::Unasked | Fallback::Given(_) => PrimaryRoom::Now,
                Fallback::Refused(_) => PrimaryRoom::Never,
            },
            in_tokens_epoch: self.in_tokens_epoch,
            now: time.now,
            random_seed,
        }
    }

    /// Asks for a turn on the read primary, once; whether it was asked for only now.
    pub fn ask(&mut self, share: &Arc<FallbackLimiter>) -> bool {
        let is_first = matches!(self.fallback, Fallback::Unasked);
        if is_first {
            let turn = share.ask(self.until);
            self.fallback = turn.map_or_else(Fallback::Refused, Fallback::Given);
        }
        is_first
    }

    /// The read primary is read from.
    pub fn take_turn(&mut self) {
        if let Fallback::Given(turn) = &mut self.fallback {
            turn.take();
        }
    }

    /// If the read primary takes over no more: when to try again.
    pub fn refused(&self) -> Option<Duration> {
        match &self.fallback {
            Fallback::Unasked | Fallback::Given(_) => None,
            Fallback::Refused(retry_after) => Some(*retry_after),
        }
    }

    /// The next moment at which more becomes possible, or nothing any more.
    pub fn next_stage(&self) -> Instant {
        let turn = match &self.fallback {
            Fallback::Given(turn) => turn.at(),
            Fallback::Unasked | Fallback::Refused(_) => self.until,
        };
        let now = Instant::now();
        let stages = [self.primary_from, turn, self.until].into_iter();
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
            AttemptError::Failed(error) => return Err(ReadError::Defect(error)),
        }
        Ok(())
    }
}
