//! Tokens: opaque proof of the log positions a reader wants to see.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use uuid::Uuid;

use crate::ids::{Epoch, LogId, PARTITIONS_MAX, Partition, Position};

/// Tokens that a request may carry; one for each session that it takes part in.
pub(crate) const TOKENS_MAX: usize = 16;

/// Positions of a log that were seen or written, one per partition; partitions at 0 are left out.
///
/// On the wire: URL-safe base64 of a format byte, the log's id, its epoch, pairs of (partition,
/// position) as varints in rising order, and a CRC-32 of all of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The log the positions are of.
    pub log: LogId,
    /// Epoch of the positions.
    pub epoch: Epoch,
    positions: BTreeMap<Partition, Position>,
}

/// Reason why a token was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token of ours, or damaged on its way.
    #[error("the token is not one that this system made, or was damaged on its way")]
    Malformed,
    /// More tokens at once than are taken.
    #[error(
        "more than {TOKENS_MAX} tokens were sent at once; send fewer: a reply's token covers those \
         that its request was sent with"
    )]
    TooMany,
    /// Of another log.
    #[error("the token belongs to another log; start again without it")]
    Foreign,
    /// Of this log, but beyond what is left of it.
    #[error(
        "the token proves something that the log has lost in a failover or a restore; read again \
         without it"
    )]
    Lost,
}

const FORMAT: u8 = 1;

impl Token {
    /// A token that requires nothing yet.
    pub fn empty(log: LogId, epoch: Epoch) -> Self {
        Self { log, epoch, positions: BTreeMap::new() }
    }

    /// Proof of the positions of all partitions, in their order from 0.
    pub fn of_positions(log: LogId, epoch: Epoch, positions: &[Position]) -> Self {
        let mut token = Self::empty(log, epoch);
        for (partition, position) in positions.iter().enumerate() {
            token.raise(Partition(partition as u16), *position);
        }
        token
    }

    /// Makes the token prove at least `position` of `partition`.
    pub fn raise(&mut self, partition: Partition, position: Position) {
        if position > Position(0) {
            let current = self.positions.entry(partition).or_default();
            *current = position.max(*current);
        }
    }

    /// Makes this token prove all that `other` proves too.
    ///
    /// # Errors
    /// [`TokenError::Foreign`] if they are of different logs or epochs.
    pub fn merge(&mut self, other: &Self) -> Result<(), TokenError> {
        if (self.log, self.epoch) != (other.log, other.epoch) {
            return Err(TokenError::Foreign);
        }
        for (partition, position) in &other.positions {
            self.raise(*partition, *position);
        }
        Ok(())
    }

    /// The positions required, none of them 0.
    pub fn positions(&self) -> impl Iterator<Item = (Partition, Position)> {
        self.positions.iter().map(|(partition, position)| (*partition, *position))
    }

    /// The position required of a partition; 0 if none is.
    pub fn position(&self, partition: Partition) -> Position {
        self.positions.get(&partition).copied().unwrap_or_default()
    }

    /// True if `positions` (of all partitions, in their order) show everything this token proves.
    pub fn is_covered_by(&self, positions: &[Position]) -> bool {
        self.positions.iter().all(|(partition, required)| {
            positions.get(usize::from(partition.0)).is_some_and(|shown| shown >= required)
        })
    }

    /// The token as clients carry it: at most 1.1 KB with 64 partitions, 39 characters or so with
    /// one.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.log.0.as_bytes());
        put_varint(&mut bytes, u64::from(self.epoch.0));
        for (partition, position) in &self.positions {
            put_varint(&mut bytes, u64::from(partition.0));
            put_varint(&mut bytes, position.0);
        }
        let check = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&check.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that a client sent.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for everything that [`Token::encode`] does not make.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        Self::parse(text).ok_or(TokenError::Malformed)
    }

    fn parse(text: &str) -> Option<Self> {
        // Longer than any token: refuse before allocating for it.
        if text.len() > 2048 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, check) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_be_bytes(*check) {
            return None;
        }
        let (&FORMAT, body) = body.split_first()? else { return None };
        let (log, mut rest) = body.split_first_chunk::<16>()?;
        let epoch = Epoch(u32::try_from(take_varint(&mut rest)?).ok()?);
        let mut token = Self::empty(LogId(Uuid::from_bytes(*log)), epoch);
        while !rest.is_empty() {
            let partition = u16::try_from(take_varint(&mut rest)?).ok()?;
            let position = take_varint(&mut rest)?;
            if partition >= PARTITIONS_MAX || position == 0 {
                return None;
            }
            token.raise(Partition(partition), Position(position));
        }
        Some(token)
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
