//! A command's options, from its message and its metadata.

use headwater_chassis::server::grpc_timeout;
use headwater_chassis::{ErrorReason, Failure};
use headwater_kernel::{PartitionKey, StreamId, StreamVersion, Token};
use headwater_proto::headwater::v1::CommandOptions;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::acks::Wish;

/// What a command is about and how it is to be carried out.
#[derive(Clone, Debug)]
pub struct Call {
    /// The aggregate's stream.
    pub stream: StreamId,
    /// What decides its partition.
    pub partition_key: PartitionKey,
    /// The domain's name for its refusals, such as `stores`.
    pub domain: &'static str,
    /// How it is to be carried out.
    pub options: CallOptions,
}

/// How a command is to be carried out.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Hashes of the idempotency key and of the payload.
    pub key: Option<KeyHashes>,
    /// The version the client expects.
    pub expected_version: Option<StreamVersion>,
    /// What the client has seen so far; its receipt covers it too.
    pub token: Option<Token>,
    /// Who sent the command.
    pub caller: Option<String>,
    /// The span it was sent in, as a W3C trace context: kept with its events where this process
    /// records no span of its own, so that the trace does not end here.
    pub traceparent: Option<String>,
    /// How far its effect must have come before it is answered; committed if `None`.
    pub ack: Option<Wish>,
}

/// An idempotency key and what it was sent with, as the log stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHashes {
    /// Of the key.
    pub key: Uuid,
    /// Of the method and the message.
    pub payload: Uuid,
}

/// The part of a command request that is the same for all.
#[derive(Clone, Debug)]
pub struct Envelope {
    options: CallOptions,
}

const KEY_BYTES_MAX: usize = 255;
const CALLER_BYTES_MAX: usize = 200;

impl Envelope {
    /// Reads options and metadata; where both give a value, the option wins. `message` is the
    /// request without its options, `method` its full name: together they are what an idempotency
    /// key stands for.
    ///
    /// # Errors
    /// A malformed key or token.
    pub fn read<M: prost::Message>(
        metadata: &MetadataMap,
        options: Option<CommandOptions>,
        method: &'static str,
        message: &M,
    ) -> Result<Self, Failure> {
        let options = options.unwrap_or_default();
        let text = |field: String, name: &str| match field.is_empty() {
            false => Some(field),
            true => metadata.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned),
        };
        let key = text(options.idempotency_key, "idempotency-key")
            .map(|key| hashes(&key, method, message))
            .transpose()?;
        let token = text(options.token, "headwater-token").map(|t| parse_token(&t)).transpose()?;
        let mut caller = text(String::new(), "headwater-caller");
        if let Some(caller) = &mut caller {
            caller.truncate(CALLER_BYTES_MAX);
        }
        let traceparent = text(String::new(), "traceparent").filter(|text| is_traceparent(text));
        let expected_version = options.expected_version.map(StreamVersion);
        let left = grpc_timeout(metadata.as_ref());
        let ack = Wish::read(metadata, options.acknowledgement, left, Instant::now())?;
        Ok(Self { options: CallOptions { key, expected_version, token, caller, traceparent, ack } })
    }

    /// The call on an aggregate that lives in a partition of its own.
    pub fn call(self, domain: &'static str, stream: Uuid) -> Call {
        self.call_in(domain, stream, stream)
    }

    /// The call on an aggregate that lives in the partition of another one.
    pub fn call_in(self, domain: &'static str, stream: Uuid, partition_key: Uuid) -> Call {
        Call {
            stream: StreamId(stream),
            partition_key: PartitionKey(partition_key),
            domain,
            options: self.options,
        }
    }
}

/// Version 00 of <https://www.w3.org/TR/trace-context/#traceparent-header>; what is malformed, or
/// of a version that nobody here can read, is not worth keeping.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let id = |part: &str| part.chars().all(hex) && part.chars().any(|c| c != '0');
    match parts[..] {
        ["00", trace, span, flags] => {
            (trace.len(), span.len(), flags.len()) == (32, 16, 2)
                && id(trace)
                && id(span)
                && flags.chars().all(hex)
        }
        _ => false,
    }
}

fn parse_token(text: &str) -> Result<Token, Failure> {
    Token::decode(text)
        .map_err(|error| Failure::new(ErrorReason::TokenMalformed, error.to_string()))
}

fn hashes<M: prost::Message>(key: &str, method: &str, message: &M) -> Result<KeyHashes, Failure> {
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len());
    if !fits || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Failure::new(
            ErrorReason::InvalidRequest,
            "the idempotency key must be 1 to 255 printable ASCII characters",
        )
        .violation("options.idempotency_key", "must be 1 to 255 printable ASCII characters"));
    }
    let payload = [method.as_bytes(), &[0], &message.encode_to_vec()].concat();
    Ok(KeyHashes { key: half_hash(key.as_bytes()), payload: half_hash(&payload) })
}

/// The first half of a SHA-256: 128 bits, so that two of a billion keys collide with a chance of
/// 10^-21.
fn half_hash(bytes: &[u8]) -> Uuid {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(half)
}

#[cfg(test)]
mod tests {
    use headwater_proto::stores::v1::OpenStoreRequest;

    use super::*;

    fn read(key: &str, name: &str) -> Result<Option<KeyHashes>, String> {
        let message = OpenStoreRequest { name: name.to_owned(), ..OpenStoreRequest::default() };
        let options = CommandOptions { idempotency_key: key.to_owned(), ..Default::default() };
        Envelope::read(&MetadataMap::new(), Some(options), "m", &message)
            .map(|envelope| envelope.options.key)
            .map_err(|failure| failure.reason().to_owned())
    }

    #[test]
    fn a_key_stands_for_its_payload() {
        let one = read("k", "a").expect("valid").expect("given");
        assert_eq!(read("k", "a"), Ok(Some(one)));
        let other = read("k", "b").expect("valid").expect("given");
        assert_eq!(one.key, other.key);
        assert_ne!(one.payload, other.payload);
        assert_ne!(read("l", "a").expect("valid").expect("given").key, one.key);
        assert_eq!(read("", "a"), Ok(None));
        assert_eq!(read(&"k".repeat(256), "a"), Err("INVALID_REQUEST".to_owned()));
        assert_eq!(read("ä", "a"), Err("INVALID_REQUEST".to_owned()));
    }

    #[test]
    fn metadata_gives_what_the_options_do_not() {
        let mut metadata = MetadataMap::new();
        metadata.insert("idempotency-key", "from-metadata".parse().expect("ascii"));
        let message = OpenStoreRequest::default();
        let read = |options| {
            Envelope::read(&metadata, options, "m", &message).ok().and_then(|e| e.options.key)
        };
        let field = CommandOptions { idempotency_key: "field".to_owned(), ..Default::default() };
        assert_eq!(read(None).map(|k| k.key), Some(half_hash(b"from-metadata")));
        assert_eq!(read(Some(field)).map(|k| k.key), Some(half_hash(b"field")));
    }

    #[test]
    fn a_callers_trace_is_kept_if_it_can_be_read() {
        let check = |sent: &str, kept: bool| {
            let mut metadata = MetadataMap::new();
            metadata.insert("traceparent", sent.parse().expect("ascii"));
            let envelope = Envelope::read(&metadata, None, "m", &OpenStoreRequest::default());
            let read = envelope.ok().and_then(|envelope| envelope.options.traceparent);
            assert_eq!(read.as_deref(), kept.then_some(sent), "{sent}");
        };
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false);
        check("00-0af7651916cd43dd-b7ad6b7169203331-01", false);
        check("", false);
    }
}
