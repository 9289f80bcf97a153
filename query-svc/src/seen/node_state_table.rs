//! Last observations of all nodes for one projection, in one place: reads are decided on it, and
//! reads that wait are woken by it.
//!
//! Once the log is known, from the write database, what nodes of other logs show is not put on it,
//! unless no node shows ours: then it is the read database that is another one, and a matter for
//! whoever compares the two. A stray with newer states than all others would otherwise be taken for
//! the truth, and our own nodes be left out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use headwater_kernel::{Epoch, Lineage, LogId, NodeRole};
use tokio::sync::watch;

use super::node_set::NODES_MAX;
use super::node_state::{Checkpoint, NodeSeen, NodeState};
use super::probe_demand::ProbeDemand;
use super::wait_list::{Awaited, Wait, WaitList};

/// Epochs of logs that are remembered: one for each node, in case that all show different ones, and
/// as many that they have shown before.
const LINEAGES_MAX: usize = 2 * NODES_MAX;

/// The table of a pool's nodes, as they show one projection.
pub struct NodeStateTable {
    seen: watch::Sender<Vec<NodeSeen>>,
    /// The write database's log.
    log: ArcSwapOption<LogId>,
    /// The epochs of the logs that nodes show, newest last.
    lineages: Mutex<VecDeque<Arc<Lineage>>>,
    waits: WaitList,
    demand: Arc<ProbeDemand>,
}

impl NodeStateTable {
    /// Nothing has been seen of any node; reads that wait are counted by `demand`.
    pub fn new(nodes: usize, demand: Arc<ProbeDemand>) -> Self {
        // Usable until it fails: it joins the choice with its first node_state.
        let unseen = NodeSeen { usable: true, node_state: None };
        let (seen, _) = watch::channel(vec![unseen; nodes]);
        Self {
            seen,
            log: ArcSwapOption::empty(),
            lineages: Mutex::default(),
            waits: WaitList::default(),
            demand,
        }
    }

    /// Looks at it. The look must be short: it holds up those who write on it.
    pub fn look<T>(&self, look: impl FnOnce(&[NodeSeen]) -> T) -> T {
        look(&self.seen.borrow())
    }

    /// The checkpoint last seen on a node.
    pub fn checkpoint(&self, node: usize) -> Option<Arc<Checkpoint>> {
        self.look(|seen| Some(Arc::clone(&seen[node].node_state.as_ref()?.checkpoint)))
    }

    /// The role in which a node was last seen.
    pub fn role(&self, node: usize) -> Option<NodeRole> {
        self.look(|seen| Some(seen[node].node_state.as_ref()?.role))
    }

    /// Notes that a node shows no checkpoint of the projection: nothing can be read from there.
    pub fn absent(&self, node: usize) {
        self.put(node, |seen| seen.node_state = None);
    }

    /// Notes what a read found. Of two reads that overtook each other the older one changes
    /// nothing.
    pub fn read(&self, node: usize, node_state: &NodeState) {
        let overtaken = |seen: &NodeSeen| {
            seen.node_state.as_ref().is_some_and(|seen| {
                let (seen, found) = (&seen.checkpoint, &node_state.checkpoint);
                seen.is_of_the_log_of(found) && found.freshness.as_of < seen.freshness.as_of
            })
        };
        self.put(node, |seen| {
            if !overtaken(seen) && seen.node_state.as_ref() != Some(node_state) {
                seen.node_state = Some(node_state.clone());
            }
        });
    }

    /// Notes what is certain to be newer than what was seen before, also if it shows an older
    /// state: what a probe found, or a read that was chosen by what was seen before. A node that
    /// went back (it was replaced, or failed over to a copy that lacked the last changes) must not
    /// be taken for what it was.
    pub fn corrected(&self, node: usize, node_state: &NodeState) {
        self.put(node, |seen| seen.node_state = Some(node_state.clone()));
    }

    /// Notes which log the write database holds.
    pub fn log_is(&self, log: LogId) {
        if self.known() != Some(log) {
            self.log.store(Some(Arc::new(log)));
            if self.seen.send_if_modified(|seen| drop_strays(seen, log)) {
                self.waits.wake_all();
            }
        }
    }

    fn known(&self) -> Option<LogId> {
        self.log.load().as_deref().copied()
    }

    /// True if this is of another log than the write database's, which other nodes show.
    pub fn is_stray(&self, found: &Checkpoint) -> bool {
        let ours = self.known().filter(|log| *log != found.log);
        ours.is_some_and(|log| self.look(|seen| shows(seen, log)))
    }

    /// The epochs that this log went through up to this one. They never change.
    pub fn lineage(&self, log: LogId, epoch: Epoch) -> Option<Arc<Lineage>> {
        let known = self.lineages.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|known| (known.log(), known.epoch()) == (log, epoch)).cloned()
    }

    /// Notes the epochs of a log that a node shows; reads that wait for them are woken.
    pub fn learned(&self, lineage: Lineage) {
        let mut known = self.lineages.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LINEAGES_MAX {
            known.pop_front();
        }
        known.push_back(Arc::new(lineage));
        drop(known);
        self.seen.send_modify(|_| {});
        self.waits.wake_all();
    }

    /// Notes whether a node can be read from.
    pub fn usable(&self, node: usize, usable: bool) {
        self.put(node, |seen| seen.usable = usable);
    }

    /// Follows every change.
    pub fn subscribe(&self) -> watch::Receiver<Vec<NodeSeen>> {
        self.seen.subscribe()
    }

    /// Begins to wait for a node that shows this; probes are hurried until the waiter is dropped.
    pub fn wait(&self, awaited: Awaited) -> Waiter<'_> {
        self.demand.enter();
        Waiter { wait: self.waits.begin(awaited), demand: &self.demand }
    }

    fn put(&self, node: usize, change: impl FnOnce(&mut NodeSeen)) {
        let mut moved = None;
        let mut strays = false;
        self.seen.send_if_modified(|seen| {
            let before = seen[node].clone();
            change(&mut seen[node]);
            let changed = seen[node] != before;
            if let Some(log) = self.known().filter(|_| changed) {
                strays = drop_strays(seen, log);
            }
            moved = changed.then(|| (before, seen[node].clone()));
            changed
        });
        // After the change, so that whoever is woken sees it, and whoever began to wait meanwhile
        // has seen it.
        match moved {
            Some(_) if strays => self.waits.wake_all(),
            Some((before, after)) => self.waits.changed(&before, &after),
            None => {}
        }
    }
}

fn shows(seen: &[NodeSeen], log: LogId) -> bool {
    seen.iter().filter_map(|node| node.node_state.as_ref()).any(|seen| seen.checkpoint.log == log)
}

/// Nodes of other logs become such that nothing is known of; whether there were any.
fn drop_strays(seen: &mut [NodeSeen], log: LogId) -> bool {
    if !shows(seen, log) {
        return false;
    }
    let mut dropped = false;
    for node in seen {
        let stray = node.node_state.take_if(|seen| seen.checkpoint.log != log);
        dropped |= stray.is_some();
    }
    dropped
}

/// A read that waits.
pub struct Waiter<'t> {
    wait: Wait<'t>,
    demand: &'t ProbeDemand,
}

impl Waiter<'_> {
    /// Resolves once a node may show what is waited for, seen since the waiter, or the last call,
    /// began. Look before the first call, too.
    pub async fn changed(&self) {
        self.wait.woken().await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.demand.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headwater_kernel::{Epoch, Freshness, NodeRole, Position, Token};
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn table(nodes: usize) -> NodeStateTable {
        NodeStateTable::new(nodes, Arc::default())
    }

    fn node_state(position: u64) -> NodeState {
        let as_of = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(position);
        let freshness = Freshness { positions: vec![Position(position)], as_of };
        let checkpoint = Arc::new(Checkpoint::new(LogId(Uuid::nil()), Epoch(1), freshness));
        NodeState { role: NodeRole::Replica, checkpoint }
    }

    #[test]
    fn only_a_correction_goes_back() {
        let table = table(1);
        let shown = || table.checkpoint(0).map(|seen| seen.freshness.positions[0].0);
        assert_eq!(shown(), None);
        table.read(0, &node_state(5));
        table.read(0, &node_state(4));
        assert_eq!(shown(), Some(5), "of two reads the older one came last");
        table.corrected(0, &node_state(4));
        assert_eq!(shown(), Some(4));
    }

    #[test]
    fn strays_are_not_put_on_it_while_a_node_shows_our_log() {
        let (ours, other) = (LogId(Uuid::nil()), LogId(Uuid::max()));
        let of = |log: LogId, position| {
            let mut node_state = node_state(position);
            let freshness = node_state.checkpoint.freshness.clone();
            node_state.checkpoint = Arc::new(Checkpoint::new(log, Epoch(1), freshness));
            node_state
        };
        let logs = |table: &NodeStateTable| -> Vec<_> {
            (0..2).map(|node| table.checkpoint(node).map(|seen| seen.log)).collect()
        };
        let table = table(2);
        table.read(0, &of(ours, 5));
        table.corrected(1, &of(other, 9));
        assert_eq!(logs(&table), [Some(ours), Some(other)], "the log is not known");
        table.log_is(ours);
        assert_eq!(logs(&table), [Some(ours), None]);
        table.read(1, &of(other, 9));
        assert_eq!(logs(&table), [Some(ours), None]);
        assert!(table.is_stray(&of(other, 9).checkpoint));
        assert!(!table.is_stray(&of(ours, 9).checkpoint));
        // Nobody shows it any more: what there is counts, until somebody does.
        table.corrected(0, &of(other, 1));
        table.corrected(1, &of(other, 1));
        assert_eq!(logs(&table), [Some(other), Some(other)]);
        assert!(!table.is_stray(&of(other, 9).checkpoint));
        table.corrected(1, &of(ours, 1));
        assert_eq!(logs(&table), [None, Some(ours)]);
        // The write database was made anew, and then the views.
        table.log_is(other);
        assert_eq!(logs(&table), [None, Some(ours)]);
        table.corrected(0, &of(other, 2));
        assert_eq!(logs(&table), [Some(other), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_is_woken_by_what_it_waits_for_and_by_nothing_else() {
        let table = table(2);
        table.read(0, &node_state(5));
        let token = Token::of_positions(LogId(Uuid::nil()), Epoch(1), &[Position(7)]);
        let waiter = table.wait(Awaited::Token(token));
        let woken =
            async || tokio::time::timeout(Duration::from_secs(1), waiter.changed()).await.is_ok();
        table.read(0, &node_state(5));
        assert!(!woken().await, "nothing has changed");
        table.read(0, &node_state(6));
        assert!(!woken().await, "not as far as that");
        table.read(0, &node_state(7));
        assert!(woken().await);
        table.read(0, &node_state(8));
        assert!(!woken().await, "it has been told of this node");
        table.usable(1, false);
        assert!(woken().await);
        table.learned(Lineage::new(LogId(Uuid::nil()), Epoch(1), Vec::new()));
        assert!(woken().await);
    }
}
