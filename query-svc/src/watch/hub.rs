//! One reader of a view's changes for all who watch it, and the register of these.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_chassis::metrics::Gauge;
use headwater_kernel::Consistency;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::change::{Change, FoundChange, Mark, Seen, Selector, Shape};
use super::pages::{Page, Place};
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
/// Updates that wait for a watcher; one that falls further behind reads the changes by itself, once
/// it takes more.
const OUTBOX_MAX: usize = 32;
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

/// What a page of changes has for somebody who watches.
#[derive(Debug)]
pub struct Update<R> {
    /// The changes, at most as many as a page has.
    pub changes: Vec<Seen<R>>,
    /// The state that they were read from.
    pub at: Arc<Mark>,
    /// Up to where all that has changed is told with this.
    pub reached: Place,
    /// True if that is the whole state.
    pub whole: bool,
}

/// How far the watchers have been told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The newest state of which anything has been handed out.
    pub begun: Arc<Mark>,
    /// The newest state of which everything has been handed out.
    pub whole: Arc<Mark>,
}

/// A view's watchers and their reader, which runs while there are any.
pub struct Hub<R: 'static> {
    pub(super) source: &'static Source<R>,
    pub(super) reads: Reads,
    pub(super) catch_ups: Semaphore,
    register: Mutex<Register<R>>,
    /// None before the reader's first look.
    told: watch::Sender<Option<Told>>,
    watchers: Gauge,
}

struct Register<R> {
    entries: HashMap<Selector, Vec<Outbox<R>>>,
    shapes: HashMap<Shape, usize>,
    next: u64,
    running: bool,
}

/// The hub's end of what is handed to a watcher.
struct Outbox<R> {
    number: u64,
    sender: mpsc::Sender<Update<R>>,
    overflowed: Arc<AtomicBool>,
}

/// A watcher's end.
pub struct Registration<R: Send + Sync + 'static> {
    hub: Arc<Hub<R>>,
    selector: Selector,
    number: u64,
    /// Closed if the hub has given up.
    pub updates: mpsc::Receiver<Update<R>>,
    overflowed: Arc<AtomicBool>,
}

impl<R: Send + Sync + 'static> Hub<R> {
    /// Of one view.
    pub fn new(reads: &Reads, source: &'static Source<R>) -> Arc<Self> {
        let watchers = watchers(reads.pool().metrics(), source.view);
        Arc::new(Self {
            source,
            reads: reads.clone(),
            catch_ups: Semaphore::new(CATCH_UPS_MAX),
            register: Mutex::new(Register {
                entries: HashMap::new(),
                shapes: HashMap::new(),
                next: 0,
                running: false,
            }),
            told: watch::Sender::new(None),
            watchers,
        })
    }

    /// Registers a watcher, which is handed every change after the state that [`Hub::told`] names
    /// as begun from now on. Starts the reader for the first one.
    pub fn join(self: &Arc<Self>, selector: Selector) -> Registration<R> {
        let (sender, updates) = mpsc::channel(OUTBOX_MAX);
        let overflowed = Arc::new(AtomicBool::new(false));
        let mut register = self.locked();
        let number = register.next;
        register.next += 1;
        if let Some(shape) = selector.shape() {
            *register.shapes.entry(shape).or_default() += 1;
        }
        let outbox = Outbox { number, sender, overflowed: Arc::clone(&overflowed) };
        register.entries.entry(selector.clone()).or_default().push(outbox);
        self.watchers.inc();
        if !register.running {
            register.running = true;
            tokio::spawn(Arc::clone(self).run());
        }
        drop(register);
        Registration { hub: Arc::clone(self), selector, number, updates, overflowed }
    }

    /// How far the watchers have been told. What was handed out, or was lost for want of room, is
    /// not beyond what has begun; what is whole has all been handed out, or lost.
    ///
    /// # Errors
    /// The reader does not get to read in time.
    pub async fn told(&self) -> Result<Told, ReadError> {
        let mut told = self.told.subscribe();
        let first = timeout(FIRST_LOOK_MAX, told.wait_for(Option::is_some)).await;
        let first = first.ok().and_then(Result::ok).and_then(|told| told.clone());
        // It is moved under the lock under which things are handed out.
        drop(self.locked());
        self.told.borrow().clone().or(first).ok_or(ReadError::NoNode(None))
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
                    let other = matches!(error, ReadError::Foreign | ReadError::Lost);
                    if other || since.elapsed() > FAILING_MAX {
                        tracing::warn!(view = self.source.view, %error, "watches are given up");
                        return self.disband();
                    }
                    pause = FAILED_PAUSE;
                }
            }
            sleep(pause).await;
        }
    }

    /// Reads on to the newest state that a node shows, and hands out what changed. False if
    /// nothing.
    async fn look(&self) -> Result<bool, ReadError> {
        let Some(Told { whole: from, .. }) = self.told.borrow().clone() else {
            let answer = self.page(&Place::END, &needing(Consistency::Any)).await?;
            let mark = Arc::new(Mark::of(&answer.node_state));
            let (begun, whole) = (Arc::clone(&mark), mark);
            self.told.send_replace(Some(Told { begun, whole }));
            return Ok(true);
        };
        let mut least = from.token();
        let mut place = Place::after(from.point);
        let mut partly = HashSet::new();
        loop {
            let need = needing(Consistency::AtLeast(least));
            let Answer { value: page, node_state, .. } = self.page(&place, &need).await?;
            let at = Arc::new(Mark::of(&node_state));
            // The next page must not be of an older state than this one.
            least = at.token();
            let Some(next) = page.next() else {
                let found = !page.changes.is_empty() || !partly.is_empty();
                if found || at.is_newer_than(&from) {
                    self.hand_out(&page.changes, &at, None, &mut partly);
                }
                return Ok(found);
            };
            self.hand_out(&page.changes, &at, Some(&next), &mut partly);
            place = next;
        }
    }

    /// Hands a page to all whom it concerns: with `next` one that others follow. `partly` are those
    /// who have been handed something of a state that is not whole yet.
    fn hand_out(
        &self,
        changes: &[Change<R>],
        at: &Arc<Mark>,
        next: Option<&Place>,
        partly: &mut HashSet<Selector>,
    ) {
        let register = self.locked();
        let mut concerned: HashMap<Selector, Vec<(usize, bool)>> = HashMap::new();
        for (index, change) in changes.iter().enumerate() {
            for (selector, there) in change.concerns(register.shapes.keys()) {
                if register.entries.contains_key(&selector) {
                    concerned.entry(selector).or_default().push((index, there));
                }
            }
        }
        if next.is_none() {
            partly.drain().for_each(|selector| {
                concerned.entry(selector).or_default();
            });
        }
        for (selector, concerned) in concerned {
            for outbox in register.entries.get(&selector).into_iter().flatten() {
                let seen = concerned.iter().map(|(index, there)| changes[*index].seen(*there));
                outbox.put(Update {
                    changes: seen.collect(),
                    at: Arc::clone(at),
                    reached: next.cloned().unwrap_or_else(|| Place::after(at.point)),
                    whole: next.is_none(),
                });
            }
            if next.is_some() {
                partly.insert(selector);
            }
        }
        self.told.send_if_modified(|told| {
            let Some(told) = told else { return false };
            told.begun = Arc::clone(at);
            if next.is_none() {
                told.whole = Arc::clone(at);
            }
            true
        });
    }

    /// True if anybody watches; otherwise the reader has to end.
    fn goes_on(&self) -> bool {
        let mut register = self.locked();
        register.running = !register.entries.is_empty();
        if !register.running {
            self.told.send_replace(None);
        }
        register.running
    }

    /// Ends the reader, and lets go of all watchers.
    fn disband(&self) {
        let mut register = self.locked();
        register.running = false;
        register.entries.clear();
        register.shapes.clear();
        self.told.send_replace(None);
    }

    fn locked(&self) -> MutexGuard<'_, Register<R>> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn needing(consistency: Consistency) -> Need {
    Need { required: Required::State(consistency), or_stale: false, time_left: None }
}

impl<R> Outbox<R> {
    fn put(&self, update: Update<R>) {
        // Closed or full: a watcher that has gone does not mind.
        if self.sender.try_send(update).is_err() {
            self.overflowed.store(true, Ordering::Release);
        }
    }
}

impl<R: Send + Sync + 'static> Registration<R> {
    /// True if something was not handed out since the last call, for want of room. What is in the
    /// way is thrown away then, since all of it has to be read again.
    pub fn overflowed(&mut self) -> bool {
        let overflowed = self.overflowed.swap(false, Ordering::AcqRel);
        if overflowed {
            while self.updates.try_recv().is_ok() {}
        }
        overflowed
    }
}

impl<R: Send + Sync + 'static> Drop for Registration<R> {
    fn drop(&mut self) {
        let mut register = self.hub.locked();
        self.hub.watchers.dec();
        // Not there any more if the hub has let go of everybody.
        let Some(outboxes) = register.entries.get_mut(&self.selector) else { return };
        let before = outboxes.len();
        outboxes.retain(|outbox| outbox.number != self.number);
        if outboxes.len() == before {
            return;
        }
        if outboxes.is_empty() {
            register.entries.remove(&self.selector);
        }
        if let Some(shape) = self.selector.shape()
            && let Some(watchers) = register.shapes.get_mut(&shape)
        {
            *watchers -= 1;
            if *watchers == 0 {
                register.shapes.remove(&shape);
            }
        }
    }
}
