//! The last events that this process has appended to a partition: with them the state of a boundary
//! is brought up to date without a look at the database, so that commands of one process never
//! starve each other.

use std::collections::{HashMap, VecDeque};

use headwater_eventlog::{Command, Outcome};
use headwater_kernel::boundary::QueryItem;
use headwater_kernel::{DecodeError, Epoch, Position, Query, StreamId};

use crate::across::follow;
use crate::decide::{BoundaryKey, Decider, Extent, VersionedState};

/// Commands and bytes that are kept.
const COMMANDS_MAX: usize = 16_384;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Batches without a command on a boundary after which nothing is kept.
const IDLE_MAX: usize = 256;

/// Commands of a piece of the partition without gaps, each with the position of its last event.
#[derive(Default)]
pub(crate) struct Recent {
    epoch: Epoch,
    /// The position before the piece, and its end.
    from: Position,
    end: Position,
    commands: VecDeque<(Position, Command)>,
    bytes: usize,
    index: Index,
    idle: usize,
    wanted: bool,
}

impl Recent {
    /// Takes in a batch that was appended. Costs nothing while no command has a boundary.
    pub(crate) fn add(&mut self, epoch: Epoch, commands: Vec<Command>, outcomes: &[Outcome]) {
        let asks = commands.iter().any(|command| command.boundary.is_some());
        self.idle = if asks { 0 } else { self.idle.saturating_add(1) };
        self.wanted = (self.wanted || asks) && self.idle <= IDLE_MAX;
        if !self.wanted {
            *self = Self::default();
            return;
        }
        for (command, outcome) in commands.into_iter().zip(outcomes) {
            let Outcome::Committed(receipt) = outcome else { continue };
            let events = command.events.len() as u64;
            let before = Position(receipt.position.0.saturating_sub(events));
            if epoch != self.epoch || before != self.end {
                let (idle, wanted) = (self.idle, self.wanted);
                *self = Self { epoch, from: before, idle, wanted, ..Self::default() };
            }
            self.end = receipt.position;
            if events > 0 {
                self.bytes += bytes_of(&command);
                self.index.add(receipt.position, &command);
                self.commands.push_back((receipt.position, command));
            }
        }
        while self.commands.len() > COMMANDS_MAX || self.bytes > BYTES_MAX {
            let Some((position, command)) = self.commands.pop_front() else { break };
            self.bytes -= bytes_of(&command);
            self.index.forget(position, &command);
            self.from = position;
        }
    }

    /// Folds what the state lacks, if all of it is here.
    pub(crate) fn catch_up(
        &self,
        state: &mut VersionedState,
        (decider, key): (&dyn Decider, &BoundaryKey),
    ) -> Result<(), DecodeError> {
        let Some(Extent { after, reached, .. }) = &state.extent else { return Ok(()) };
        if state.epoch != self.epoch || *after < self.from || *after >= self.end {
            return Ok(());
        }
        let wanted = match self.index.about(&key.query, reached.keys(), *after) {
            Some(positions) => positions,
            None => self.since(*after).collect(),
        };
        for position in wanted {
            let at = self.commands.partition_point(|(known, _)| *known < position);
            for placed in self.commands[at].1.placed() {
                follow(decider, key, state, placed)?;
            }
        }
        state.extent = state.extent.take().map(|extent| extent.committed(self.end, &key.query));
        Ok(())
    }

    /// The positions of all commands after this one.
    fn since(&self, after: Position) -> impl Iterator<Item = Position> {
        let begin = self.commands.partition_point(|(position, _)| *position <= after);
        self.commands.range(begin..).map(|(position, _)| *position)
    }
}

/// Which commands are about a stream or have a tag, by their positions, in order.
#[derive(Default)]
struct Index {
    streams: HashMap<StreamId, VecDeque<Position>>,
    tags: HashMap<String, VecDeque<Position>>,
}

impl Index {
    fn add(&mut self, position: Position, command: &Command) {
        let add = |positions: &mut VecDeque<Position>| {
            if positions.back() != Some(&position) {
                positions.push_back(position);
            }
        };
        for (stream, _, event) in command.placed() {
            add(self.streams.entry(stream).or_default());
            for tag in &event.tags {
                match self.tags.get_mut(tag) {
                    Some(positions) => add(positions),
                    None => add(self.tags.entry(tag.clone()).or_default()),
                }
            }
        }
    }

    /// Forgets the oldest command.
    fn forget(&mut self, position: Position, command: &Command) {
        let is_empty = |positions: &mut VecDeque<Position>| {
            positions.pop_front_if(|known| *known == position);
            positions.is_empty()
        };
        for (stream, _, event) in command.placed() {
            if self.streams.get_mut(&stream).is_some_and(is_empty) {
                self.streams.remove(&stream);
            }
            for tag in &event.tags {
                if self.tags.get_mut(tag).is_some_and(is_empty) {
                    self.tags.remove(tag);
                }
            }
        }
    }

    /// The positions of commands after this one that the query may match, or that are about one of
    /// the streams; none if it asks for events of any stream and without tags, which takes a look
    /// at all of them.
    fn about<'a>(
        &self,
        query: &Query,
        streams: impl Iterator<Item = &'a StreamId>,
        after: Position,
    ) -> Option<Vec<Position>> {
        let mut found = Vec::new();
        let mut add = |positions: Option<&VecDeque<Position>>| {
            let Some(positions) = positions else { return };
            let begin = positions.partition_point(|position| *position <= after);
            found.extend(positions.range(begin..));
        };
        streams.for_each(|stream| add(self.streams.get(stream)));
        for item in query.items() {
            match (item.stream_id(), rarest(item, &self.tags)) {
                (Some(stream), _) => add(self.streams.get(&stream)),
                (None, Some(positions)) => add(positions),
                (None, None) => return None,
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// Of an item's tags the one that the fewest commands have: their positions, if there are any; none
/// if the item has no tag.
fn rarest<'a>(
    item: &QueryItem,
    tags: &'a HashMap<String, VecDeque<Position>>,
) -> Option<Option<&'a VecDeque<Position>>> {
    let positions = item.tags().iter().map(|tag| tags.get(tag));
    positions.min_by_key(|positions| positions.map_or(0, VecDeque::len))
}

fn bytes_of(command: &Command) -> usize {
    let events = command.events.iter().map(|event| event.payload.len());
    events.sum::<usize>() + size_of::<Command>()
}
