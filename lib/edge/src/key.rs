//! The idempotency key of a command, and what it stands for, as the log stores them.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::failure::{ErrorReason, Failure};

const KEY_BYTES_MAX: usize = 255;

/// An idempotency key and what it was sent with, as the log stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHashes {
    /// The key, of its caller: of the same key of two callers these differ. A UUIDv7 keeps its
    /// time, so that the index of keys grows at its end; any other becomes a UUIDv8.
    pub key: Uuid,
    /// The hash of the key alone: what programs of edition 2 of the log's schema stored.
    pub old_key: Uuid,
    /// Of the method and the message.
    pub payload: Uuid,
}

impl KeyHashes {
    /// Hashes of a key that a caller sent with this message, without its options, to this method.
    ///
    /// # Errors
    /// The key is too long, or not printable ASCII.
    pub(crate) fn of<M: prost::Message>(
        (caller, key): (Option<&str>, &str),
        method: &str,
        message: &M,
    ) -> Result<Self, Failure> {
        let fits = (1..=KEY_BYTES_MAX).contains(&key.len());
        if !fits || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(Failure::new(
                ErrorReason::InvalidRequest,
                "the idempotency key must be 1 to 255 printable ASCII characters",
            )
            .violation("options.idempotency_key", "must be 1 to 255 printable ASCII characters"));
        }
        let payload = [method.as_bytes(), &[0], &message.encode_to_vec()].concat();
        Ok(Self {
            key: key_of(caller, key),
            old_key: half_hash(key.as_bytes()),
            payload: half_hash(&payload),
        })
    }
}

/// An idempotency key as the log stores it: see [`KeyHashes::key`]. A UUIDv7 of a known caller
/// keeps its first half, which tells the time, and 12 random bits.
fn key_of(caller: Option<&str>, key: &str) -> Uuid {
    let ordered = Uuid::try_parse(key).ok().filter(|uuid| uuid.get_version_num() == 7);
    if let (Some(uuid), None) = (ordered, caller) {
        return uuid;
    }
    let mut owned =
        half_hash(&[caller.unwrap_or_default().as_bytes(), &[0], key.as_bytes()].concat())
            .into_bytes();
    match ordered {
        Some(uuid) => owned[..8].copy_from_slice(&uuid.as_bytes()[..8]),
        None => owned[6] = (owned[6] & 0x0f) | 0x80,
    }
    owned[8] = (owned[8] & 0x3f) | 0x80;
    Uuid::from_bytes(owned)
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
    use headwater_proto::headwater::v1::AwaitRequest;

    use super::*;

    #[test]
    fn a_key_stands_for_its_payload() {
        let read = |key: &str, method: &str, name: &str| {
            let message = AwaitRequest { token: name.to_owned(), ..AwaitRequest::default() };
            KeyHashes::of((None, key), method, &message).map_err(|failure| failure.reason())
        };
        let one = read("k", "m", "a").expect("valid");
        assert_eq!(read("k", "m", "a"), Ok(one));
        for other in [read("k", "m", "b"), read("k", "n", "a")] {
            let other = other.expect("valid");
            assert_eq!(one.key, other.key);
            assert_ne!(one.payload, other.payload);
        }
        assert_ne!(read("l", "m", "a").expect("valid").key, one.key);
        assert!(read(&"k".repeat(255), "m", "a").is_ok());
        for wrong in ["", &"k".repeat(256), "ä"] {
            assert_eq!(read(wrong, "m", "a"), Err("INVALID_REQUEST"), "{wrong}");
        }
    }

    #[test]
    fn a_key_belongs_to_its_caller_and_keeps_its_time() {
        let [a, b] = [Some("a"), Some("b")];
        for key in ["k", "01993c2f-0000-7abc-8def-0123456789ab"] {
            let keys = [key_of(None, key), key_of(a, key), key_of(b, key)];
            assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
            assert_eq!(key_of(a, key), keys[1]);
        }
        let ordered = "01993c2f-0000-7abc-8def-0123456789ab";
        assert_eq!(key_of(None, ordered).to_string(), ordered);
        let owned = key_of(a, ordered);
        assert_eq!(owned.as_bytes()[..8], key_of(None, ordered).as_bytes()[..8]);
        assert_eq!((owned.get_version_num(), key_of(a, "k").get_version_num()), (7, 8));
        // The bytes of caller and key are kept apart.
        assert_ne!(key_of(Some("ab"), "c"), key_of(a, "bc"));
    }
}
