//! A part of the log, read again: between two places of every partition, in the order of time.

use std::collections::VecDeque;

use headwater_eventlog::{EventLog, Head};
use headwater_kernel::{Partition, Position, RecordedEvent};

use crate::projection::checkpoint::Checkpoint;
use crate::stop::{Stop, within};

/// Events read from a partition at once, and given out at once.
const CHUNK: usize = 2_000;

/// Events after some positions, up to a checkpoint.
pub(super) struct Span {
    partitions: Vec<Side>,
}

/// What is left of one partition.
struct Side {
    partition: Partition,
    /// Where reading goes on.
    place: Head,
    /// Events up to here are not wanted.
    after: Position,
    until: Position,
    read: VecDeque<RecordedEvent>,
}

impl Span {
    /// From after these positions, one a partition from 0.
    pub async fn open(
        log: &EventLog,
        after: &[Position],
        until: &Checkpoint,
    ) -> Result<Self, Stop> {
        let mut partitions = Vec::new();
        for (index, (after, until)) in after.iter().zip(&until.heads).enumerate() {
            if *after >= until.position {
                continue;
            }
            let partition = Partition(index as u16);
            let place = within("finding a place", log.place_before(partition, *after)).await?;
            let read = VecDeque::new();
            let until = until.position;
            partitions.push(Side { partition, place, after: *after, until, read });
        }
        Ok(Self { partitions })
    }

    /// The next events; `None` at the end.
    pub async fn next(&mut self, log: &EventLog) -> Result<Option<Vec<RecordedEvent>>, Stop> {
        let mut events = Vec::new();
        while events.len() < CHUNK {
            for side in &mut self.partitions {
                side.fill(log).await?;
            }
            let time = |side: &&mut Side| side.read.front().map(|event| event.recorded_at);
            let waiting = self.partitions.iter_mut().filter(|side| !side.read.is_empty());
            let Some(earliest) = waiting.min_by_key(time) else { break };
            events.extend(earliest.read.pop_front());
        }
        Ok((!events.is_empty()).then_some(events))
    }
}

impl Side {
    /// Reads on if nothing is left of what was read.
    async fn fill(&mut self, log: &EventLog) -> Result<(), Stop> {
        while self.read.is_empty() && self.place.position < self.until {
            let chunk = log.read(self.partition, &self.place, CHUNK as u32);
            let chunk = within("reading the log", chunk).await?;
            if chunk.end.position == self.place.position {
                // The log is shorter than it was.
                return Err(Stop::Overtaken);
            }
            self.place = chunk.end;
            let wanted = |e: &RecordedEvent| e.position > self.after && e.position <= self.until;
            self.read.extend(chunk.events.into_iter().filter(wanted));
        }
        Ok(())
    }
}
