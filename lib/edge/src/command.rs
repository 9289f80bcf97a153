//! A command's options, from its message and its metadata.

use headwater_kernel::{PartitionKey, StreamId, StreamVersion, Tokens};
use headwater_proto::headwater::v1::CommandOptions;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::ack::AckRequest;
use crate::deadline::grpc_timeout;
use crate::etag::{Expected, History, Tags};
use crate::failure::{ErrorReason, Failure};
use crate::key::KeyHashes;
use crate::token::{token_failure_in, tokens_of};
use crate::trace::valid_traceparent;
use crate::validate::Violations;

mod batch;

pub use batch::BatchMetadata;

/// Target of a command, and how it is to be carried out.
#[derive(Clone, Debug)]
pub struct Call {
    /// The aggregate's stream.
    pub stream: StreamId,
    /// Key that decides its partition.
    pub partition_key: PartitionKey,
    /// The domain's name for its refusals, such as `stores`.
    pub domain: &'static str,
    /// Options of the call.
    pub options: CallOptions,
}

/// Options of a command, from fields and metadata.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// The idempotency key and the payload, hashed.
    pub key: Option<KeyHashes>,
    /// The version the client expects.
    pub expected_version: Option<StreamVersion>,
    /// The history that it is a version of, if the client expects it by an ETag.
    pub expected_history: Option<History>,
    /// Tokens that the client has seen so far; its receipt covers them too.
    pub seen: Option<Tokens>,
    /// Sender of the command.
    pub caller: Option<String>,
    /// The span it was sent in, as a W3C trace context: kept with its events where this process
    /// records no span of its own, so that the trace does not end here.
    pub traceparent: Option<String>,
    /// Level that the effect must have reached before it is answered; committed if `None`.
    pub ack: Option<AckRequest>,
}

/// The part of a command request that is the same for all.
#[derive(Clone, Debug)]
pub struct Envelope {
    options: CallOptions,
}

/// Metadata of the version that the client expects.
const IF_MATCH: &str = "if-match";
/// Metadata of the idempotency key.
const KEY: &str = "idempotency-key";
const IF_NONE_MATCH: &str = "if-none-match";
const CALLER_BYTES_MAX: usize = 200;

/// A request that is a command; generated for every request message with `CommandOptions`.
pub trait CommandRequest: prost::Message {
    /// Full name of its method: with the message it is what an idempotency key stands for.
    const METHOD: &'static str;

    /// Takes the options out, so that what remains is the payload.
    fn take_options(&mut self) -> Option<CommandOptions>;

    /// The domain's name for its refusals, such as `stores`: the first word of the method's
    /// package.
    fn domain() -> &'static str {
        Self::METHOD.split('.').next().unwrap_or_default()
    }
}

/// Reads a request: its options and metadata, and what `fields` makes of the rest.
///
/// # Errors
/// Malformed options, or every violation that `fields` recorded.
pub fn read_command<M: CommandRequest, T>(
    request: Request<M>,
    fields: impl FnOnce(&M, &mut Violations) -> Option<T>,
) -> Result<(Envelope, T), Failure> {
    let (metadata, _, mut message) = request.into_parts();
    let options = message.take_options();
    let envelope = Envelope::read(&metadata, options, M::METHOD, &message)?;
    let mut violations = Violations::new();
    let value = fields(&message, &mut violations);
    Ok((envelope, violations.finish(value)?))
}

impl Envelope {
    /// Reads options and metadata; where both give a value, the option wins. `message` is the
    /// request without its options, `method` its full name: together they are what an idempotency
    /// key stands for.
    ///
    /// # Errors
    /// A malformed key, token or condition, or tokens of different logs.
    pub fn read<M: prost::Message>(
        metadata: &MetadataMap,
        options: Option<CommandOptions>,
        method: &'static str,
        message: &M,
    ) -> Result<Self, Failure> {
        let options = options.unwrap_or_default();
        let seen = match options.token.as_str() {
            "" => tokens_of(metadata)?,
            field => Tokens::decode_all([field])
                .map_err(|error| token_failure_in("options.token", error))?,
        };
        let caller = caller_of(metadata);
        let key = match options.idempotency_key.as_str() {
            "" => key_of(metadata)?,
            _ => Some(options.idempotency_key),
        };
        let key =
            key.map(|key| KeyHashes::of((caller.as_deref(), &key), method, message)).transpose()?;
        let traceparent = traceparent_of(metadata);
        let expected = match options.expected_version {
            Some(version) => Some(Expected { version, history: None }),
            None => expected_by_metadata(metadata)?,
        };
        let expected_version = expected.map(|expected| StreamVersion(expected.version));
        let expected_history = expected.and_then(|expected| expected.history);
        let left = grpc_timeout(metadata.as_ref());
        let ack = AckRequest::read(metadata, options.acknowledgement, left, Instant::now())?;
        let options =
            CallOptions { key, expected_version, expected_history, seen, caller, traceparent, ack };
        Ok(Self { options })
    }

    /// The call on an aggregate.
    pub fn call(self, domain: &'static str, target: Target) -> Call {
        let Target { stream, partition_key } = target;
        Call { stream, partition_key, domain, options: self.options }
    }
}

/// The key in the metadata. One that cannot be read, or several that differ, would leave open what
/// is applied once.
fn key_of(metadata: &MetadataMap) -> Result<Option<String>, Failure> {
    let mut values = metadata.get_all(KEY).iter();
    let Some(first) = values.next().filter(|value| !value.is_empty()) else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Failure::invalid(KEY, "must be sent once: the values differ"));
    }
    match first.to_str() {
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => Err(Failure::invalid(KEY, "must be 1 to 255 printable ASCII characters")),
    }
}

fn caller_of(metadata: &MetadataMap) -> Option<String> {
    let caller = metadata.get("headwater-caller")?.to_str().ok()?;
    let mut caller = caller.to_owned();
    caller.truncate(CALLER_BYTES_MAX);
    Some(caller)
}

fn traceparent_of(metadata: &MetadataMap) -> Option<String> {
    valid_traceparent(metadata.get("traceparent")?.to_str().ok()?)
}

/// The aggregate that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    stream: StreamId,
    partition_key: PartitionKey,
}

impl Target {
    /// The aggregate with this id, which lives in the partition of another one.
    pub fn beside(id: Uuid, other: Uuid) -> Self {
        Self { stream: StreamId(id), partition_key: PartitionKey(other) }
    }
}

/// The aggregate with this id, in a partition that follows from it.
impl From<Uuid> for Target {
    fn from(id: Uuid) -> Self {
        Self::beside(id, id)
    }
}

/// All values of one name that are text.
fn values<'m>(metadata: &'m MetadataMap, name: &'static str) -> impl Iterator<Item = &'m str> {
    metadata.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// `if-match` with the ETag of a reply is the version that it shows, of the history that it is of;
/// `if-none-match: *` is version 0: the aggregate must not exist yet.
fn expected_by_metadata(metadata: &MetadataMap) -> Result<Option<Expected>, Failure> {
    let tags = |name| {
        let all = values(metadata, name).collect::<Vec<_>>().join(",");
        if metadata.contains_key(name) { Some(all.parse::<Tags>()) } else { None }
    };
    let wrong = |name: &'static str, must: &'static str| {
        let message = format!("the condition {name} cannot be checked");
        Err(Failure::new(ErrorReason::InvalidRequest, message).violation(name, must))
    };
    let must = "must be one ETag of an aggregate as a reply gave it, or its version, such as \"3\"";
    match (tags(IF_MATCH), tags(IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (None, Some(Ok(Tags::All))) => Ok(Some(Expected { version: 0, history: None })),
        (None, Some(_)) => wrong(IF_NONE_MATCH, "must be *, for what must not exist yet"),
        (Some(Ok(Tags::Some(tags))), None) => match tags.as_slice() {
            [tag] => tag.expected().map_or_else(|| wrong(IF_MATCH, must), |is| Ok(Some(is))),
            _ => wrong(IF_MATCH, must),
        },
        (Some(_), None) => wrong(IF_MATCH, must),
        (Some(_), Some(_)) => wrong(IF_MATCH, "must not be sent with if-none-match"),
    }
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Epoch, LogId, Position, Token};
    use headwater_proto::headwater::v1::AwaitRequest;

    use super::*;
    use crate::etag::ETag;
    use crate::token::TOKEN;

    #[test]
    fn metadata_gives_what_the_options_do_not() {
        let mut metadata = MetadataMap::new();
        metadata.insert("idempotency-key", "from-metadata".parse().expect("ascii"));
        let message = AwaitRequest::default();
        let read = |options| {
            Envelope::read(&metadata, options, "m", &message).ok().and_then(|e| e.options.key)
        };
        let of = |key| KeyHashes::of((None, key), "m", &message).ok();
        let field = CommandOptions { idempotency_key: "field".to_owned(), ..Default::default() };
        assert_eq!(read(None), of("from-metadata"));
        assert_eq!(read(Some(field)), of("field"));
        assert_eq!(sent(&[], None).map(|options| options.key), Ok(None));
        let twice = |second| [("idempotency-key", "one"), ("idempotency-key", second)];
        assert_eq!(sent(&twice("one"), None).map(|options| options.key), Ok(of("one")));
        assert_eq!(sent(&twice("two"), None).map(|options| options.key), Err("INVALID_REQUEST"));
        let long = CommandOptions { idempotency_key: "k".repeat(256), ..Default::default() };
        assert_eq!(sent(&[], Some(long)).map(|options| options.key), Err("INVALID_REQUEST"));
    }

    /// Options read from metadata, or the fields and the reason of what is wrong with them.
    fn sent(
        pairs: &[(&'static str, &str)],
        options: Option<CommandOptions>,
    ) -> Result<CallOptions, &'static str> {
        let mut metadata = MetadataMap::new();
        for (name, value) in pairs {
            metadata.append(*name, value.parse().expect("ascii"));
        }
        Envelope::read(&metadata, options, "m", &AwaitRequest::default())
            .map(|envelope| envelope.options)
            .map_err(|failure| failure.reason())
    }

    #[test]
    fn a_condition_is_an_expected_version() {
        let wrong = Err("INVALID_REQUEST");
        let (is, none) = (IF_MATCH, IF_NONE_MATCH);
        type Sent<'a> = &'a [(&'static str, &'a str)];
        let table: [(Sent<'_>, Result<Option<u64>, &str>); 16] = [
            (&[], Ok(None)),
            (&[(is, "\"3\"")], Ok(Some(3))),
            (&[(is, " \"18\" ")], Ok(Some(18))),
            (&[(is, "\"18.0.9f86d081884c\"")], Ok(Some(18))),
            (&[(is, "W/\"18.2.9f86d081884c\"")], Ok(Some(18))),
            (&[(is, "\"18.2\"")], wrong),
            (&[(none, "*")], Ok(Some(0))),
            (&[(is, "3")], wrong),
            (&[(is, "")], wrong),
            (&[(is, "*")], wrong),
            (&[(is, "\"3\", \"4\"")], wrong),
            (&[(is, "\"3\""), (is, "\"3\"")], wrong),
            (&[(is, "\"d0000000000000003\"")], wrong),
            (&[(none, "\"3\"")], wrong),
            (&[(is, "\"3\""), (none, "*")], wrong),
            (&[(none, "\"")], wrong),
        ];
        for (pairs, expected) in table {
            let version = sent(pairs, None).map(|options| options.expected_version);
            assert_eq!(version, expected.map(|v| v.map(StreamVersion)), "{pairs:?}");
        }
        let field = CommandOptions { expected_version: Some(7), ..Default::default() };
        let history = History::of(Uuid::max(), LogId(Uuid::nil()), Epoch(2));
        let tag = ETag::of_version(3, 0, history).to_string();
        let read = sent(&[(is, &tag)], None).expect("a tag");
        assert_eq!(read.expected_history, Some(history));
        assert_eq!(sent(&[(is, "\"3\"")], None).expect("a version").expected_history, None);
        let read = sent(&[(is, "nonsense")], Some(field)).expect("the field wins");
        assert_eq!(read.expected_version, Some(StreamVersion(7)));
    }

    #[test]
    fn all_tokens_are_merged() {
        let token = |log: u128, positions: &[u64]| {
            let positions: Vec<_> = positions.iter().copied().map(Position).collect();
            Token::of_positions(LogId(Uuid::from_u128(log)), Epoch(1), &positions)
        };
        let (one, two) = (token(1, &[5, 2]), token(1, &[3, 9]));
        let both = Tokens::from(token(1, &[5, 9]));
        let (a, b) = (one.encode(), two.encode());
        let read = |pairs: &[(&'static str, &str)], field: String| {
            let field = CommandOptions { token: field, ..Default::default() };
            sent(pairs, Some(field)).map(|options| options.seen)
        };
        let none = String::new;
        assert_eq!(read(&[(TOKEN, &a), (TOKEN, &b)], none()), Ok(Some(both.clone())));
        assert_eq!(read(&[(TOKEN, "nonsense")], format!("{a}, {b}")), Ok(Some(both)));
        assert_eq!(read(&[(TOKEN, "")], none()), Ok(None));
        assert_eq!(read(&[(TOKEN, &a), (TOKEN, "nonsense")], none()), Err("TOKEN_MALFORMED"));
        let other = token(2, &[1]).encode();
        assert_eq!(read(&[(TOKEN, &a), (TOKEN, &other)], none()), Err("TOKEN_FOREIGN"));
    }

    #[test]
    fn a_callers_trace_is_kept_if_it_can_be_read() {
        let read = |sent: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("traceparent", sent.parse().expect("ascii"));
            let envelope = Envelope::read(&metadata, None, "m", &AwaitRequest::default());
            envelope.ok().and_then(|envelope| envelope.options.traceparent)
        };
        let check = |sent: &str, kept: bool| {
            assert_eq!(read(sent).as_deref(), kept.then_some(sent), "{sent}");
        };
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(right, true);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false);
        check("00-0af7651916cd43dd-b7ad6b7169203331-01", false);
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert_eq!(read(later).as_deref(), Some(right));
        check("", false);
    }
}
