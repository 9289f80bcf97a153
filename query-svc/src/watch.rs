//! Watching views: every change of a row, or of the rows that pass a filter, from a state on.
//!
//! ```text
//! projector: rows + checkpoint + which rows changed, in one commit
//!                      | streaming replication
//! hub: one reader a view and process, on any node that is fresh enough
//!                      | by what is watched
//! watchers: each with a bounded outbox; one that falls behind reads on by itself
//! ```
//! A change is the state of a row after a commit of the projection; several commits that a reader
//! finds at once are told as one, with the state after the last. Nothing is lost on the way from
//! node to node or from process to process, since a place in the changes is a position in the log:
//! the token that each message carries.

pub mod change;
pub mod hub;
mod pages;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_kernel::ids::PARTITIONS_MAX;
use headwater_kernel::{Consistency, Partition, Token};
use thiserror::Error;
use tokio::time::{Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::node::connection::Params;
use crate::read::{Need, ReadError, Required};
use crate::sighting::Answer;
use crate::statement::Statement;
use change::{Mark, Seen, Selector, by_commit};
use hub::{Hub, Registration, Update};
use pages::{Page, Place};

/// A watcher to whom nothing happens is told this often that time has passed: its token then stays
/// young enough to resume from, and its client sees that the stream lives.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Changes of one message at most.
const MESSAGE_CHANGES_MAX: usize = 500;

/// Finds the place of a token in the changes: whether all after it are kept, and the last commit
/// that it covers.
static START: Statement<(bool, i64)> = Statement {
    name: "watch_start",
    sql: include_str!("../sql/queries/watch_start.sql"),
    decode: |columns| Ok((columns.take()?, columns.take()?)),
};

/// Why a watch ended.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The changes cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Changes after the state to resume from are not kept any more.
    #[error("the changes from there on are not kept any more")]
    Expired,
    /// The process ends.
    #[error("the process is shutting down")]
    Ending,
}

/// Where a watch begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With a state of this freshness; of a single row that state is told first.
    State(Need),
    /// After all that this token proves.
    After(Token),
}

/// What is told at once.
#[derive(Debug)]
pub struct Message<R> {
    /// The changes; none if only time has passed.
    pub changes: Vec<Seen<R>>,
    /// The state that they lead to.
    pub at: Arc<Mark>,
    /// False if more changes of the same commit follow: the state can be resumed from only after
    /// these.
    pub whole: bool,
}

/// A watch under way.
pub struct Watch<R: Send + Sync + 'static> {
    hub: Arc<Hub<R>>,
    selector: Selector,
    registration: Registration<R>,
    /// The state that has been asked for; reading by itself never shows an older one.
    least: Option<Token>,
    /// What has been told: everything up to this.
    applied: i64,
    /// Where to read on by itself, if it is behind the hub.
    behind: Option<Place>,
    pending: VecDeque<Message<R>>,
    progress: Interval,
    ending: Shutdown,
}

impl<R: Send + Sync + 'static> Watch<R> {
    /// Begins to watch.
    ///
    /// # Errors
    /// The start cannot be read, or is not kept any more.
    pub async fn begin(
        hub: &Arc<Hub<R>>,
        selector: Selector,
        start: Start,
    ) -> Result<Self, WatchError> {
        let registration = hub.join(selector.clone());
        let mut progress = interval(PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        progress.reset();
        let mut watch = Self {
            hub: Arc::clone(hub),
            selector,
            registration,
            least: None,
            applied: 0,
            behind: None,
            pending: VecDeque::new(),
            progress,
            ending: hub.reads.ending().clone(),
        };
        match start {
            Start::State(need) => watch.begin_with_state(&need).await?,
            Start::After(token) => watch.resume(token).await?,
        }
        Ok(watch)
    }

    /// What comes next; waits for it. After an error nothing comes any more. Cancelling it loses
    /// nothing.
    ///
    /// # Errors
    /// [`WatchError`]; the watch can be begun again after the last whole message.
    pub async fn next(&mut self) -> Result<Message<R>, WatchError> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                if message.whole {
                    self.applied = self.applied.max(message.at.applied);
                }
                self.progress.reset();
                return Ok(message);
            }
            if self.registration.overflowed() {
                self.behind = Some(Place::after(self.applied));
            }
            if let Some(place) = self.behind.take() {
                // Put back should this be cancelled.
                self.behind = Some(place.clone());
                self.behind = self.read_on(&place).await?;
                continue;
            }
            let ending = self.ending.clone();
            tokio::select! {
                () = ending.requested() => return Err(WatchError::Ending),
                update = self.registration.updates.recv() => match update {
                    Some(update) => self.take(update),
                    None => self.return_to_the_hub(),
                },
                _ = self.progress.tick() => self.tell_the_time().await?,
            }
        }
    }

    async fn begin_with_state(&mut self, need: &Need) -> Result<(), WatchError> {
        // All that the hub has handed out before this watch began must be in the state.
        let mark = self.hub.mark().await?;
        let mut answer = self.state(need).await?;
        if Mark::of(&answer.sighting).applied < mark.applied {
            answer = self.state(&at_least(mark.token())).await?;
        }
        let at = Arc::new(Mark::of(&answer.sighting));
        self.applied = at.applied;
        self.pending.push_back(Message { changes: answer.value, at, whole: true });
        Ok(())
    }

    /// A state to begin with, and the row that is watched, if it is a single one and there.
    async fn state(&self, need: &Need) -> Result<Answer<Vec<Seen<R>>>, ReadError> {
        let Selector::Key(key) = self.selector else {
            return Ok(self.hub.page(&Place::END, need).await?.map(|_| Vec::new()));
        };
        let seen = |(key, row)| Seen { key, row: Some(Arc::new(row)) };
        let keys: &[Uuid] = &[key];
        let rows = self.hub.reads.rows(self.hub.source.by_id, &[&keys], need).await?;
        Ok(rows.map(|rows| rows.into_iter().map(seen).collect()))
    }

    async fn resume(&mut self, token: Token) -> Result<(), WatchError> {
        let position = |partition| token.position(Partition(partition)).0 as i64;
        let positions: Vec<i64> = (0..PARTITIONS_MAX).map(position).collect();
        let params: Params<'_> = &[&self.hub.source.view, &positions];
        let need = at_least(token.clone());
        let found = self.hub.reads.rows(&START, params, &need).await?;
        let (kept, applied) = found.value.first().copied().unwrap_or_default();
        if !kept {
            return Err(WatchError::Expired);
        }
        self.least = Some(token);
        self.applied = applied;
        self.behind = Some(Place::after(applied));
        Ok(())
    }

    /// Reads a page of what the hub has handed out already, or was not handed out for want of
    /// room. Where to go on; none once that is all, and the hub does the rest.
    async fn read_on(&mut self, place: &Place) -> Result<Option<Place>, WatchError> {
        let Answer { value: page, sighting, .. } = self.page(place).await?;
        let next = page.next();
        for commit in by_commit(&page.changes) {
            let changes = commit.iter().filter_map(|change| change.seen_by(&self.selector));
            let cut_off = next.as_ref().is_some_and(|next| next.applied == commit[0].applied);
            self.tell(changes.collect(), Arc::new(commit[0].mark(&sighting)), !cut_off);
        }
        let shown = Mark::of(&sighting);
        if next.is_some() {
            // The next page must not be of an older state than this one.
            self.least = Some(shown.token());
            return Ok(next);
        }
        self.least = None;
        let (changes, at) = (Vec::new(), Arc::new(shown));
        self.pending.push_back(Message { changes, at, whole: true });
        Ok(None)
    }

    async fn page(&self, place: &Place) -> Result<Answer<Page<R>>, ReadError> {
        // Never closed.
        let _turn = self.hub.catch_ups.acquire().await;
        let mut token = self.hub.mark().await?.token();
        if let Some(least) = &self.least {
            token.merge(least).map_err(|_| ReadError::Foreign)?;
        }
        self.hub.page(place, &at_least(token)).await
    }

    fn take(&mut self, update: Update<R>) {
        if update.at.applied > self.applied {
            self.tell(update.changes, update.at, true);
        }
    }

    fn tell(&mut self, mut changes: Vec<Seen<R>>, at: Arc<Mark>, whole: bool) {
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(MESSAGE_CHANGES_MAX));
            let whole = whole && rest.is_empty();
            self.pending.push_back(Message { changes, at: Arc::clone(&at), whole });
            changes = rest;
        }
    }

    /// The hub has let go of everybody, since it could not read. Reading here says why.
    fn return_to_the_hub(&mut self) {
        self.registration = self.hub.join(self.selector.clone());
        self.behind = Some(Place::after(self.applied));
    }

    async fn tell_the_time(&mut self) -> Result<(), WatchError> {
        let at = self.hub.mark().await?;
        // Whatever was handed out up to this mark is here by now, or has found no room.
        if self.registration.overflowed() {
            self.behind = Some(Place::after(self.applied));
            return Ok(());
        }
        while let Ok(update) = self.registration.updates.try_recv() {
            self.take(update);
        }
        if self.pending.is_empty() && at.applied >= self.applied {
            self.pending.push_back(Message { changes: Vec::new(), at, whole: true });
        }
        Ok(())
    }
}

fn at_least(token: Token) -> Need {
    let required = Required::State(Consistency::AtLeast(token));
    Need { required, or_stale: false, time_left: None }
}
