//! What every query has in common on the wire: the freshness it asks for, the freshness it gets,
//! and its errors.

use std::time::Duration;

use headwater_chassis::server::grpc_timeout;
use headwater_chassis::{ErrorReason, Failure, Violations};
use headwater_kernel::{Consistency, NodeRole, Token, TokenError};
use headwater_proto::headwater::v1;
use headwater_proto::headwater::v1::consistency::Requirement;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::meters::role_name;
use crate::read::{Need, ReadError};
use crate::sighting::{Answer, Sighting};

/// Token of the state that is required, and of the state that was shown.
const TOKEN: &str = "headwater-token";
/// `any`: the token in the metadata is not a requirement, for this call.
const CONSISTENCY: &str = "headwater-consistency";
/// Version of the entity.
const ETAG: &str = "etag";

const STALENESS_MIN: Duration = Duration::from_millis(10);
const STALENESS_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// When to ask again after no node could answer: about what a failover or a restart takes to show.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The longest text that the details of an error carry; a longer token would arrive cut, and be
/// refused.
const DETAIL_CHARS_MAX: usize = 300;

/// What the request requires: its field, or else its metadata. `None` after recording a violation.
pub fn need(
    metadata: &MetadataMap,
    field: Option<v1::Consistency>,
    violations: &mut Violations,
) -> Result<Option<Need>, Failure> {
    let consistency = match field.and_then(|field| field.requirement) {
        Some(Requirement::Any(_)) => Some(Consistency::Any),
        Some(Requirement::AtLeast(token)) => Some(at_least(&token)?),
        Some(Requirement::MaxStaleness(limit)) => max_staleness(limit, violations),
        None => from_metadata(metadata, violations)?,
    };
    let time_left = grpc_timeout(metadata.as_ref());
    Ok(consistency.map(|consistency| Need { consistency, time_left }))
}

fn from_metadata(
    metadata: &MetadataMap,
    violations: &mut Violations,
) -> Result<Option<Consistency>, Failure> {
    match metadata.get(CONSISTENCY).map(MetadataValue::as_bytes) {
        Some(b"any") => return Ok(Some(Consistency::Any)),
        Some(_) => {
            violations.add(CONSISTENCY, "must be any; ask for more by the field `consistency`");
            return Ok(None);
        }
        None => {}
    }
    let Some(token) = metadata.get(TOKEN).filter(|token| !token.is_empty()) else {
        return Ok(Some(Consistency::Any));
    };
    let token = token.to_str().map_err(|_| token_failure(TokenError::Malformed))?;
    at_least(token).map(Some)
}

fn at_least(token: &str) -> Result<Consistency, Failure> {
    Token::decode(token).map(Consistency::AtLeast).map_err(token_failure)
}

fn max_staleness(limit: prost_types::Duration, violations: &mut Violations) -> Option<Consistency> {
    let range = STALENESS_MIN..=STALENESS_MAX;
    let limit = Duration::try_from(limit).ok().filter(|limit| range.contains(limit));
    if limit.is_none() {
        violations.add("consistency.max_staleness", "must be from 10 ms to 1 day");
    }
    limit.map(Consistency::MaxStaleness)
}

/// A reply that says how fresh it is, in its message and, by this, in its metadata.
pub fn reply<T>(message: T, shown: &Sighting) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(token) = token_value(shown) {
        response.metadata_mut().insert(TOKEN, token);
    }
    response
}

/// The same for a single entity, whose version is its ETag.
pub fn reply_with_etag<T>(message: T, version: u64, shown: &Sighting) -> Response<T> {
    let mut response = reply(message, shown);
    // Digits and quotes: always a valid header value.
    if let Ok(etag) = MetadataValue::try_from(format!("\"{version}\"")) {
        response.metadata_mut().insert(ETAG, etag);
    }
    response
}

/// The freshness of a reply made now.
pub fn freshness(shown: &Sighting) -> v1::Freshness {
    let checkpoint = &shown.checkpoint;
    let age = checkpoint.freshness.staleness(OffsetDateTime::now_utc());
    let role = match shown.role {
        NodeRole::Primary => v1::NodeRole::Primary,
        NodeRole::Replica => v1::NodeRole::Replica,
    };
    v1::Freshness {
        token: checkpoint.token.clone(),
        as_of: Some(timestamp(checkpoint.freshness.as_of)),
        // No age overflows: both times are of this era.
        staleness: prost_types::Duration::try_from(age).ok(),
        node_role: role.into(),
    }
}

/// A time on the wire.
pub fn timestamp(time: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}

/// The row that was asked for; NOT_FOUND, dated like any other answer, if there is none.
pub fn found<R>(
    answer: Answer<Option<R>>,
    what: &str,
    name: &str,
) -> Result<(R, Sighting), Status> {
    let shown = answer.sighting;
    match answer.value {
        Some(row) => Ok((row, shown)),
        None => Err(not_found(what, name, &shown)),
    }
}

fn not_found(what: &str, name: &str, shown: &Sighting) -> Status {
    let message = format!("there is no {what} {name} at the freshness that was asked for");
    let failure = Failure::new(ErrorReason::NotFound, message).with("as_of", as_of(shown));
    let mut status = Status::from(failure);
    if let Some(token) = token_value(shown) {
        status.metadata_mut().insert(TOKEN, token);
    }
    status
}

/// The rows by their ids in the order in which they were asked for, and the ids under which there
/// is none.
pub fn in_order<R: Clone>(ids: &[Uuid], found: Vec<(Uuid, R)>) -> (Vec<R>, Vec<String>) {
    let rows: std::collections::HashMap<Uuid, R> = found.into_iter().collect();
    let missing = ids.iter().filter(|id| !rows.contains_key(id)).map(Uuid::to_string).collect();
    (ids.iter().filter_map(|id| rows.get(id).cloned()).collect(), missing)
}

/// 1 to 100 ids.
pub fn ids(field: &str, ids: &[String], violations: &mut Violations) -> Option<Vec<Uuid>> {
    violations.check((1..=100).contains(&ids.len()), field, "must name 1 to 100 ids")?;
    let parsed: Vec<Option<Uuid>> = ids
        .iter()
        .enumerate()
        .map(|(index, id)| violations.uuid(&format!("{field}[{index}]"), id))
        .collect();
    parsed.into_iter().collect()
}

/// Why a read was not answered, as the client is told.
pub fn failure(error: ReadError) -> Failure {
    match error {
        ReadError::Foreign => token_failure(TokenError::Foreign),
        ReadError::Stale { best } => stale(&best),
        ReadError::NoNode(cause) => {
            let message = "no node of the read database can be reached at the moment";
            let failure = Failure::new(ErrorReason::DatabaseUnavailable, message);
            let failure = failure.retry_after(RETRY_AFTER);
            match cause {
                Some(cause) => failure.because(cause),
                None => failure,
            }
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

fn stale(best: &Sighting) -> Failure {
    let message = "no node became as fresh as asked for in time; ask for less, or again later";
    let checkpoint = &best.checkpoint;
    let age = checkpoint.freshness.staleness(OffsetDateTime::now_utc());
    let failure = Failure::new(ErrorReason::FreshnessUnavailable, message)
        .with("best_as_of", as_of(best))
        .with("best_staleness_ms", age.as_millis())
        .with("best_node_role", role_name(best.role))
        .retry_after(RETRY_AFTER);
    if checkpoint.token.len() > DETAIL_CHARS_MAX {
        return failure;
    }
    failure.with("best_token", &checkpoint.token)
}

fn token_failure(error: TokenError) -> Failure {
    let reason = match error {
        TokenError::Malformed => ErrorReason::TokenMalformed,
        TokenError::Foreign => ErrorReason::TokenForeign,
    };
    Failure::new(reason, error.to_string())
}

fn as_of(shown: &Sighting) -> String {
    // Fails only for years that no clock shows.
    shown.checkpoint.freshness.as_of.format(&Rfc3339).unwrap_or_default()
}

/// Tokens are base64: always a valid header value.
fn token_value(shown: &Sighting) -> Option<MetadataValue<Ascii>> {
    MetadataValue::try_from(shown.checkpoint.token.as_str()).ok()
}
