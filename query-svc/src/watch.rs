//! Watching views: every change of a row, or of the rows that pass a filter, from a state on.
//!
//! ```text
//! projector: rows + checkpoint + which rows changed, in one commit
//!                      | streaming replication
//! hub: one reader a view and process, on any node that is fresh enough
//!                      | by what is watched
//! watchers: each with a bounded outbox; one that falls behind reads on by itself
//! ```
//! A change is the state of a row after a commit of the projection; commits that a reader finds at
//! once are told as one, with the states after the last. Nothing is lost on the way from node to
//! node or from process to process, since a place in the changes is a position in the log: each
//! message says where to resume.

mod change;
mod hub;
mod pages;
mod resume;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_kernel::ids::PARTITIONS_MAX;
use headwater_kernel::{Partition, Tokens};
use thiserror::Error;
use tokio::time::{Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::nodes::Params;
use crate::nodes::Statement;
use crate::read::ReadError;
use crate::seen::Answer;
pub use change::{FoundChange, Seen, Selector, found_change};
use change::{Mark, Point};
use headwater_edge::{Need, Required};
pub use hub::{Hub, Source};
use hub::{Registration, Update};
use pages::{Page, Place};
pub use resume::Resume;
use resume::Told;

/// A watcher to whom nothing happens is told this often that time has passed: its token then stays
/// young enough to resume from, and its client sees that the stream lives.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Finds the place of a token in the changes: whether all after it are kept, and the last commit or
/// revision that it covers.
fn start(projection: &'static str) -> Statement<(bool, Point)> {
    Statement {
        name: "watch_start",
        projection,
        sql: include_str!("../sql/queries/watch_start.sql"),
        decode: |columns| {
            let kept = columns.take()?;
            Ok((kept, Point { applied: columns.take()?, revision: columns.take()? }))
        },
    }
}

/// Reason why a watch ended.
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

/// Place where a watch begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With a state of this freshness; of a single row that state is told first.
    State(Need),
    /// After what was told before.
    Resume(Resume),
}

/// What is told at once.
#[derive(Debug)]
pub struct Message<R> {
    /// The changes; none if only time has passed.
    pub changes: Vec<Seen<R>>,
    /// The state that they were read from.
    pub at: Arc<Mark>,
    /// Up to where all that has changed has been told.
    pub reached: Place,
    /// True if that is the whole state: otherwise more of it follows.
    pub whole: bool,
}

impl<R> Message<R> {
    /// What resumes after it, as text.
    pub fn resume(&self) -> String {
        let checkpoint = &self.at.node_state.checkpoint;
        match self.whole {
            true => resume::whole(&checkpoint.token, checkpoint.revision),
            false => resume::partly(&checkpoint.token, &self.reached),
        }
    }
}

/// A watch under way.
pub struct Watch<R: Send + Sync + 'static> {
    hub: Arc<Hub<R>>,
    selector: Selector,
    registration: Registration<R>,
    /// The state that has been asked for; reading by itself never shows an older one.
    least: Option<Tokens>,
    /// Up to where all that has changed has been told.
    reached: Place,
    /// True if it has to read on by itself, since the hub is further or has found no room.
    behind: bool,
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
            reached: Place::after(Point::default()),
            behind: false,
            pending: VecDeque::new(),
            progress,
            ending: hub.reads.ending().clone(),
        };
        match start {
            Start::State(need) => watch.begin_with_state(&need).await?,
            Start::Resume(resume) => watch.resume(resume).await?,
        }
        Ok(watch)
    }

    /// What comes next; waits for it. After an error nothing comes any more. Cancelling it loses
    /// nothing.
    ///
    /// # Errors
    /// [`WatchError`]; the watch can be resumed after the last message.
    pub async fn next(&mut self) -> Result<Message<R>, WatchError> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                self.reached = message.reached.clone();
                self.progress.reset();
                return Ok(message);
            }
            self.behind |= self.registration.overflowed();
            if self.behind {
                self.read_on().await?;
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
        let begun = self.hub.told().await?.begun;
        let mut answer = self.state(need).await?;
        if Mark::of(&answer.node_state).point < begun.point {
            answer = self.state(&at_least(begun.token().into())).await?;
        }
        self.tell(answer.value, Arc::new(Mark::of(&answer.node_state)), None);
        Ok(())
    }

    /// A state to begin with, and the row that is watched, if it is a single one and there.
    async fn state(&self, need: &Need) -> Result<Answer<Vec<Seen<R>>>, ReadError> {
        let Selector::Key(key) = self.selector else {
            return Ok(self.hub.page(&Place::END, need).await?.map(|_| Vec::new()));
        };
        let seen = |(key, row)| Seen { key, at: Point::default(), row: Some(Arc::new(row)) };
        let keys: &[Uuid] = &[key];
        let rows = self.hub.reads.rows(self.hub.source.by_id, &[&keys], need).await?;
        Ok(rows.map(|rows| rows.into_iter().map(seen).collect()))
    }

    async fn resume(&mut self, Resume { tokens, told }: Resume) -> Result<(), WatchError> {
        let position = |partition| tokens.position(Partition(partition)).0 as i64;
        let positions: Vec<i64> = (0..PARTITIONS_MAX).map(position).collect();
        let (place, whole) = match told {
            Told::Whole(revision) => (None, revision),
            Told::Partly(place) => (Some(place), None),
        };
        let applied = place.as_ref().map(|place| place.at.applied);
        let revision = place.as_ref().map(|place| place.at.revision);
        let view = &self.hub.source.view;
        let params: Params<'_> = &[view, &positions, &applied, &revision, &whole];
        let need = at_least(tokens.clone());
        let start = start(self.hub.source.changed.projection);
        let found = self.hub.reads.rows(&start, params, &need).await?;
        let (kept, covered) = found.value.first().copied().unwrap_or_default();
        // In a new epoch the views may have been made anew, with other places in their changes.
        let moved = found.node_state.checkpoint.epoch != tokens.latest().epoch;
        if !kept || (place.is_some() && moved) {
            return Err(WatchError::Expired);
        }
        self.least = Some(tokens);
        self.reached = place.unwrap_or_else(|| Place::after(covered));
        self.behind = true;
        Ok(())
    }

    /// Reads a page of what the hub has handed out already, or was not handed out for want of
    /// room. After the last one the hub does the rest.
    async fn read_on(&mut self) -> Result<(), WatchError> {
        let Answer { value: page, node_state, .. } = self.page().await?;
        if !page.kept {
            return Err(WatchError::Expired);
        }
        let seen = page.changes.iter().filter_map(|change| change.seen_by(&self.selector));
        let (seen, at) = (seen.collect(), Arc::new(Mark::of(&node_state)));
        let next = page.next();
        // The next page must not be of an older state than this one.
        self.least = next.is_some().then(|| at.token().into());
        self.behind = next.is_some();
        self.tell(seen, at, next);
        Ok(())
    }

    async fn page(&self) -> Result<Answer<Page<R>>, ReadError> {
        // Never closed.
        let _turn = self.hub.catch_ups.acquire().await;
        let mut tokens = Tokens::from(self.hub.told().await?.begun.token());
        if let Some(least) = &self.least {
            tokens.merge(least).map_err(|_| ReadError::Foreign)?;
        }
        self.hub.page(&self.reached, &at_least(tokens)).await
    }

    fn take(&mut self, update: Update<R>) {
        let Update { mut changes, at, reached, whole } = update;
        // What it has read by itself is not told again.
        let told = self.pending.back().map_or(&self.reached, |message| &message.reached);
        changes.retain(|seen| told.is_before(seen));
        if *told < reached {
            self.tell(changes, at, (!whole).then_some(reached));
        }
    }

    fn tell(&mut self, changes: Vec<Seen<R>>, at: Arc<Mark>, next: Option<Place>) {
        let whole = next.is_none();
        let reached = next.unwrap_or_else(|| Place::after(at.point));
        self.pending.push_back(Message { changes, at, reached, whole });
    }

    /// The hub has let go of everybody, since it could not read. Reading here says why.
    fn return_to_the_hub(&mut self) {
        self.registration = self.hub.join(self.selector.clone());
        self.behind = true;
    }

    async fn tell_the_time(&mut self) -> Result<(), WatchError> {
        let at = self.hub.told().await?.whole;
        // Whatever was handed out of this state is here by now, or has found no room.
        if self.registration.overflowed() {
            self.behind = true;
            return Ok(());
        }
        while let Ok(update) = self.registration.updates.try_recv() {
            self.take(update);
        }
        if self.pending.is_empty() && self.reached <= Place::after(at.point) {
            self.tell(Vec::new(), at, None);
        }
        Ok(())
    }
}

fn at_least(tokens: Tokens) -> Need {
    let required = Required::Seen(tokens);
    Need { required, or_stale: false, time_left: None }
}
