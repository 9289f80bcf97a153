//! What every query has in common on the wire: replies that say how fresh they are, and errors.

use std::fmt::Display;
use std::time::Duration;

use headwater_edge::{
    DatedReply, ETag, Entity, EntityReply, ErrorReason, Failure, History, TOKEN, timestamp,
    token_failure,
};
use headwater_kernel::{NodeRole, TokenError};
use headwater_proto::headwater::v1;
use sha2::{Digest as _, Sha256};
use time::format_description::well_known::Rfc3339;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Response, Status};
use uuid::Uuid;

use super::query::Query;
use crate::choice::has_age;
use crate::read::{Best, ReadError, Reads};
use crate::seen::role_name;
use crate::seen::{Answer, NodeState, Shown};
use crate::write_side::EndError;
use crate::write_side::Source;

/// What tells this state of the entity from others.
const ETAG: &str = "etag";
/// How long the client may keep the reply for itself.
const CACHE_CONTROL: &str = "cache-control";

/// When to ask again after no node could answer: about what a failover or a restart takes to show.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The longest text that the details of an error carry; a longer token would arrive cut, and be
/// refused.
const DETAIL_CHARS_MAX: usize = 300;

/// The version of the aggregate and the history that it is of, or a digest of the content of rows
/// that join several aggregates, none of whose versions is their own; and the revision of the rows,
/// which may change one at its version.
fn tag_of(entity: &impl Entity, shown: &Shown) -> ETag {
    let (Some(version), Some(id)) = (entity.version(), entity.id()) else {
        return tag_of_content(entity, shown);
    };
    let checkpoint = &shown.node_state.checkpoint;
    let history = History::of(id, checkpoint.log, checkpoint.epoch);
    ETag::of_version(version, checkpoint.revision, history)
}

fn tag_of_content(message: &impl prost::Message, shown: &Shown) -> ETag {
    let digest = Sha256::digest(message.encode_to_vec());
    let mut half = [0; 8];
    half.copy_from_slice(&digest[..8]);
    ETag::of_digest(u64::from_be_bytes(half), shown.node_state.checkpoint.revision)
}

impl Query<'_> {
    /// A reply of several entities that says how fresh it is, in its message and in its metadata.
    /// Its tag is a digest of its content: if the client has the same, nothing but the freshness is
    /// sent.
    pub fn reply_list<M: DatedReply>(&self, shown: &Shown, mut message: M) -> Response<M> {
        let tag = tag_of_content(&message, shown);
        let not_modified = self.options.known.as_ref().is_some_and(|known| known.contain(&tag));
        if not_modified {
            message = M::default();
        }
        *message.freshness_mut() = Some(v1::Freshness { not_modified, ..self.freshness(shown) });
        self.tagged(shown, message, &tag)
    }

    /// The same for a single entity, which is left out if the client has it already.
    pub fn reply_one<M: EntityReply>(&self, shown: &Shown, entity: M::Entity) -> Response<M> {
        let tag = tag_of(&entity, shown);
        let not_modified = self.options.known.as_ref().is_some_and(|known| known.contain(&tag));
        let entity_version = entity.version();
        let freshness = v1::Freshness { entity_version, not_modified, ..self.freshness(shown) };
        let mut message = M::of((!not_modified).then_some(entity));
        *message.freshness_mut() = Some(freshness);
        self.tagged(shown, message, &tag)
    }

    fn tagged<M>(&self, shown: &Shown, message: M, tag: &ETag) -> Response<M> {
        let mut response = self.dated(shown, message);
        // Letters, digits, dots and quotes: always a valid header value.
        if let Ok(tag) = MetadataValue::try_from(tag.to_string()) {
            response.metadata_mut().insert(ETAG, tag);
        }
        response
    }

    fn dated<M>(&self, shown: &Shown, message: M) -> Response<M> {
        let mut response = Response::new(message);
        if let Some(token) = token_value(&shown.node_state) {
            response.metadata_mut().insert(TOKEN, token);
        }
        // What was too old when it was sent is not to be kept.
        let age = if shown.stale { 0 } else { self.options.max_age.as_secs() };
        if let Ok(value) = MetadataValue::try_from(format!("max-age={age}")) {
            response.metadata_mut().insert(CACHE_CONTROL, value);
        }
        response
    }

    /// The freshness of a reply made now.
    fn freshness(&self, shown: &Shown) -> v1::Freshness {
        freshness(self.reads, shown)
    }
}

/// The freshness of a message sent now.
pub fn freshness(reads: &Reads, shown: &Shown) -> v1::Freshness {
    let checkpoint = &shown.node_state.checkpoint;
    let time = reads.time();
    let age = has_age(checkpoint, time.now).then(|| checkpoint.freshness.staleness(time.now));
    let role = match shown.node_state.role {
        NodeRole::Primary => v1::NodeRole::Primary,
        NodeRole::Replica => v1::NodeRole::Replica,
    };
    let clock = match time.source {
        Source::WriteDatabase => v1::Clock::WriteDatabase,
        Source::Own => v1::Clock::Own,
    };
    v1::Freshness {
        token: checkpoint.token.clone(),
        as_of: Some(timestamp(checkpoint.freshness.as_of)),
        // No age overflows: both times are of this era.
        staleness: age.and_then(|age| prost_types::Duration::try_from(age).ok()),
        node_role: role.into(),
        stale: shown.stale,
        staleness_clock: clock.into(),
        entity_version: None,
        not_modified: false,
    }
}

/// The row that was asked for; NOT_FOUND, dated like any other answer, if there is none.
pub fn found<R>(
    answer: Answer<Option<R>>,
    what: &str,
    name: impl Display,
) -> Result<(R, Shown), Status> {
    let (row, shown) = answer.split();
    match row {
        Some(row) => Ok((row, shown)),
        None => Err(not_found(what, name, &shown)),
    }
}

fn not_found(what: &str, name: impl Display, shown: &Shown) -> Status {
    let message = match shown.stale {
        true => format!(
            "there is no {what} {name} in the freshest state there is, which is older than asked for"
        ),
        false => format!("there is no {what} {name} at the freshness that was asked for"),
    };
    let failure = Failure::new(ErrorReason::NotFound, message)
        .with("as_of", as_of(&shown.node_state))
        .with("stale", shown.stale);
    let mut status = Status::from(failure);
    if let Some(token) = token_value(&shown.node_state) {
        status.metadata_mut().insert(TOKEN, token);
    }
    status
}

/// The rows by their ids in the order in which they were asked for, and the ids under which there
/// is none, each once.
pub fn in_order<R: Clone>(ids: &[Uuid], found: Vec<(Uuid, R)>) -> (Vec<R>, Vec<String>) {
    let rows: std::collections::HashMap<Uuid, R> = found.into_iter().collect();
    let mut told = std::collections::HashSet::new();
    let missing = ids.iter().filter(|id| !rows.contains_key(*id) && told.insert(**id));
    let missing = missing.map(Uuid::to_string).collect();
    (ids.iter().filter_map(|id| rows.get(id).cloned()).collect(), missing)
}

/// Reason why a read was not answered, as the client is told.
pub fn failure(error: ReadError) -> Failure {
    match error {
        ReadError::Foreign => token_failure(TokenError::Foreign),
        ReadError::Lost => token_failure(TokenError::Lost),
        ReadError::NotFreshEnough(best) => {
            let message =
                "no node became as fresh as asked for in time; ask for less, or again later";
            let failure = Failure::new(ErrorReason::FreshnessUnavailable, message);
            offering(failure.retry_after(RETRY_AFTER), &best)
        }
        ReadError::TooManyWait(best) => offering(too_many_wait(), &best),
        ReadError::BeyondLog(best) => {
            let message = "the log does not go as far as the token; ask for less";
            let failure = Failure::new(ErrorReason::FreshnessUnavailable, message);
            offering(failure.retry_after(RETRY_AFTER), &best)
        }
        ReadError::NoLogEnd { cause, best } => no_log_end(cause, best.as_ref()),
        ReadError::NoNode(cause) => {
            let message = "no node of the read database can be reached at the moment";
            let failure = Failure::new(ErrorReason::DatabaseUnavailable, message);
            let failure = failure.retry_after(RETRY_AFTER);
            match cause {
                Some(cause) => failure.because(cause),
                None => failure,
            }
        }
        ReadError::FallbackLimited { retry_after, best } => {
            let message = "no replica can answer, and the read primary takes over no more reads";
            let failure = Failure::new(ErrorReason::PrimaryShareSpent, message);
            offering_any(failure.retry_after(retry_after), best.as_ref())
        }
        ReadError::Overloaded { retry_after } => {
            let message = "too much is being read at the moment";
            Failure::new(ErrorReason::Overloaded, message).retry_after(retry_after)
        }
        ReadError::Defect(cause) => {
            let message = "the query failed by a defect of the service";
            Failure::new(ErrorReason::Internal, message).because(cause)
        }
    }
}

/// Refusal of a call that would have to wait.
pub fn too_many_wait() -> Failure {
    // Spread, so that all who are refused now do not come back together.
    let delay = RETRY_AFTER.mul_f64(rand::random_range(0.5..1.5));
    let message = "too many calls wait for a fresher state already; ask for less, or again later";
    Failure::new(ErrorReason::FreshnessUnavailable, message).retry_after(delay)
}

fn no_log_end(cause: EndError, best: Option<&Best>) -> Failure {
    let (message, passes) = match cause {
        EndError::NotConfigured => {
            ("strong reads need a way to the write database, which is not configured", false)
        }
        EndError::Unavailable(_) => {
            ("the write database cannot be asked for the end of its log at the moment", true)
        }
        EndError::Busy => ("too many strong reads wait for the end of the log", true),
        EndError::OtherLog => {
            ("the read database does not show the log that the write database holds", true)
        }
    };
    let failure = Failure::new(ErrorReason::LogEndUnknown, message).because(cause);
    let failure = if passes { failure.retry_after(RETRY_AFTER) } else { failure };
    offering_any(failure, best)
}

/// Says what could be had, if anything.
fn offering_any(failure: Failure, best: Option<&Best>) -> Failure {
    match best {
        Some(best) => offering(failure, best),
        None => failure,
    }
}

/// Says what could be had.
fn offering(failure: Failure, best: &Best) -> Failure {
    let failure = failure
        .with("best_as_of", as_of(&best.node_state))
        .with("best_staleness_ms", best.age.as_millis())
        .with("best_node_role", role_name(best.node_state.role));
    let token = &best.node_state.checkpoint.token;
    if token.len() > DETAIL_CHARS_MAX { failure } else { failure.with("best_token", token) }
}

fn as_of(shown: &NodeState) -> String {
    // Fails only for years that no clock shows.
    shown.checkpoint.freshness.as_of.format(&Rfc3339).unwrap_or_default()
}

/// Tokens are base64: always a valid header value.
fn token_value(shown: &NodeState) -> Option<MetadataValue<Ascii>> {
    MetadataValue::try_from(shown.checkpoint.token.as_str()).ok()
}
