//! Tokens of other epochs than the one that the nodes show: what of them is in the history that is
//! shown is a question of where that forked off, which the nodes tell with their checkpoints.

use headwater_kernel::{Consistency, Token, TokenMismatch, Tokens};
use tokio::time::{Instant, timeout_at};

use super::need::ReadError;
use super::pipeline::Pipeline;
use crate::choice::shown;
use crate::choice::{Verdict, judge};
use crate::seen::{Awaited, Checkpoint, NodeStateTable};
use headwater_edge::Required;

/// Worth of tokens by what was last seen of the nodes for one projection.
pub enum Standing {
    /// Worth this token, in the epoch that the nodes show.
    Settled(Token),
    /// Of another log.
    Foreign,
    /// Proof of something that is not in the history that the nodes show.
    Lost,
    /// Of a later epoch than the nodes show.
    Later,
    /// No node has been seen yet, or not where its epoch began.
    Unknown,
}

/// Worth of the tokens by what was last seen of the nodes.
pub fn standing(table: &NodeStateTable, tokens: &Tokens) -> Standing {
    let Some((log, epoch)) = table.look(shown) else { return Standing::Unknown };
    match tokens.only() {
        Some(token) if (token.log, token.epoch) == (log, epoch) => {
            return Standing::Settled(token.clone());
        }
        _ if tokens.latest().log != log => return Standing::Foreign,
        _ if tokens.latest().epoch > epoch => return Standing::Later,
        _ => {}
    }
    let Some(lineage) = table.lineage(log, epoch) else { return Standing::Unknown };
    match lineage.settle(tokens) {
        Ok(token) => Standing::Settled(token),
        Err(TokenMismatch::Foreign) => Standing::Foreign,
        Err(TokenMismatch::Lost) => Standing::Lost,
        Err(TokenMismatch::Later) => Standing::Later,
    }
}

impl Pipeline<'_> {
    /// True if an answer that shows this is as fresh as required.
    pub(super) fn shows(&self, shown: &Checkpoint, required: &Required) -> bool {
        let fresh = |required| judge(shown, required, self.backend.time().now) == Verdict::Fresh;
        match required {
            Required::State(required) => fresh(required),
            Required::Seen(tokens) => match standing(self.table, tokens) {
                Standing::Settled(token) => fresh(&Consistency::AtLeast(token)),
                Standing::Foreign | Standing::Lost | Standing::Later | Standing::Unknown => false,
            },
            // Where the log ends was not learned, or no node has come as far.
            Required::LogEnd => false,
        }
    }

    /// Token that requires the same in the epoch that the nodes show; waits in a place for that
    /// until it can be said.
    pub(super) async fn settle(&mut self, tokens: &Tokens) -> Result<Token, ReadError> {
        if let Standing::Settled(token) = standing(self.table, tokens) {
            return Ok(token);
        }
        let backend = self.backend;
        let settled = backend.waiting.wait(self.settle_in_time(tokens)).await;
        settled.unwrap_or_else(|| Err(self.no_place()))
    }

    async fn settle_in_time(&mut self, tokens: &Tokens) -> Result<Token, ReadError> {
        let waiter = self.table.wait(Awaited::OtherNode);
        loop {
            match standing(self.table, tokens) {
                Standing::Settled(token) => return Ok(token),
                Standing::Foreign => return Err(ReadError::Foreign),
                Standing::Lost => return Err(ReadError::Lost),
                Standing::Later if !self.progress.in_tokens_epoch => {
                    self.ask_of_epoch(tokens.latest()).await?;
                    continue;
                }
                Standing::Later | Standing::Unknown => {}
            }
            if Instant::now() >= self.progress.until {
                return Err(self.expire());
            }
            // Whether woken or not: look again.
            let _ = timeout_at(self.progress.until, waiter.changed()).await;
        }
    }

    /// A token of a later epoch than the nodes show: waits in a place for what the log says of it.
    pub(super) async fn later_epoch(&mut self, token: &Token) -> Result<(), ReadError> {
        let backend = self.backend;
        let asked = backend.waiting.wait(self.ask_of_epoch(token)).await;
        asked.unwrap_or_else(|| Err(self.no_place()))
    }

    /// The log says whether the epoch is one of its own, and so to be waited for. While it cannot
    /// be asked, nobody can tell the client to drop the token.
    async fn ask_of_epoch(&mut self, token: &Token) -> Result<(), ReadError> {
        match timeout_at(self.progress.until, self.backend.log.ask()).await {
            Ok(Ok(end)) if end.token.log != token.log => Err(ReadError::Foreign),
            Ok(Ok(end)) if !end.epochs.contains(&token.epoch) => Err(ReadError::Lost),
            Ok(Ok(_) | Err(_)) | Err(_) => {
                self.progress.in_tokens_epoch = true;
                Ok(())
            }
        }
    }
}
