//! One reader of a view's changes for all who watch it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_chassis::metrics::Gauge;
use headwater_kernel::{Consistency, Tokens};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::change::{Change, FoundChange, Mark, Selector};
use super::pages::{Page, Place};
use super::tail::{Tail, Turn};
use super::topics::{HELD_MAX, Subscription, Taken, Topics, Update};
use crate::nodes::Params;
use crate::nodes::Statement;
use crate::read::{ReadError, Reads};
use crate::seen::Answer;
use crate::seen::watchers;
use headwater_edge::{Need, Required};

/// Pauses between looks at the changes: the least after something was found, growing up to the most
/// while nothing is.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(40);
/// Pause after a look that failed; a read waits and goes from node to node before it fails.
const FAILED_PAUSE: Duration = Duration::from_millis(100);
/// The longest time without a look that succeeds; then every watcher finds out for itself what is
/// the matter, and its stream ends with that.
const FAILING_MAX: Duration = Duration::from_secs(5);
/// The longest wait for the reader's first look.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(5);
/// Watchers of a view that read changes by themselves at the same time: those that resume, or have
/// fallen behind.
const CATCH_UPS_MAX: usize = 8;

/// How a view is watched.
pub struct Source<R: 'static> {
    /// The name.
    pub view: &'static str,
    /// The changed rows, after a place and up to a number.
    pub changed: &'static Statement<FoundChange<R>>,
    /// The rows by key.
    pub by_id: &'static Statement<(Uuid, R)>,
}

/// How far the watchers have been told.
#[derive(Clone, Debug)]
pub struct HandedOut {
    /// The newest state of which anything has been handed out.
    pub begun: Arc<Mark>,
    /// The newest state of which everything has been handed out.
    pub whole: Arc<Mark>,
}

/// Reason why a look at the changes failed.
#[derive(Debug, Error)]
enum LookError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the views are of another history")]
    OtherHistory,
    #[error("changes that were not read yet are not kept any more")]
    Expired,
}

impl LookError {
    /// True if another look cannot succeed.
    fn is_final(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::Foreign | ReadError::Lost),
            Self::OtherHistory | Self::Expired => true,
        }
    }
}

/// A view's watchers and their reader, which runs while there are any.
pub struct Hub<R: 'static> {
    pub(super) source: &'static Source<R>,
    pub(super) reads: Reads,
    pub(super) catch_ups: Semaphore,
    register: Mutex<Register<R>>,
    /// None before the reader's first look.
    handed_out: watch::Sender<Option<HandedOut>>,
    watchers: Gauge,
}

struct Register<R> {
    topics: Topics<R>,
    running: bool,
}

/// A watcher, as the hub knows it.
pub struct Registration<R: Send + Sync + 'static> {
    hub: Arc<Hub<R>>,
    subscription: Subscription<R>,
}

impl<R: Send + Sync + 'static> Hub<R> {
    /// Of one view.
    pub fn new(reads: &Reads, source: &'static Source<R>) -> Arc<Self> {
        let watchers = watchers(reads.pool().metrics(), source.view);
        Arc::new(Self {
            source,
            reads: reads.clone(),
            catch_ups: Semaphore::new(CATCH_UPS_MAX),
            register: Mutex::new(Register { topics: Topics::holding(HELD_MAX), running: false }),
            handed_out: watch::Sender::new(None),
            watchers,
        })
    }

    /// Registers a watcher, which is handed every change after the state that [`Hub::handed_out`]
    /// names as begun from now on. Starts the reader for the first one.
    pub fn join(self: &Arc<Self>, selector: Selector) -> Registration<R> {
        let mut register = self.locked();
        let subscription = register.topics.join(selector);
        self.watchers.inc();
        if !register.running {
            register.running = true;
            tokio::spawn(Arc::clone(self).run());
        }
        drop(register);
        Registration { hub: Arc::clone(self), subscription }
    }

    /// How far the watchers have been told. What was handed out is not beyond what has begun; what
    /// is whole has all been handed out.
    ///
    /// # Errors
    /// The reader does not get to read in time.
    pub async fn handed_out(&self) -> Result<HandedOut, ReadError> {
        let mut news = self.handed_out.subscribe();
        let first = timeout(FIRST_LOOK_MAX, news.wait_for(Option::is_some)).await;
        let first = first.ok().and_then(Result::ok).and_then(|first| first.clone());
        // It is moved under the lock under which things are handed out.
        drop(self.locked());
        self.handed_out.borrow().clone().or(first).ok_or(ReadError::NoNode(None))
    }

    /// The next changes after a place.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn page(
        &self,
        place: &Place,
        need: &Need,
    ) -> Result<Answer<Page<R>>, ReadError> {
        let params: Params<'_> =
            &[&place.at.applied, &place.at.revision, &place.key, &Page::<R>::ROWS_MAX];
        let answer = self.reads.rows(self.source.changed, params, need).await?;
        Ok(answer.map(Page::new))
    }

    async fn run(self: Arc<Self>) {
        let mut pause = PAUSE_MIN;
        let mut failing_since = None;
        while self.goes_on() {
            match self.look().await {
                Ok(found) => {
                    failing_since = None;
                    pause = if found { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                }
                Err(error) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    if error.is_final() || since.elapsed() > FAILING_MAX {
                        return self.give_up(&error);
                    }
                    pause = FAILED_PAUSE;
                }
            }
            sleep(pause).await;
        }
    }

    fn give_up(&self, error: &LookError) {
        let view = self.source.view;
        match error {
            // Part of every failover; each watcher looks for its place in the new history.
            LookError::OtherHistory => tracing::info!(view, "watches begin in another history"),
            error => tracing::warn!(view, %error, "watches are given up"),
        }
        self.disband();
    }

    /// Reads on to the newest state that a node shows, and hands out what changed. False if
    /// nothing.
    async fn look(&self) -> Result<bool, LookError> {
        let Some(HandedOut { whole, .. }) = self.handed_out.borrow().clone() else {
            let any = Required::State(Consistency::Any);
            let answer = self.page(&Place::END, &needing(any)).await?;
            let mark = Arc::new(Mark::of(&answer.node_state));
            let (begun, whole) = (Arc::clone(&mark), mark);
            self.handed_out.send_replace(Some(HandedOut { begun, whole }));
            return Ok(true);
        };
        let mut tail = Tail::after(&whole);
        let mut partly = HashSet::new();
        loop {
            let need = at_least(tail.floor().token().into());
            let Answer { value: page, node_state, .. } = self.page(tail.place(), &need).await?;
            let at = Arc::new(Mark::of(&node_state));
            match tail.page(&at, page.kept, page.next()) {
                Turn::HandOut(next) => {
                    let is_last = next.is_none();
                    let found = !page.changes.is_empty() || !partly.is_empty();
                    if found || at.is_newer_than(&whole) {
                        self.hand_out(&page.changes, &at, next, &mut partly);
                    }
                    if is_last {
                        return Ok(found);
                    }
                }
                // Its rows are revised soon, or another node answers.
                Turn::Older => return Ok(false),
                Turn::OtherHistory => return Err(LookError::OtherHistory),
                Turn::Expired => return Err(LookError::Expired),
            }
        }
    }

    /// Hands a page to all whom it concerns: with `next` one that others follow. `partly` are those
    /// who have been handed something of a state that is not whole yet.
    fn hand_out(
        &self,
        changes: &[Change<R>],
        at: &Arc<Mark>,
        next: Option<Place>,
        partly: &mut HashSet<Selector>,
    ) {
        let mut register = self.locked();
        let mut concerned = register.topics.concerned(changes);
        if next.is_none() {
            partly.drain().for_each(|selector| {
                concerned.entry(selector).or_default();
            });
        }
        for (selector, concerned) in concerned {
            let seen = concerned.iter().map(|(index, there)| changes[*index].seen(*there));
            let update = Update { changes: seen.collect(), at: Arc::clone(at), next: next.clone() };
            register.topics.put(&selector, update);
            if next.is_some() {
                partly.insert(selector);
            }
        }
        self.handed_out.send_if_modified(|handed_out| {
            let Some(handed_out) = handed_out else { return false };
            handed_out.begun = Arc::clone(at);
            if next.is_none() {
                handed_out.whole = Arc::clone(at);
            }
            true
        });
    }

    /// True if anybody watches; otherwise the reader has to end.
    fn goes_on(&self) -> bool {
        let mut register = self.locked();
        register.running = !register.topics.is_empty();
        if !register.running {
            self.handed_out.send_replace(None);
        }
        register.running
    }

    /// Ends the reader, and lets go of all watchers.
    fn disband(&self) {
        let mut register = self.locked();
        register.running = false;
        register.topics.close();
        self.handed_out.send_replace(None);
    }

    fn locked(&self) -> MutexGuard<'_, Register<R>> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Need of a state that shows all that these prove.
pub(super) fn at_least(tokens: Tokens) -> Need {
    needing(Required::Seen(tokens))
}

fn needing(required: Required) -> Need {
    Need { required, or_stale: false, time_left: None }
}

impl<R: Send + Sync + 'static> Registration<R> {
    /// Next update of the hub, if there is one.
    pub fn take(&mut self) -> Taken<R> {
        self.subscription.take()
    }

    /// Waits until there may be something; cancelling it loses nothing.
    pub async fn news(&mut self) {
        self.subscription.news().await;
    }
}

impl<R: Send + Sync + 'static> Drop for Registration<R> {
    fn drop(&mut self) {
        self.hub.watchers.dec();
        self.hub.locked().topics.leave(&self.subscription);
    }
}
