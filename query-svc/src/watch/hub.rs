//! One reader of a view's changes for all who watch it, and the register of these.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_chassis::metrics::Gauge;
use headwater_kernel::Consistency;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::change::{Change, Mark, Seen, Selector, Shape, by_commit};
use super::pages::{Page, Place};
use crate::meters::watchers;
use crate::node::connection::Params;
use crate::read::{Need, ReadError, Reads, Required};
use crate::sighting::{Answer, Sighting};
use crate::statement::Statement;

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
const MARK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Commits that wait for a watcher; one that falls further behind reads the changes by itself, once
/// it takes more.
const OUTBOX_MAX: usize = 32;
/// Watchers of a view that read changes by themselves at the same time: those that resume, or have
/// fallen behind.
const CATCH_UPS_MAX: usize = 8;

/// How a view is watched.
pub struct Source<R: 'static> {
    /// Its name.
    pub view: &'static str,
    /// Its changed rows, after a place and up to a number.
    pub changed: &'static Statement<Change<R>>,
    /// Its rows by key.
    pub by_id: &'static Statement<(Uuid, R)>,
}

/// What happened to the rows that somebody watches, in one commit.
#[derive(Debug)]
pub struct Update<R> {
    /// The changes; none if only time has passed.
    pub changes: Vec<Seen<R>>,
    /// The state that they lead to.
    pub at: Arc<Mark>,
}

/// A view's watchers and their reader, which runs while there are any.
pub struct Hub<R: 'static> {
    pub(super) source: &'static Source<R>,
    pub(super) reads: Reads,
    pub(super) catch_ups: Semaphore,
    register: Mutex<Register<R>>,
    /// How far everything has been handed to the watchers; none before the reader's first look.
    marks: watch::Sender<Option<Arc<Mark>>>,
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
            marks: watch::Sender::new(None),
            watchers,
        })
    }

    /// Registers a watcher, which is handed every change after the state that [`Hub::mark`] gives
    /// from now on. Starts the reader for the first one.
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

    /// The state up to which every change has been handed out.
    ///
    /// # Errors
    /// The reader does not get to read in time.
    pub async fn mark(&self) -> Result<Arc<Mark>, ReadError> {
        let mut marks = self.marks.subscribe();
        let mark = timeout(MARK_WAIT_MAX, marks.wait_for(Option::is_some)).await;
        let mark = mark.ok().and_then(Result::ok).and_then(|mark| mark.clone());
        // The lock, since a change is handed out before the mark is moved: what has been handed
        // out, or was lost on the way, is not beyond this mark.
        drop(self.locked());
        self.marks.borrow().clone().or(mark).ok_or(ReadError::NoNode(None))
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
        let params: Params<'_> = &[&place.applied, &place.key, &Page::<R>::ROWS_MAX];
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
                    if matches!(error, ReadError::Foreign) || since.elapsed() > FAILING_MAX {
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
        let Some(from) = self.marks.borrow().clone() else {
            let answer = self.page(&Place::END, &needing(Consistency::Any)).await?;
            self.hand_out(&[], &answer.sighting, Some(Mark::of(&answer.sighting)));
            return Ok(true);
        };
        let mut least = from.token();
        let mut place = Place::after(from.applied);
        // Changes of a commit that a page has cut off: at most as many as a commit may have.
        let mut held: Vec<Change<R>> = Vec::new();
        let mut found = false;
        loop {
            let need = needing(Consistency::AtLeast(least));
            let Answer { value: page, sighting, .. } = self.page(&place, &need).await?;
            // The next page must not be of an older state than this one.
            least = Mark::of(&sighting).token();
            found |= !page.changes.is_empty();
            let next = page.next();
            held.extend(page.changes);
            let Some(next) = next else {
                let mark = Mark::of(&sighting);
                if mark.is_newer_than(&from) {
                    self.hand_out(&held, &sighting, Some(mark));
                }
                return Ok(found);
            };
            let cut = held.partition_point(|change| change.applied < next.applied);
            let rest = held.split_off(cut);
            let mark = held.last().map(|last| last.mark(&sighting));
            self.hand_out(&held, &sighting, mark);
            held = rest;
            place = next;
        }
    }

    /// Hands whole commits to all whom they concern, and moves the mark.
    fn hand_out(&self, changes: &[Change<R>], seen: &Sighting, mark: Option<Mark>) {
        let register = self.locked();
        for commit in by_commit(changes) {
            let at = Arc::new(commit[0].mark(seen));
            let mut concerned: HashMap<&Selector, Vec<(usize, bool)>> = HashMap::new();
            for (index, change) in commit.iter().enumerate() {
                for (selector, there) in change.concerns(register.shapes.keys()) {
                    if let Some((selector, _)) = register.entries.get_key_value(&selector) {
                        concerned.entry(selector).or_default().push((index, there));
                    }
                }
            }
            for (selector, concerned) in concerned {
                for outbox in &register.entries[selector] {
                    let seen = concerned.iter().map(|(index, there)| commit[*index].seen(*there));
                    outbox.put(Update { changes: seen.collect(), at: Arc::clone(&at) });
                }
            }
        }
        if let Some(mark) = mark {
            self.marks.send_replace(Some(Arc::new(mark)));
        }
    }

    /// Whether anybody watches; otherwise the reader has to end.
    fn goes_on(&self) -> bool {
        let mut register = self.locked();
        register.running = !register.entries.is_empty();
        if !register.running {
            self.marks.send_replace(None);
        }
        register.running
    }

    /// Ends the reader, and lets go of all watchers.
    fn disband(&self) {
        let mut register = self.locked();
        register.running = false;
        register.entries.clear();
        register.shapes.clear();
        self.marks.send_replace(None);
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
    /// Whether something was not handed out since the last call, for want of room. What is in the
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
