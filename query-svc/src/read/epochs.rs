//! Tokens of other epochs than the one that the nodes show: what of them is in the history that is
//! shown is a question of where that forked off, which the nodes tell with their checkpoints.

use headwater_kernel::{Consistency, Token, TokenMismatch, Tokens};
use tokio::time::{Instant, timeout_at};

use super::need::ReadError;
use super::pipeline::Pipeline;
use super::progress::{ASK_AGAIN_AFTER, Progress};
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
    /// be asked, nobody can tell the client to drop the token; nor while a server may be the log's
    /// current one that has not answered: the one that does may be a primary that was replaced.
    async fn ask_of_epoch(&mut self, token: &Token) -> Result<(), ReadError> {
        let Progress { begun, until, .. } = self.progress;
        let waiter = self.table.wait(Awaited::OtherNode);
        while let Ok(Ok(end)) = timeout_at(until, self.backend.log.ask()).await {
            if end.token.log != token.log {
                return Err(ReadError::Foreign);
            }
            if end.epochs.contains(&token.epoch) {
                break;
            }
            if end.token.epoch > token.epoch || self.backend.log.is_current_since(begun) {
                return Err(ReadError::Lost);
            }
            let again = (Instant::now() + ASK_AGAIN_AFTER).min(until);
            if timeout_at(again, waiter.changed()).await.is_ok() {
                // The nodes have changed: maybe there is nothing left to ask.
                return Ok(());
            }
        }
        self.progress.in_tokens_epoch = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use headwater_chassis::{Metrics, Secret};
    use headwater_edge::Need;
    use headwater_eventlog::Servers;
    use headwater_kernel::{Access, Epoch, Freshness, LogId, NodeRole};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::super::backend::Backend;
    use super::super::waiting::WaitingPlaces;
    use super::*;
    use crate::nodes::{Address, PoolConfig, ReadPool};
    use crate::seen::{NodeState, WaitMeters};
    use crate::write_side::LogEnds;

    const LOG: LogId = LogId(Uuid::from_u128(1));
    const WAIT_MAX: Duration = Duration::from_secs(2);

    /// Reads from one node, which shows epoch 1, and asks this log.
    fn backend(log: LogEnds) -> Backend {
        let metrics = Metrics::new();
        let node = Address::parse(&Secret::new("postgres://q@127.0.0.1:1/base"));
        let config = PoolConfig {
            nodes: vec![node.expect("an address")],
            connections: 1,
            probe_every: WAIT_MAX,
            connected_max: WAIT_MAX,
            projections: vec!["p".to_owned()],
            primary_share: 50,
        };
        let pool = Arc::new(ReadPool::new(&config, &metrics).expect("a pool"));
        let freshness = Freshness { positions: Vec::new(), as_of: OffsetDateTime::UNIX_EPOCH };
        let checkpoint = Arc::new(Checkpoint::new(LOG, Epoch(1), freshness));
        let state = NodeState { role: NodeRole::Primary, checkpoint };
        pool.tables().of("p").expect("its table").read(0, &state);
        let waiting = Arc::new(WaitingPlaces::new(1, &metrics));
        let meters = Arc::new(WaitMeters::new(&metrics));
        Backend { pool, log, wait_max: WAIT_MAX, waiting, meters }
    }

    /// What is said of a token of epoch 2 by a log whose looks show these epochs, and after how
    /// many milliseconds.
    async fn said(servers: Option<&str>, looks: &[&[u32]]) -> (Result<(), ReadError>, u128) {
        let servers = servers.map(|url| Servers::parse(url).expect("servers"));
        let looks: Vec<Vec<u32>> = looks.iter().map(|look| look.to_vec()).collect();
        let last = looks.last().cloned().unwrap_or_default();
        let looks = looks.into_iter().chain(std::iter::repeat(last));
        let backend = backend(LogEnds::of_looks(LOG, servers, looks));
        let table = backend.pool.tables().of("p").expect("its table");
        let token = Token::empty(LOG, Epoch(2));
        let required = Required::Seen(Tokens::from(token.clone()));
        let need = Need { required, or_stale: false, time_left: None };
        let mut read = Pipeline::begin(&backend, table, Access::ReadOnly, &need);
        let begun = Instant::now();
        let said = read.later_epoch(&token).await;
        (said, begun.elapsed().as_millis())
    }

    /// The write primary hung, another one was promoted and began epoch 2, and the old one answers
    /// again before anybody knows.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_may_have_been_replaced_does_not_say_what_is_lost() {
        // Of neither is known what it is: nothing connects to them here.
        let two = Some("postgres://q@127.0.0.1:1,127.0.0.1:2/base");
        let (waits, after) = said(two, &[&[1]]).await;
        assert!(waits.is_ok() && after >= WAIT_MAX.as_millis(), "{waits:?} after {after} ms");
        let (waits, after) = said(two, &[&[1], &[1], &[1, 2]]).await;
        assert!(waits.is_ok() && after < 500, "{waits:?} after {after} ms");
        // It has gone on from there, without epoch 2.
        let (lost, _) = said(two, &[&[1, 3]]).await;
        assert!(matches!(lost, Err(ReadError::Lost)), "{lost:?}");
        // There is no other server.
        let (lost, after) = said(None, &[&[1]]).await;
        assert!(matches!(lost, Err(ReadError::Lost)) && after == 0, "{lost:?} after {after} ms");
    }
}
