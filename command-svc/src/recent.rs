//! The last events that this process has appended to a partition: with them the state of a boundary
//! is brought up to date without a look at the database, so that commands of one process never
//! starve each other.

use std::collections::VecDeque;

use headwater_eventlog::{Command, Outcome};
use headwater_kernel::{DecodeError, Epoch, Position};

use crate::across::follow;
use crate::decide::{BoundaryKey, Decider, Extent, VersionedState};

/// Commands and bytes that are kept.
const COMMANDS_MAX: usize = 4_096;
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
                self.commands.push_back((receipt.position, command));
            }
        }
        while self.commands.len() > COMMANDS_MAX || self.bytes > BYTES_MAX {
            let Some((position, command)) = self.commands.pop_front() else { break };
            self.bytes -= bytes_of(&command);
            self.from = position;
        }
    }

    /// Folds what the state lacks, if all of it is here.
    pub(crate) fn catch_up(
        &self,
        state: &mut VersionedState,
        (decider, key): (&dyn Decider, &BoundaryKey),
    ) -> Result<(), DecodeError> {
        let Some(Extent { after, .. }) = state.extent else { return Ok(()) };
        if state.epoch != self.epoch || after < self.from || after >= self.end {
            return Ok(());
        }
        let begin = self.commands.partition_point(|(position, _)| *position <= after);
        for (_, command) in self.commands.range(begin..) {
            for placed in command.placed() {
                follow(decider, key, state, placed)?;
            }
        }
        state.extent = state.extent.take().map(|extent| extent.committed(self.end, &key.query));
        Ok(())
    }
}

fn bytes_of(command: &Command) -> usize {
    let events = command.events.iter().map(|event| event.payload.len());
    events.sum::<usize>() + size_of::<Command>()
}
