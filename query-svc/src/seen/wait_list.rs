//! Reads that wait, in the order of what they wait for: a node that comes further wakes those whose
//! position or time it has reached, and nobody else. What may change everything (health, role, log
//! or epoch of a node) wakes all of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_kernel::{Freshness, Partition, Position, Token};
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::node_state::NodeSeen;

/// State that is waited for.
#[derive(Clone, Debug)]
pub enum Awaited {
    /// A node that has come as far as this token.
    Token(Token),
    /// A node whose state is of this time, or later.
    AsOf(OffsetDateTime),
    /// A node of another health, role, log or epoch.
    OtherNode,
}

/// The waits.
#[derive(Default)]
pub struct WaitList(Mutex<Waits>);

/// Waits by their numbers, and the numbers in order of what is waited for.
#[derive(Default)]
struct Waits {
    next: u64,
    all: BTreeMap<u64, Arc<Notify>>,
    /// By partition; a token with several is in each of them.
    by_position: BTreeMap<Partition, BTreeSet<(Position, u64)>>,
    by_time: BTreeSet<(OffsetDateTime, u64)>,
}

/// A wait; ends when it is dropped.
pub struct Wait<'l> {
    list: &'l WaitList,
    number: u64,
    awaited: Awaited,
    woken: Arc<Notify>,
}

impl WaitList {
    /// Begins to wait.
    pub fn begin(&self, awaited: Awaited) -> Wait<'_> {
        let woken = Arc::new(Notify::new());
        let mut waits = self.waits();
        let number = waits.next;
        waits.next += 1;
        waits.all.insert(number, Arc::clone(&woken));
        match &awaited {
            Awaited::Token(token) => {
                for (partition, position) in token.positions() {
                    waits.by_position.entry(partition).or_default().insert((position, number));
                }
            }
            Awaited::AsOf(time) => {
                waits.by_time.insert((*time, number));
            }
            Awaited::OtherNode => {}
        }
        drop(waits);
        Wait { list: self, number, awaited, woken }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        self.waits().all.values().for_each(|woken| woken.notify_one());
    }

    /// Wakes those for whom this change of a node may be what they wait for.
    pub fn changed(&self, before: &NodeSeen, after: &NodeSeen) {
        let states = before.node_state.as_ref().zip(after.node_state.as_ref());
        let same_node = states.filter(|(before, after)| {
            before.role == after.role && before.checkpoint.is_of_the_log_of(&after.checkpoint)
        });
        match same_node.filter(|_| before.usable == after.usable) {
            Some((before, after)) => {
                self.waits().came_further(&before.checkpoint.freshness, &after.checkpoint.freshness)
            }
            None => self.wake_all(),
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    /// A node went from one state to the other: wakes what lies in between.
    fn came_further(&self, before: &Freshness, after: &Freshness) {
        for (partition, waits) in &self.by_position {
            let at = |shown: &Freshness| {
                shown.positions.get(usize::from(partition.0)).copied().unwrap_or_default()
            };
            let (from, to) = (at(before), at(after));
            if from < to {
                let reached = (Excluded((from, u64::MAX)), Included((to, u64::MAX)));
                self.wake(waits.range(reached).map(|(_, number)| number));
            }
        }
        if before.as_of < after.as_of {
            let reached = (Excluded((before.as_of, u64::MAX)), Included((after.as_of, u64::MAX)));
            self.wake(self.by_time.range(reached).map(|(_, number)| number));
        }
    }

    fn wake<'n>(&self, numbers: impl Iterator<Item = &'n u64>) {
        for woken in numbers.filter_map(|number| self.all.get(number)) {
            woken.notify_one();
        }
    }
}

impl Wait<'_> {
    /// Resolves when it has been woken since it began, or since the last call.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waits = self.list.waits();
        waits.all.remove(&self.number);
        match &self.awaited {
            Awaited::Token(token) => {
                for (partition, position) in token.positions() {
                    // Partitions come from clients' tokens: none is kept for nobody.
                    if let Entry::Occupied(mut waits) = waits.by_position.entry(partition) {
                        waits.get_mut().remove(&(position, self.number));
                        if waits.get().is_empty() {
                            waits.remove();
                        }
                    }
                }
            }
            Awaited::AsOf(time) => {
                waits.by_time.remove(&(*time, self.number));
            }
            Awaited::OtherNode => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use headwater_kernel::{Epoch, LogId, NodeRole};
    use uuid::Uuid;

    use super::super::node_state::{Checkpoint, NodeState};
    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(1));

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
    }

    fn positions(positions: &[u64]) -> Vec<Position> {
        positions.iter().map(|position| Position(*position)).collect()
    }

    fn node(epoch: u32, shown: &[u64], as_of: i64) -> NodeSeen {
        let freshness = Freshness { positions: positions(shown), as_of: at(as_of) };
        let checkpoint = Arc::new(Checkpoint::new(LOG, Epoch(epoch), freshness));
        let node_state = Some(NodeState { role: NodeRole::Replica, checkpoint });
        NodeSeen { usable: true, node_state }
    }

    fn token(shown: &[u64]) -> Awaited {
        Awaited::Token(Token::of_positions(LOG, Epoch(1), &positions(shown)))
    }

    #[test]
    fn only_those_are_woken_whose_position_or_time_is_reached() {
        let list = WaitList::default();
        let begin = |awaited| list.begin(awaited);
        let waits = [
            begin(token(&[10])),
            begin(token(&[11])),
            begin(token(&[10, 5])),
            begin(token(&[0, 5])),
            begin(Awaited::AsOf(at(100))),
            begin(Awaited::AsOf(at(101))),
            begin(Awaited::OtherNode),
        ];
        let check = |before: &NodeSeen, after: &NodeSeen, expected: &[usize]| {
            list.changed(before, after);
            let woken =
                |(number, wait): (usize, &Wait<'_>)| wait.woken().now_or_never().map(|()| number);
            let woken: Vec<_> = waits.iter().enumerate().filter_map(woken).collect();
            assert_eq!(woken, expected, "{before:?} {after:?}");
        };
        check(&node(1, &[9], 99), &node(1, &[9], 99), &[]);
        check(&node(1, &[8], 98), &node(1, &[9], 99), &[]);
        check(&node(1, &[9], 99), &node(1, &[10], 99), &[0, 2]);
        // This node has shown it before: that was not enough, and is not news.
        check(&node(1, &[10], 99), &node(1, &[10], 100), &[4]);
        check(&node(1, &[10], 100), &node(1, &[50], 100), &[1]);
        check(&node(1, &[50], 100), &node(1, &[50, 5], 200), &[2, 3, 5]);
        // Back, as after a restart.
        check(&node(1, &[50, 5], 200), &node(1, &[1, 1], 1), &[]);
        let all = [0, 1, 2, 3, 4, 5, 6];
        check(&node(1, &[9], 99), &node(2, &[9], 99), &all);
        let down = NodeSeen { usable: false, ..node(1, &[9], 99) };
        check(&node(1, &[9], 99), &down, &all);
        let unseen = NodeSeen { usable: true, node_state: None };
        check(&unseen, &node(1, &[9], 99), &all);
    }

    #[test]
    fn a_wait_leaves_nothing_behind() {
        let list = WaitList::default();
        drop((list.begin(token(&[1, 2])), list.begin(Awaited::AsOf(at(1)))));
        let waits = list.waits();
        assert!(waits.all.is_empty() && waits.by_time.is_empty() && waits.by_position.is_empty());
    }
}
