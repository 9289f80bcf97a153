//! Many commands in one call: what their metadata says of all of them, and each one's own options.

use std::time::Duration;

use headwater_kernel::{StreamVersion, Tokens};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use super::{
    Call, CallOptions, CommandRequest, IF_MATCH, IF_NONE_MATCH, Target, caller_of, traceparent_of,
};
use crate::ack::AckRequest;
use crate::failure::Failure;
use crate::key::KeyHashes;
use crate::token::{token_failure_in, tokens_of};
use crate::validate::Violations;

/// Share of the time that a client leaves after which its commands are answered, decided or not:
/// the rest is for the reply.
const SHARE_OF_DEADLINE: f64 = 0.9;

/// Metadata of a call with many commands.
#[derive(Clone, Debug)]
pub struct BatchMetadata {
    caller: Option<String>,
    traceparent: Option<String>,
    seen: Option<Tokens>,
    ack: Option<AckRequest>,
    left: Option<Duration>,
    now: Instant,
}

impl BatchMetadata {
    /// Reads the metadata of a call, of whose deadline so much is left.
    ///
    /// # Errors
    /// A key or a condition, which would be of one command; a token or an acknowledgement that is
    /// malformed.
    pub fn read(metadata: &MetadataMap, left: Option<Duration>) -> Result<Self, Failure> {
        for name in ["idempotency-key", IF_MATCH, IF_NONE_MATCH] {
            if metadata.contains_key(name) {
                let must = "must not be sent with many commands: each has options of its own";
                return Err(Failure::invalid(name, must));
            }
        }
        let now = Instant::now();
        Ok(Self {
            caller: caller_of(metadata),
            traceparent: traceparent_of(metadata),
            seen: tokens_of(metadata)?,
            ack: AckRequest::read(metadata, None, left, now)?,
            left,
            now,
        })
    }

    /// Tokens of the metadata, which the reply's token covers.
    pub fn seen(&self) -> Option<&Tokens> {
        self.seen.as_ref()
    }

    /// Acknowledgement that is asked for all commands that name none.
    pub fn ack(&self) -> Option<&AckRequest> {
        self.ack.as_ref()
    }

    /// Time by which every command must have a result; `None` if the client states no deadline.
    pub fn until(&self) -> Option<Instant> {
        self.left.and_then(|left| self.now.checked_add(left.mul_f64(SHARE_OF_DEADLINE)))
    }

    /// Reads one of the commands: its options, and what `fields` makes of the rest.
    ///
    /// # Errors
    /// As `read_command`.
    pub fn command<M: CommandRequest, T>(
        &self,
        mut message: M,
        fields: impl FnOnce(&M, &mut Violations) -> Option<(Target, T)>,
    ) -> Result<(Call, T), Failure> {
        let options = message.take_options().unwrap_or_default();
        let key = match options.idempotency_key.as_str() {
            "" => None,
            key => Some(KeyHashes::of((self.caller.as_deref(), key), M::METHOD, &message)?),
        };
        let seen = match options.token.as_str() {
            "" => None,
            token => Tokens::decode_all([token])
                .map_err(|error| token_failure_in("options.token", error))?,
        };
        let ack = match options.acknowledgement {
            None => None,
            asked => AckRequest::read(&MetadataMap::new(), asked, self.left, self.now)?,
        };
        let mut violations = Violations::new();
        let value = fields(&message, &mut violations);
        let (Target { stream, partition_key }, command) = violations.finish(value)?;
        let options = CallOptions {
            key,
            expected_version: options.expected_version.map(StreamVersion),
            expected_history: None,
            seen,
            caller: self.caller.clone(),
            traceparent: self.traceparent.clone(),
            ack,
        };
        Ok((Call { stream, partition_key, domain: M::domain(), options }, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_of_one_command_is_not_taken_for_many() {
        let read = |name: &'static str, value: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(name, value.parse().expect("ascii"));
            let read = BatchMetadata::read(&metadata, Some(Duration::from_secs(10)));
            read.map_err(|failure| failure.reason())
        };
        for name in ["idempotency-key", "if-match", "if-none-match"] {
            assert_eq!(read(name, "\"1\"").err(), Some("INVALID_REQUEST"), "{name}");
        }
        assert_eq!(read("headwater-token", "x").err(), Some("TOKEN_MALFORMED"));
        let of_all = read("headwater-ack", "projected").expect("it is of all");
        let until = Instant::now() + Duration::from_secs(9);
        assert_eq!(of_all.until(), Some(until));
        assert!(of_all.ack().is_some_and(|ack| ack.until <= until));
    }
}
