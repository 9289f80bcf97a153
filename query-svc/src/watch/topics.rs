//! Updates that are handed out to watchers: by what they watch, and held once for all who watch the
//! same, for a while.
//!
//! Memory does not depend on how many watch, nor on how slow they are: each only has a place in
//! what is held of its topic, and finds out there that it came too late.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::change::{Change, Mark, Seen, Selector, Shape};
use super::pages::Place;

/// Bounds of a view. Whoever has fallen further behind than these updates is better off with
/// the rows as they are now; the rows are a budget of 32 MiB at 500 bytes each, however many watch.
pub const HELD_MAX: HeldMax = HeldMax { updates: 32, rows: 65_536 };

/// Changes of a page for those who watch the same.
#[derive(Debug)]
pub struct Update<R> {
    /// The changes, at most as many as a page has.
    pub changes: Vec<Seen<R>>,
    /// The state that they were read from.
    pub at: Arc<Mark>,
    /// Place up to which all that has changed is told with this; without it that is the whole
    /// state.
    pub next: Option<Place>,
}

/// Outcome of a look into a topic.
#[derive(Debug)]
pub enum Taken<R> {
    /// The next update.
    Update(Arc<Update<R>>),
    /// Updates have gone by that are not held any more. What comes next are those from now on.
    Missed,
    /// Nothing comes any more.
    Closed,
    /// Nothing so far.
    Nothing,
}

/// Bounds of what is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldMax {
    /// Updates of a topic.
    pub updates: usize,
    /// Rows of all topics; an update counts as one more.
    pub rows: usize,
}

/// Topics that are watched.
pub struct Topics<R> {
    held_max: HeldMax,
    topics: HashMap<Selector, Arc<Topic<R>>>,
    /// The filters that they look through, with the number of topics of each.
    shapes: HashMap<Shape, usize>,
    /// Updates in the order in which they came, of whatever topic, with what each counts.
    held: VecDeque<(Weak<Topic<R>>, u64, usize)>,
    /// The sum of that.
    held_rows: usize,
}

struct Topic<R> {
    selector: Selector,
    queue: Mutex<Queue<R>>,
    /// Moved when there is something new.
    news: watch::Sender<()>,
}

struct Queue<R> {
    /// Number of the first update that is held.
    first: u64,
    updates: VecDeque<Arc<Update<R>>>,
    watchers: usize,
    closed: bool,
}

/// A watcher's place in its topic.
pub struct Subscription<R> {
    topic: Arc<Topic<R>>,
    next: u64,
    news: watch::Receiver<()>,
}

impl<R> Topics<R> {
    /// None so far.
    pub fn holding(held_max: HeldMax) -> Self {
        Self {
            held_max,
            topics: HashMap::new(),
            shapes: HashMap::new(),
            held: VecDeque::new(),
            held_rows: 0,
        }
    }

    /// True if nobody watches.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A watcher of what is handed out from now on.
    pub fn join(&mut self, selector: Selector) -> Subscription<R> {
        let topic = match self.topics.entry(selector) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                if let Some(shape) = entry.key().shape() {
                    *self.shapes.entry(shape).or_default() += 1;
                }
                let topic = Arc::new(Topic::new(entry.key().clone()));
                Arc::clone(entry.insert(topic))
            }
        };
        let news = topic.news.subscribe();
        let mut queue = topic.queue();
        queue.watchers += 1;
        let next = queue.end();
        drop(queue);
        Subscription { topic, next, news }
    }

    /// A watcher goes.
    pub fn leave(&mut self, subscription: &Subscription<R>) {
        let topic = &subscription.topic;
        let mut queue = topic.queue();
        queue.watchers -= 1;
        // Of one that was closed there is nothing left, or another one of the same selector.
        if queue.watchers > 0 || queue.closed {
            return;
        }
        self.topics.remove(&topic.selector);
        if let Some(shape) = topic.selector.shape()
            && let Some(topics) = self.shapes.get_mut(&shape)
        {
            *topics -= 1;
            if *topics == 0 {
                self.shapes.remove(&shape);
            }
        }
    }

    /// Topics that changes concern: the numbers of the changes, and whether the row is there for
    /// them.
    pub fn concerned(&self, changes: &[Change<R>]) -> HashMap<Selector, Vec<(usize, bool)>> {
        let mut concerned: HashMap<Selector, Vec<(usize, bool)>> = HashMap::new();
        for (index, change) in changes.iter().enumerate() {
            for (selector, there) in change.concerns(self.shapes.keys()) {
                if self.topics.contains_key(&selector) {
                    concerned.entry(selector).or_default().push((index, there));
                }
            }
        }
        concerned
    }

    /// Hands an update to all who watch this.
    pub fn put(&mut self, selector: &Selector, update: Update<R>) {
        let Some(topic) = self.topics.get(selector) else { return };
        let counts = update.changes.len() + 1;
        let number = topic.push(update, self.held_max.updates);
        self.held.push_back((Arc::downgrade(topic), number, counts));
        self.held_rows += counts;
        while self.held_rows > self.held_max.rows
            && let Some((topic, number, counts)) = self.held.pop_front()
        {
            self.held_rows -= counts;
            if let Some(topic) = topic.upgrade() {
                topic.queue().forget_up_to(number);
            }
        }
    }

    /// Lets go of all watchers.
    pub fn close(&mut self) {
        for (_, topic) in self.topics.drain() {
            topic.queue().closed = true;
            topic.news.send_replace(());
        }
        *self = Self::holding(self.held_max);
    }
}

impl<R> Topic<R> {
    fn new(selector: Selector) -> Self {
        let (updates, news) = (VecDeque::new(), watch::Sender::new(()));
        let queue = Queue { first: 0, updates, watchers: 0, closed: false };
        Self { selector, queue: Mutex::new(queue), news }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an update, and gives its number.
    fn push(&self, update: Update<R>, held_max: usize) -> u64 {
        let mut queue = self.queue();
        let number = queue.end();
        queue.updates.push_back(Arc::new(update));
        if queue.updates.len() > held_max {
            let oldest = queue.first;
            queue.forget_up_to(oldest);
        }
        drop(queue);
        self.news.send_replace(());
        number
    }
}

impl<R> Queue<R> {
    /// Number of the update that comes next.
    fn end(&self) -> u64 {
        self.first + self.updates.len() as u64
    }

    fn forget_up_to(&mut self, number: u64) {
        while self.first <= number && self.updates.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl<R> Subscription<R> {
    /// Next update, if there is one.
    pub fn take(&mut self) -> Taken<R> {
        let queue = self.topic.queue();
        // What is left is of a reader that has ended: where the next one begins says nothing of it.
        if queue.closed {
            return Taken::Closed;
        }
        if self.next < queue.first {
            self.next = queue.end();
            return Taken::Missed;
        }
        match queue.updates.get((self.next - queue.first) as usize) {
            Some(update) => {
                self.next += 1;
                Taken::Update(Arc::clone(update))
            }
            None => Taken::Nothing,
        }
    }

    /// Waits until there may be something; cancelling it loses nothing.
    pub async fn news(&mut self) {
        // Its topic holds the other end.
        let _ = self.news.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Epoch, Freshness, LogId, NodeRole};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::seen::{Checkpoint, NodeState};
    use crate::watch::change::Point;

    fn key(n: u128) -> Selector {
        Selector::Key(Uuid::from_u128(n))
    }

    fn update(rows: usize) -> Update<u8> {
        let freshness = Freshness { positions: Vec::new(), as_of: OffsetDateTime::UNIX_EPOCH };
        let checkpoint = Arc::new(Checkpoint::new(LogId(Uuid::nil()), Epoch(1), freshness));
        let at = Mark::of(&NodeState { role: NodeRole::Primary, checkpoint });
        let seen = Seen { key: Uuid::nil(), at: Point::default(), row: Some(Arc::new(0)) };
        Update { changes: vec![seen; rows], at: Arc::new(at), next: None }
    }

    /// Updates that it is given, and whether it has missed any before them.
    fn drain(subscription: &mut Subscription<u8>) -> (usize, bool) {
        let (mut updates, mut missed) = (0, false);
        loop {
            match subscription.take() {
                Taken::Update(_) => updates += 1,
                Taken::Missed => {
                    assert_eq!(updates, 0, "not noticed before it was given what followed");
                    missed = true;
                }
                Taken::Closed | Taken::Nothing => return (updates, missed),
            }
        }
    }

    #[test]
    fn each_is_given_what_came_after_it_joined() {
        let mut topics = Topics::holding(HELD_MAX);
        let mut early = topics.join(key(1));
        topics.put(&key(1), update(1));
        topics.put(&key(2), update(1));
        let mut late = topics.join(key(1));
        topics.put(&key(1), update(1));
        assert_eq!((drain(&mut early), drain(&mut late)), ((2, false), (1, false)));
        topics.put(&key(1), update(1));
        topics.close();
        assert!(matches!(early.take(), Taken::Closed) && topics.is_empty());
        // Another one of the same name has nothing to do with it.
        let again = topics.join(key(1));
        topics.leave(&early);
        topics.leave(&late);
        assert!(!topics.is_empty());
        topics.leave(&again);
        assert!(topics.is_empty());
    }

    #[test]
    fn whoever_falls_too_far_behind_finds_out() {
        let mut topics = Topics::holding(HELD_MAX);
        let mut slow = topics.join(key(1));
        for _ in 0..HELD_MAX.updates {
            topics.put(&key(1), update(1));
        }
        assert_eq!(drain(&mut slow), (HELD_MAX.updates, false));
        for _ in 0..=HELD_MAX.updates {
            topics.put(&key(1), update(1));
        }
        assert_eq!(drain(&mut slow), (0, true));
        topics.put(&key(1), update(1));
        assert_eq!(drain(&mut slow), (1, false));
    }

    #[test]
    fn what_is_held_has_a_bound_however_many_watch() {
        let mut topics = Topics::holding(HELD_MAX);
        let mut watchers: Vec<_> = (0..1_000).map(|n| topics.join(key(n))).collect();
        let mut quick = topics.join(key(999));
        for round in 0..20 {
            for n in 0..1_000 {
                topics.put(&key(n), update(500));
                assert!(topics.held_rows <= HELD_MAX.rows);
            }
            assert_eq!(drain(&mut quick), (1, false), "round {round}: it was there in time");
        }
        let held: usize = topics.topics.values().map(|topic| topic.queue().updates.len()).sum();
        assert!(held * 501 <= HELD_MAX.rows && held > 100, "{held}");
        let late = watchers.iter_mut().map(drain).filter(|(_, missed)| *missed).count();
        assert!(late > 800, "{late}");
    }
}
