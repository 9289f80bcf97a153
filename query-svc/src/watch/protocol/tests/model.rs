//! A model of what is true: a log, the states that the projector commits from it, and nodes that
//! show some of them.

use headwater_kernel::{EpochStart, Lineage, TokenMismatch};

use super::*;
use crate::watch::change::Change;

/// Rows of the view; those with even keys are of partition 0, the others of partition 1.
pub const KEYS: usize = 5;
/// Changes of a page.
const PAGE: usize = 2;

/// Chance, from a seed.
pub struct Chance(pub u64);

impl Chance {
    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    pub fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }
}

/// A record of the changes.
#[derive(Clone, Debug)]
struct Record {
    at: Point,
    positions: [u64; 2],
    revised: bool,
    keys: Vec<usize>,
}

/// A state of the read database.
#[derive(Clone, Debug)]
pub struct Snapshot {
    epoch: u32,
    positions: [u64; 2],
    revision: i64,
    /// What the rows hold: a number of its own for each change.
    pub rows: [u32; KEYS],
    records: Vec<Record>,
    kept_from: ([u64; 2], Point),
}

impl Snapshot {
    fn start(epoch: u32) -> Self {
        let (positions, rows) = ([0; 2], [0; KEYS]);
        let kept_from = (positions, Point::default());
        Self { epoch, positions, revision: 0, rows, records: Vec::new(), kept_from }
    }

    pub fn mark(&self) -> Arc<Mark> {
        mark_of(self.epoch, &self.positions, self.revision)
    }

    /// True if the other one has the same positions at a later revision.
    pub fn is_revised_by(&self, mark: &Mark) -> bool {
        let own = self.mark();
        own.token() == mark.token() && own.point < mark.point
    }

    pub fn is(&self, mark: &Mark) -> bool {
        let own = self.mark();
        own.epoch() == mark.epoch() && own.token() == mark.token() && own.point == mark.point
    }

    fn record(&mut self, keys: Vec<usize>, revised: bool) {
        let (at, positions) = (self.mark().point, self.positions);
        self.records.push(Record { at, positions, revised, keys });
    }

    /// What the statement on changes gives: the changes, whether all are kept, and where to go on.
    pub fn page(&self, place: &Place) -> (Vec<Change<u32>>, bool, Option<Place>) {
        let mut changes: Vec<Change<u32>> = (0..KEYS)
            .filter_map(|key| {
                let changed = self.records.iter().filter(|record| record.keys.contains(&key));
                let at = changed.map(|record| record.at).max()?;
                let now = Some((Vec::new(), Arc::new(self.rows[key])));
                Some(Change { key: uuid(key), at, former: Vec::new(), now })
            })
            .filter(|change| place.is_before(&change.seen(true)))
            .collect();
        changes.sort_by_key(|change| (change.at, change.key));
        changes.truncate(PAGE);
        let last = changes.last().filter(|_| changes.len() == PAGE);
        let next = last.map(|last| Place { at: last.at, key: last.key.to_string() });
        (changes, self.kept_from.1 < place.at, next)
    }

    /// What the statement on the place of a token gives.
    pub fn locate(&self, resume: &Resume) -> (bool, Point) {
        let token = [0, 1].map(|partition| resume.tokens.position(Partition(partition)).0);
        let within = |positions: [u64; 2]| positions[0] <= token[0] && positions[1] <= token[1];
        let applied = (token[0] + token[1]) as i64;
        let known = match &resume.told {
            Told::Whole(revision) => *revision,
            Told::Partly { place, .. } => return (self.kept_from.1 < place.at, Point::default()),
        };
        let (positions, from) = self.kept_from;
        let kept = within(positions)
            && (from.applied < applied || from.revision <= known.unwrap_or_default());
        let covered = self.records.iter().rev().find(|record| {
            let Point { applied: events, revision } = record.at;
            let seen = known.is_some_and(|known| revision <= known);
            within(record.positions) && (!record.revised || events < applied || seen)
        });
        (kept, covered.map_or(from, |record| record.at))
    }
}

pub fn uuid(key: usize) -> Uuid {
    Uuid::from_u128(key as u128)
}

/// A node of the read database.
pub struct Node {
    up: bool,
    /// The state that it shows.
    shows: usize,
}

/// Reason why a read was not answered.
#[derive(Debug, PartialEq)]
pub enum Unread {
    NotFreshEnough,
    Lost,
}

/// Everything that watches depend on.
pub struct World {
    /// By partition, the events that are there: a row and what it becomes.
    log: [Vec<(usize, u32)>; 2],
    epochs: Vec<EpochStart>,
    /// All states of the read primary, one after the other.
    pub states: Vec<Snapshot>,
    pub nodes: Vec<Node>,
    values: u32,
}

impl World {
    pub fn new() -> Self {
        let epochs = vec![EpochStart { epoch: Epoch(1), positions: vec![Position(0); 2] }];
        let nodes = (0..3).map(|_| Node { up: true, shows: 0 }).collect();
        let states = vec![Snapshot::start(1)];
        Self { log: [Vec::new(), Vec::new()], epochs, states, nodes, values: 0 }
    }

    pub fn last(&self) -> &Snapshot {
        &self.states[self.states.len() - 1]
    }

    fn value(&mut self) -> u32 {
        self.values += 1;
        self.values
    }

    pub fn append(&mut self, chance: &mut Chance) {
        for _ in 0..=chance.below(3) {
            let (key, value) = (chance.below(KEYS), self.value());
            self.log[key % 2].push((key, value));
        }
    }

    /// Commits some of the events that have not been applied.
    pub fn commit(&mut self, chance: &mut Chance) {
        let mut state = self.last().clone();
        let mut keys = Vec::new();
        for partition in 0..2 {
            let applied = state.positions[partition] as usize;
            let count = chance.below(self.log[partition].len() - applied + 1);
            for (key, value) in &self.log[partition][applied..applied + count] {
                state.rows[*key] = *value;
                keys.push(*key);
            }
            state.positions[partition] += count as u64;
        }
        if !keys.is_empty() {
            state.record(keys, false);
            self.states.push(state);
        }
    }

    /// True if all events have been applied.
    pub fn is_caught_up(&self) -> bool {
        let applied = self.last().positions;
        self.log.iter().zip(applied).all(|(events, applied)| events.len() as u64 == applied)
    }

    /// Changes rows without an event.
    pub fn revise(&mut self, chance: &mut Chance) {
        let mut state = self.last().clone();
        let key = chance.below(KEYS);
        state.rows[key] = self.value();
        state.revision += 1;
        state.record(vec![key], true);
        self.states.push(state);
    }

    pub fn prune(&mut self, chance: &mut Chance) {
        let mut state = self.last().clone();
        let gone = chance.below(state.records.len() + 1);
        let gone: Vec<Record> = state.records.drain(..gone).collect();
        if let Some(last) = gone.last() {
            state.kept_from = (last.positions, last.at);
            self.states.push(state);
        }
    }

    /// A new epoch, in which all that was applied is kept.
    pub fn adopt_epoch(&mut self) {
        self.begin_epoch();
        let mut state = self.last().clone();
        state.epoch = self.epoch();
        state.revision += 1;
        self.states.push(state);
    }

    /// A new epoch, maybe without the last events, whose views are made anew.
    pub fn make_anew(&mut self, chance: &mut Chance) {
        if chance.one_in(2) {
            self.log.iter_mut().for_each(|events| {
                let kept = events.len() - chance.below(events.len().min(4) + 1);
                events.truncate(kept);
            });
        }
        self.begin_epoch();
        self.states.push(Snapshot::start(self.epoch()));
    }

    fn begin_epoch(&mut self) {
        let epoch = Epoch(self.epoch() + 1);
        let positions = self.log.iter().map(|events| Position(events.len() as u64)).collect();
        self.epochs.push(EpochStart { epoch, positions });
    }

    fn epoch(&self) -> u32 {
        self.epochs[self.epochs.len() - 1].epoch.0
    }

    /// A node catches up, goes back to an older state, dies, or comes again.
    pub fn trouble(&mut self, chance: &mut Chance) {
        let last = self.states.len() - 1;
        let number = chance.below(self.nodes.len());
        let node = &mut self.nodes[number];
        match chance.below(8) {
            0 => node.shows -= chance.below(node.shows.min(4) + 1),
            1 => node.up = false,
            2 | 3 => node.up = true,
            4 => node.shows = last,
            _ => node.shows += chance.below((last - node.shows).min(3) + 1),
        }
    }

    /// All nodes are there and show everything.
    pub fn heal(&mut self) {
        let last = self.states.len() - 1;
        self.nodes.iter_mut().for_each(|node| *node = Node { up: true, shows: last });
    }

    /// A state that a node shows which is as fresh as these require.
    pub fn read(&self, tokens: Option<&Tokens>, chance: &mut Chance) -> Result<&Snapshot, Unread> {
        let up = self.nodes.iter().filter(|node| node.up);
        let mut shown: Vec<&Snapshot> = up.map(|node| &self.states[node.shows]).collect();
        if let Some(tokens) = tokens {
            let epoch = shown.iter().map(|state| state.epoch).max();
            let epoch = epoch.ok_or(Unread::NotFreshEnough)?;
            let starts: Vec<EpochStart> =
                self.epochs.iter().filter(|start| start.epoch.0 <= epoch).cloned().collect();
            let lineage = Lineage::new(LogId(Uuid::nil()), Epoch(epoch), starts);
            let token = lineage.settle(tokens).map_err(|mismatch| match mismatch {
                TokenMismatch::Lost => Unread::Lost,
                TokenMismatch::Later => Unread::NotFreshEnough,
                TokenMismatch::Foreign => unreachable!("there is one log"),
            })?;
            shown.retain(|state| {
                let positions = state.positions.map(Position);
                state.epoch == epoch && token.is_covered_by(&positions)
            });
        }
        match shown.len() {
            0 => Err(Unread::NotFreshEnough),
            count => Ok(shown[chance.below(count)]),
        }
    }
}
