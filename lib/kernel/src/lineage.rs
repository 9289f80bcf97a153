//! Epochs of a log, and what a token of one of them is worth in another.
//!
//! A log begins a new epoch when its history may have lost its end: after a failover, after a
//! restore. What the epoch started with is the *fork point*: everything up to it is in both
//! histories, everything after it in one of them only. The numbers of epochs rise, with gaps: two
//! copies of one log that each begin an epoch do not give it the same number.

use crate::ids::{Epoch, LogId, Partition, Position};
use crate::token::{TOKENS_MAX, Token, TokenError};

/// Proof of all tokens of a request together: they are of one log, one for each epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    latest: Token,
    /// In rising order of their epochs.
    earlier: Vec<Token>,
}

/// Beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// The fork point: where each partition ended then, from partition 0.
    pub positions: Vec<Position>,
}

/// The epochs that a log's history went through, up to the one it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    log: LogId,
    epoch: Epoch,
    /// In rising order; the log's first epoch began with nothing.
    starts: Vec<EpochStart>,
}

/// Relation of a token to this epoch that forbids to compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenMismatch {
    /// Token of another log.
    Foreign,
    /// Proof of something that is not in this history.
    Lost,
    /// Token of a later epoch than this.
    Later,
}

impl Tokens {
    /// Reads all tokens that a client sent: each text holds one, or several joined by commas, as
    /// proxies join repeated headers. `None` if there are none.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] if any of them is, [`TokenError::TooMany`] if there are more than
    /// 16, [`TokenError::Foreign`] if they are of different logs.
    pub fn decode_all<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Self>, TokenError> {
        let parts = texts.into_iter().flat_map(|text| text.split(',')).map(str::trim);
        let mut all: Option<Self> = None;
        for (number, part) in parts.filter(|part| !part.is_empty()).enumerate() {
            if number == TOKENS_MAX {
                return Err(TokenError::TooMany);
            }
            let token = Token::decode(part)?;
            match &mut all {
                Some(all) => all.add(token)?,
                None => all = Some(Self::from(token)),
            }
        }
        Ok(all)
    }

    /// Makes these prove all that the others prove too.
    ///
    /// # Errors
    /// [`TokenError::Foreign`] if they are of another log.
    pub fn merge(&mut self, others: &Self) -> Result<(), TokenError> {
        others.iter().try_for_each(|token| self.add(token.clone()))
    }

    fn add(&mut self, mut token: Token) -> Result<(), TokenError> {
        if token.log != self.latest.log {
            return Err(TokenError::Foreign);
        }
        if token.epoch > self.latest.epoch {
            std::mem::swap(&mut token, &mut self.latest);
        }
        if token.epoch == self.latest.epoch {
            return self.latest.merge(&token);
        }
        match self.earlier.binary_search_by_key(&token.epoch, |earlier| earlier.epoch) {
            Ok(index) => self.earlier[index].merge(&token),
            Err(index) => {
                self.earlier.insert(index, token);
                Ok(())
            }
        }
    }

    /// The one of the latest epoch.
    pub fn latest(&self) -> &Token {
        &self.latest
    }

    /// The only one, if all are of one epoch.
    pub fn only(&self) -> Option<&Token> {
        self.earlier.is_empty().then_some(&self.latest)
    }

    /// The position that they require of a partition, in whatever epoch; 0 if none does.
    pub fn position(&self, partition: Partition) -> Position {
        self.iter().map(|token| token.position(partition)).max().unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = &Token> {
        self.earlier.iter().chain([&self.latest])
    }
}

impl From<Token> for Tokens {
    fn from(latest: Token) -> Self {
        Self { latest, earlier: Vec::new() }
    }
}

impl Lineage {
    /// Of a log that is in this epoch; `starts` in any order, those of later epochs do not count.
    pub fn new(log: LogId, epoch: Epoch, mut starts: Vec<EpochStart>) -> Self {
        starts.retain(|start| start.epoch <= epoch);
        starts.sort_by_key(|start| start.epoch);
        Self { log, epoch, starts }
    }

    /// The log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The epoch that it is in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Beginnings of its epochs, in rising order.
    pub fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// Proof of the tokens, as a token of this lineage's epoch. One of an earlier epoch counts as
    /// long as it lies before every fork since.
    ///
    /// # Errors
    /// [`TokenMismatch`].
    pub fn settle(&self, tokens: &Tokens) -> Result<Token, TokenMismatch> {
        let mut settled = Token::empty(self.log, self.epoch);
        for token in tokens.iter() {
            if token.log != self.log {
                return Err(TokenMismatch::Foreign);
            }
            if token.epoch > self.epoch {
                return Err(TokenMismatch::Later);
            }
            if !self.passed(token.epoch) {
                return Err(TokenMismatch::Lost);
            }
            for (partition, position) in token.positions() {
                if position > self.kept(token.epoch, partition) {
                    return Err(TokenMismatch::Lost);
                }
                settled.raise(partition, position);
            }
        }
        Ok(settled)
    }

    /// Rest of the tokens in this lineage's epoch: for an answer that cannot be refused any more.
    pub fn salvage(&self, tokens: &Tokens) -> Token {
        let mut left = Token::empty(self.log, self.epoch);
        for token in tokens.iter().filter(|t| t.log == self.log && self.passed(t.epoch)) {
            for (partition, position) in token.positions() {
                left.raise(partition, position.min(self.kept(token.epoch, partition)));
            }
        }
        left
    }

    /// As it was in one of its epochs, without what came later; `None` if it did not go through it.
    pub fn until(&self, epoch: Epoch) -> Option<Self> {
        self.passed(epoch).then(|| Self::new(self.log, epoch, self.starts.clone()))
    }

    /// True if this history went through the epoch.
    pub fn passed(&self, epoch: Epoch) -> bool {
        epoch == self.epoch || self.starts.iter().any(|start| start.epoch == epoch)
    }

    /// Position up to which a partition's history of that epoch is in this one, too.
    fn kept(&self, epoch: Epoch, partition: Partition) -> Position {
        let index = usize::from(partition.0);
        let later = self.starts.iter().filter(|start| start.epoch > epoch);
        let forks = later.map(|start| start.positions.get(index).copied().unwrap_or_default());
        forks.min().unwrap_or(Position(u64::MAX))
    }
}
