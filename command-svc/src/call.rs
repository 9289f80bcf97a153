//! A command's options, from its message and its metadata.

use headwater_chassis::{ErrorReason, Failure};
use headwater_kernel::{PartitionKey, StreamId, StreamVersion, Token};
use headwater_proto::headwater::v1::CommandOptions;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

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
    /// Reads options and metadata; where both give a value, the option wins. `message` is the request without its
    /// options, `method` its full name: together they are what an idempotency key stands for.
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
        let expected_version = options.expected_version.map(StreamVersion);
        Ok(Self { options: CallOptions { key, expected_version, token, caller } })
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

/// The first half of a SHA-256: 128 bits, so that two of a billion keys collide with a chance of 10^-21.
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
}
