//! Watching views: every change of a row, or of the rows that pass a filter, from a state on.
//!
//! ```text
//! projector: rows + checkpoint + which rows changed, in one commit
//!                      | streaming replication
//! hub: one reader a view and process, on any node that is fresh enough
//!                      | by what is watched
//! watchers: each with a place in what is held for a while; one that falls behind reads by itself
//! ```
//! A change is the state of a row after a commit of the projection; commits that a reader finds at
//! once are told as one, with the states after the last. Nothing is lost on the way from node to
//! node or from process to process, since a place in the changes is a position in the log: each
//! message says where to resume.

mod change;
mod hub;
mod pages;
mod protocol;
mod resume;
mod tail;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use headwater_chassis::Shutdown;
use headwater_kernel::Partition;
use headwater_kernel::ids::PARTITIONS_MAX;
use thiserror::Error;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::nodes::Params;
use crate::nodes::Statement;
use crate::read::{Best, ReadError};
use crate::seen::Answer;
pub use change::{FoundChange, Seen, Selector, found_change};
use change::{Mark, Point};
use headwater_edge::Need;
use hub::{HandedOut, Registration, at_least};
pub use hub::{Hub, Source};
use pages::{Page, Place};
use protocol::{PageRead, PlaceFound, Protocol, State, Step, Tell};
pub use resume::Resume;
use resume::Told;
use topics::{Taken, Update};

/// A watcher to whom nothing happens is told this often that time has passed: its token then stays
/// young enough to resume from, and its client sees that the stream lives.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Pause before a node is read again that shows less than it must, and the longest time for that.
/// It is some milliseconds late with a revision: a token, by which nodes are chosen, has none.
const AGAIN_PAUSE: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_secs(2);

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
            false => resume::partly(&checkpoint.token, checkpoint.revision, &self.reached),
        }
    }
}

/// A watch under way: the protocol, and the reads and waits that it asks for.
pub struct Watch<R: Send + Sync + 'static> {
    hub: Arc<Hub<R>>,
    selector: Selector,
    registration: Registration<R>,
    protocol: Protocol,
    /// The state to begin with, which was read before the first message was asked for.
    first: Option<Message<R>>,
    /// Since when nodes have shown less than they must.
    late_since: Option<Instant>,
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
        let (protocol, need) = match start {
            Start::State(need) => (Protocol::beginning(), Some(need)),
            Start::Resume(resume) => (Protocol::resuming(resume), None),
        };
        let mut watch = Self {
            hub: Arc::clone(hub),
            selector,
            registration,
            protocol,
            first: None,
            late_since: None,
            progress,
            ending: hub.reads.ending().clone(),
        };
        if let Some(need) = need {
            watch.begin_with_state(need).await?;
        }
        while *watch.protocol.state() == State::Locating {
            watch.locate().await?;
        }
        match watch.protocol.state() {
            State::Expired => Err(WatchError::Expired),
            _ => Ok(watch),
        }
    }

    /// What comes next; waits for it. After an error nothing comes any more. Cancelling it loses
    /// nothing.
    ///
    /// # Errors
    /// [`WatchError`]; the watch can be resumed after the last message.
    pub async fn next(&mut self) -> Result<Message<R>, WatchError> {
        let message = loop {
            if let Some(first) = self.first.take() {
                break first;
            }
            let message = match self.protocol.state().clone() {
                // It has begun.
                State::Beginning | State::Expired => return Err(WatchError::Expired),
                State::Locating => {
                    self.locate().await?;
                    None
                }
                State::Reading(place) => self.read_on(&place).await?,
                State::Following(_) => self.follow().await?,
            };
            if let Some(message) = message {
                break message;
            }
        };
        self.progress.reset();
        Ok(message)
    }

    async fn begin_with_state(&mut self, mut need: Need) -> Result<(), WatchError> {
        loop {
            let begun = self.hub.handed_out().await?.begun;
            let Answer { value: changes, node_state, .. } = self.state(&need).await?;
            let at = Arc::new(Mark::of(&node_state));
            if let Step::Tell(tell) = self.protocol.begun(&at, &begun) {
                self.late_since = None;
                self.first = Some(message(changes, at, tell));
                return Ok(());
            }
            // All that the hub has handed out before this watch began must be in the state.
            need = at_least(begun.token().into());
            self.again(&at).await?;
        }
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

    /// Finds the place of what the client has in the changes.
    async fn locate(&mut self) -> Result<(), WatchError> {
        let (Some(told), Some(least)) = (self.protocol.told(), self.protocol.least()) else {
            return Err(WatchError::Expired);
        };
        let position = |partition| told.tokens.position(Partition(partition)).0 as i64;
        let positions: Vec<i64> = (0..PARTITIONS_MAX).map(position).collect();
        let (place, whole) = match &told.told {
            Told::Whole(revision) => (None, *revision),
            Told::Partly { place, .. } => (Some(place.at), None),
        };
        let applied = place.map(|at| at.applied);
        let revision = place.map(|at| at.revision);
        let view = &self.hub.source.view;
        let params: Params<'_> = &[view, &positions, &applied, &revision, &whole];
        let start = start(self.hub.source.changed.projection);
        let found = self.hub.reads.rows(&start, params, &at_least(least)).await?;
        let (kept, covered) = found.value.first().copied().unwrap_or_default();
        let at = Arc::new(Mark::of(&found.node_state));
        match self.protocol.located(PlaceFound { at: &at, kept, covered }) {
            Step::Again => self.again(&at).await,
            Step::GoOn | Step::Tell(_) => {
                self.late_since = None;
                Ok(())
            }
        }
    }

    /// Reads a page of what the hub has handed out already, or holds no more. After the last one
    /// the hub does the rest.
    async fn read_on(&mut self, place: &Place) -> Result<Option<Message<R>>, WatchError> {
        let (begun, Answer { value: page, node_state, .. }) = self.page(place).await?;
        let at = Arc::new(Mark::of(&node_state));
        let (kept, next) = (page.kept, page.next());
        match self.protocol.page(PageRead { at: &at, begun: &begun, kept, next }) {
            Step::Tell(tell) => {
                self.late_since = None;
                let seen = page.changes.iter().filter_map(|change| change.seen_by(&self.selector));
                Ok(Some(message(seen.collect(), at, tell)))
            }
            Step::GoOn => Ok(None),
            Step::Again => self.again(&at).await.map(|()| None),
        }
    }

    async fn page(&self, place: &Place) -> Result<(Arc<Mark>, Answer<Page<R>>), ReadError> {
        // Never closed.
        let _turn = self.hub.catch_ups.acquire().await;
        let begun = self.hub.handed_out().await?.begun;
        let mut tokens = self.protocol.least().unwrap_or_else(|| begun.token().into());
        tokens.merge(&begun.token().into()).map_err(|_| ReadError::Foreign)?;
        Ok((begun, self.hub.page(place, &at_least(tokens)).await?))
    }

    /// Takes what the hub has handed out, or waits for it, or for the time to say that nothing has
    /// happened.
    async fn follow(&mut self) -> Result<Option<Message<R>>, WatchError> {
        match self.registration.take() {
            Taken::Update(update) => return Ok(self.take(&update)),
            Taken::Missed => self.protocol.missed(),
            Taken::Closed => {
                self.registration = self.hub.join(self.selector.clone());
                self.protocol.missed();
            }
            Taken::Nothing => {
                let ending = self.ending.clone();
                tokio::select! {
                    () = ending.requested() => return Err(WatchError::Ending),
                    () = self.registration.news() => {}
                    _ = self.progress.tick() => return self.tell_the_time().await,
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, update: &Update<R>) -> Option<Message<R>> {
        let tell = self.protocol.handed(&update.at, update.next.as_ref())?;
        // What it has read by itself is not told again.
        let news = update.changes.iter().filter(|seen| tell.after.is_before(seen));
        Some(message(news.cloned().collect(), Arc::clone(&update.at), tell))
    }

    async fn tell_the_time(&mut self) -> Result<Option<Message<R>>, WatchError> {
        let HandedOut { whole, .. } = self.hub.handed_out().await?;
        // Whatever was handed out of this state is here by now.
        match self.registration.take() {
            Taken::Nothing => {
                let tell = self.protocol.time_passed(&whole);
                Ok(tell.map(|tell| message(Vec::new(), whole, tell)))
            }
            Taken::Update(update) => Ok(self.take(&update)),
            Taken::Missed | Taken::Closed => {
                self.registration = self.hub.join(self.selector.clone());
                self.protocol.missed();
                Ok(None)
            }
        }
    }

    /// Pauses after a node has shown less than it must.
    async fn again(&mut self, at: &Mark) -> Result<(), WatchError> {
        let since = *self.late_since.get_or_insert_with(Instant::now);
        if since.elapsed() > AGAIN_MAX {
            let age = at.node_state.checkpoint.freshness.staleness(self.hub.reads.time().now);
            let best = Best { node_state: at.node_state.clone(), age };
            return Err(ReadError::NotFreshEnough(best).into());
        }
        sleep(AGAIN_PAUSE).await;
        Ok(())
    }
}

fn message<R>(changes: Vec<Seen<R>>, at: Arc<Mark>, tell: Tell) -> Message<R> {
    Message { changes, at, reached: tell.reached, whole: tell.whole }
}
