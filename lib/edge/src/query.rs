//! Options of a query, apart from what it asks: the freshness it needs, and the state it knows
//! already. By field, by metadata, or by the method's policy.

use std::collections::BTreeSet;
use std::time::Duration;

use headwater_kernel::{Consistency, TokenError, Tokens};
use headwater_proto::headwater::v1;
use headwater_proto::headwater::v1::consistency::Requirement as Field;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;
use tonic::metadata::MetadataMap;

use crate::consistency::{Requirement, STALENESS, Written};
use crate::deadline::grpc_timeout;
use crate::etag::Tags;
use crate::failure::Failure;
use crate::policy::Policy;
use crate::token::{TOKEN, token_failure_in, tokens_of};
use crate::validate::Violations;

/// A requirement in words; tokens beside it count only for `at_least`.
const CONSISTENCY: &str = "headwater-consistency";
/// ETags that the client has.
const IF_NONE_MATCH: &str = "if-none-match";

/// A request that is a query; generated for every request message with a `Consistency`.
pub trait QueryRequest: prost::Message {
    /// Full name of its method, by which its policy is found.
    const METHOD: &'static str;

    /// Takes the wanted consistency out.
    fn take_consistency(&mut self) -> Option<v1::Consistency>;
}

/// A reply that says how fresh it is; generated for every reply message with a `Freshness`.
pub trait DatedReply: prost::Message + Default {
    /// The field that says it.
    fn freshness_mut(&mut self) -> &mut Option<v1::Freshness>;
}

/// The freshness that a read requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Required {
    /// Requirement that can be judged by an answer alone.
    State(Consistency),
    /// Everything that these tokens prove.
    Seen(Tokens),
    /// All that was committed when the read arrived.
    LogEnd,
}

/// Requirement of a read.
#[derive(Clone, Debug)]
pub struct Need {
    /// The freshness.
    pub required: Required,
    /// Rather an older answer than none.
    pub or_stale: bool,
    /// Time that the client leaves for the reply.
    pub time_left: Option<Duration>,
}

/// Requirement of a query's answer, and the state that its client knows already.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// The freshness, and the time that there is for it.
    pub need: Need,
    /// ETags of states that the client has.
    pub known: Option<Tags>,
    /// Time that the client may keep the reply.
    pub max_age: Duration,
}

impl QueryOptions {
    /// Reads them from a request's metadata and its consistency field, and from the method's policy
    /// where both are silent. `None` after recording a violation.
    ///
    /// # Errors
    /// A token that is malformed, or tokens of different logs.
    pub fn read(
        policy: &Policy,
        metadata: &MetadataMap,
        field: Option<v1::Consistency>,
        violations: &mut Violations,
    ) -> Result<Option<Self>, Failure> {
        let (required, or_stale) = required(metadata, field, policy, violations)?;
        let known = known(metadata, violations);
        let time_left = grpc_timeout(metadata.as_ref());
        Ok(required.zip(known).map(|(required, known)| Self {
            need: Need { required, or_stale, time_left },
            known,
            max_age: policy.max_age,
        }))
    }
}

/// Full names of the queries in a descriptor set: methods without side effects. The platform's own
/// tell of nodes and are left out: no policy applies to them.
///
/// # Errors
/// The descriptor set is malformed.
pub fn queries(descriptors: &[u8]) -> Result<BTreeSet<String>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let mut names = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() != "headwater.v1") {
        for service in &file.service {
            let queries = service.method.iter().filter(|method| {
                let level = method.options.as_ref().map(|options| options.idempotency_level());
                level == Some(IdempotencyLevel::NoSideEffects)
            });
            let service = format!("{}.{}", file.package(), service.name());
            names.extend(queries.map(|method| format!("{service}/{}", method.name())));
        }
    }
    Ok(names)
}

/// The field counts before the words, the words before a token alone, and that before what is set
/// for the method.
fn required(
    metadata: &MetadataMap,
    field: Option<v1::Consistency>,
    policy: &Policy,
    violations: &mut Violations,
) -> Result<(Option<Required>, bool), Failure> {
    let field = field.unwrap_or_default();
    if let Some(requirement) = field.requirement {
        return Ok((of_field(requirement, violations)?, field.or_stale));
    }
    let Some(Written { requirement, or_stale }) = words(metadata, violations) else {
        return Ok((None, false));
    };
    let or_stale = or_stale || field.or_stale;
    let has_token = metadata.get_all(TOKEN).iter().any(|token| !token.is_empty());
    let (requirement, or_stale) = match requirement {
        Some(requirement) => (requirement, or_stale),
        None if has_token => (Requirement::AtLeast, or_stale),
        None => {
            let set = policy.consistency;
            (set.requirement.unwrap_or(Requirement::Any), or_stale || set.or_stale)
        }
    };
    let required = match requirement {
        Requirement::Any => Some(Required::State(Consistency::Any)),
        Requirement::MaxStaleness(limit) => Some(Required::State(Consistency::MaxStaleness(limit))),
        Requirement::Strong => Some(Required::LogEnd),
        Requirement::AtLeast => {
            let tokens = tokens_of(metadata)?;
            violations.check(tokens.is_some(), TOKEN, "must hold a token, for at_least");
            tokens.map(Required::Seen)
        }
    };
    Ok((required, or_stale))
}

fn of_field(field: Field, violations: &mut Violations) -> Result<Option<Required>, Failure> {
    Ok(match field {
        Field::Any(_) => Some(Required::State(Consistency::Any)),
        Field::AtLeast(tokens) => {
            let tokens = Tokens::decode_all([tokens.as_str()]);
            let tokens = tokens.and_then(|tokens| tokens.ok_or(TokenError::Malformed));
            let wrong = |error| token_failure_in("consistency.at_least", error);
            Some(Required::Seen(tokens.map_err(wrong)?))
        }
        Field::MaxStaleness(limit) => {
            let limit = Duration::try_from(limit).ok().filter(|limit| STALENESS.contains(limit));
            let place = "consistency.max_staleness";
            violations.check(limit.is_some(), place, "must be from 10 ms to 1 day");
            limit.map(|limit| Required::State(Consistency::MaxStaleness(limit)))
        }
        Field::Strong(_) => Some(Required::LogEnd),
    })
}

/// `headwater-consistency`; `None` after recording a violation.
fn words(metadata: &MetadataMap, violations: &mut Violations) -> Option<Written> {
    let Some(value) = metadata.get(CONSISTENCY) else { return Some(Written::default()) };
    let written = value.to_str().unwrap_or_default().parse::<Written>();
    written.map_err(|what| violations.add(CONSISTENCY, format!("must be {what}"))).ok()
}

/// `if-none-match`, with the tags of all its values; `None` after recording a violation.
fn known(metadata: &MetadataMap, violations: &mut Violations) -> Option<Option<Tags>> {
    let values = metadata.get_all(IF_NONE_MATCH).iter();
    let values: Vec<&str> = values.map(|value| value.to_str().unwrap_or_default()).collect();
    if values.is_empty() {
        return Some(None);
    }
    let tags = values.join(",").parse::<Tags>();
    tags.map_err(|what| violations.add(IF_NONE_MATCH, format!("must be {what}"))).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Epoch, LogId, Position, Token};
    use tonic::metadata::MetadataValue;
    use uuid::Uuid;

    use super::*;

    fn token(positions: &[u64]) -> Token {
        let positions: Vec<_> = positions.iter().map(|position| Position(*position)).collect();
        Token::of_positions(LogId(Uuid::nil()), Epoch(1), &positions)
    }

    fn at_least(positions: &[u64]) -> Required {
        Required::Seen(Tokens::from(token(positions)))
    }

    fn within(millis: u64) -> Required {
        Required::State(Consistency::MaxStaleness(Duration::from_millis(millis)))
    }

    /// Requirement, or the fields and the reason of what is wrong.
    fn read(
        pairs: &[(&'static str, &str)],
        field: Option<(Option<Field>, bool)>,
        set: &str,
    ) -> (Option<(Required, bool)>, String) {
        let mut metadata = MetadataMap::new();
        for (name, value) in pairs {
            metadata.append(*name, MetadataValue::try_from(*value).expect("ascii"));
        }
        let field = field.map(|(requirement, or_stale)| v1::Consistency { requirement, or_stale });
        let consistency = set.parse().unwrap_or_default();
        let policy = Policy { consistency, max_age: Duration::ZERO };
        let mut violations = Violations::new();
        match required(&metadata, field, &policy, &mut violations) {
            Err(failure) => (None, failure.reason().to_owned()),
            Ok((None, _)) => {
                let failure = violations.finish(None::<()>).expect_err("a violation");
                (None, failure.message().rsplit(' ').next().unwrap_or_default().to_owned())
            }
            Ok((Some(required), or_stale)) => (Some((required, or_stale)), String::new()),
        }
    }

    #[test]
    fn the_requirement_is_taken_from_where_it_is_said_most_clearly() {
        let (one, two) = (token(&[5, 0, 3]).encode(), token(&[2, 7]).encode());
        let (one, two) = (one.as_str(), two.as_str());
        let joined = format!("{one},{two}");
        let any = || Required::State(Consistency::Any);
        let (says, has) = (CONSISTENCY, TOKEN);
        let (strong, end) = (Some(Field::Strong(true)), || Required::LogEnd);
        type Case<'a> = (
            &'a [(&'static str, &'a str)],
            Option<(Option<Field>, bool)>,
            &'a str,
            (Required, bool),
        );
        let table: [Case<'_>; 21] = [
            (&[], None, "", (any(), false)),
            (&[], Some((None, true)), "", (any(), true)),
            (&[], None, "strong", (end(), false)),
            (&[], Some((None, true)), "strong", (end(), true)),
            (&[], None, "max_staleness=2s; or_stale", (within(2_000), true)),
            (&[(has, "")], None, "strong", (end(), false)),
            (&[(has, one)], None, "strong; or_stale", (at_least(&[5, 0, 3]), false)),
            (&[(has, one), (has, two)], None, "", (at_least(&[5, 7, 3]), false)),
            (&[(has, &*joined)], None, "", (at_least(&[5, 7, 3]), false)),
            (&[(says, "or_stale"), (has, one)], None, "", (at_least(&[5, 0, 3]), true)),
            (&[(says, "at_least"), (has, two)], None, "", (at_least(&[2, 7]), false)),
            (&[(says, "any"), (has, "nonsense")], None, "strong", (any(), false)),
            (&[(says, "strong"), (has, one)], None, "", (end(), false)),
            (&[(says, "max_staleness=1m; or_stale")], None, "", (within(60_000), true)),
            (&[(says, "any")], Some((None, true)), "", (any(), true)),
            (&[(says, "any"), (has, one)], Some((strong.clone(), false)), "", (end(), false)),
            (&[(says, "nonsense")], Some((strong.clone(), true)), "", (end(), true)),
            (&[], Some((Some(Field::Any(true)), false)), "strong; or_stale", (any(), false)),
            (&[], Some((Some(Field::AtLeast(joined.clone())), false)), "strong", {
                (at_least(&[5, 7, 3]), false)
            }),
            (&[(has, "nonsense")], Some((Some(Field::AtLeast(one.to_owned())), false)), "", {
                (at_least(&[5, 0, 3]), false)
            }),
            (&[], Some((Some(Field::MaxStaleness(seconds(9))), false)), "", (within(9_000), false)),
        ];
        for (pairs, field, set, expected) in table {
            let found = read(pairs, field.clone(), set);
            assert_eq!(found, (Some(expected), String::new()), "{pairs:?} {field:?} {set:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = token(&[5]).encode();
        let other = Token::of_positions(LogId(Uuid::max()), Epoch(1), &[Position(1)]).encode();
        let field = |field| Some((Some(field), false));
        let (says, has) = (CONSISTENCY, TOKEN);
        type Case<'a> = (&'a [(&'static str, &'a str)], Option<(Option<Field>, bool)>, &'a str);
        let table: [Case<'_>; 10] = [
            (&[(says, "soon")], None, CONSISTENCY),
            (&[(says, "max_staleness=1ms")], None, CONSISTENCY),
            (&[(says, "at_least")], None, TOKEN),
            (&[(says, "at_least"), (has, " , ")], None, TOKEN),
            (&[(has, "nonsense")], None, "TOKEN_MALFORMED"),
            (&[(has, &one), (has, "nonsense")], None, "TOKEN_MALFORMED"),
            (&[(has, &one), (has, &other)], None, "TOKEN_FOREIGN"),
            (&[(has, &one)], field(Field::AtLeast("nonsense".to_owned())), "TOKEN_MALFORMED"),
            (&[(has, &one)], field(Field::AtLeast(String::new())), "TOKEN_MALFORMED"),
            (&[], field(Field::MaxStaleness(seconds(86_401))), "consistency.max_staleness"),
        ];
        for (pairs, field, expected) in table {
            let found = read(pairs, field.clone(), "");
            assert_eq!(found, (None, expected.to_owned()), "{pairs:?} {field:?}");
        }
    }

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }
}
