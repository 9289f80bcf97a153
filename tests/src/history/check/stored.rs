//! The log in itself: dense, consistent, and nothing in it that nobody caused.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::super::log::{Change, Event, Log};
use super::super::record::{Command, Operation, What};
use super::super::violation::{Kind, Violation};

/// Places of each change of each stream.
pub struct Index<'a> {
    places: HashMap<(Uuid, &'a Change), Vec<&'a Event>>,
    /// By partition and position: behind each of them stands the other half of a command.
    torn: HashSet<(u16, u64)>,
}

impl<'a> Index<'a> {
    /// Of a whole log.
    pub fn new(log: &'a Log) -> Self {
        let mut places: HashMap<_, Vec<_>> = HashMap::new();
        let mut torn = HashSet::new();
        for event in &log.events {
            places.entry((event.stream, &event.change)).or_default().push(event);
            if event.change.other_half(event.stream).is_some() {
                torn.insert((event.partition, event.position.saturating_sub(1)));
            }
        }
        Self { places, torn }
    }

    /// The events of a command. More than one is one too many.
    pub fn of<'b>(&'b self, command: &'b Command) -> &'b [&'b Event] {
        self.on((command.stream, &command.change))
    }

    /// The events of this change on this stream.
    pub fn on<'b>(&'b self, place: (Uuid, &'b Change)) -> &'b [&'b Event] {
        self.places.get(&place).map_or(&[], Vec::as_slice)
    }

    /// True if a state that ends here shows a command by half.
    pub fn tears(&self, partition: u16, position: u64) -> bool {
        self.torn.contains(&(partition, position))
    }
}

/// Gaps, misfits and strangers.
pub fn check(log: &Log, misfits: &[String], operations: &[Operation]) -> Vec<Violation> {
    let mut found = gaps(log);
    found.extend(misfits.iter().map(|text| Violation::new(Kind::Misfit, text.clone())));
    let caused: HashSet<_> = operations.iter().flat_map(causes).collect();
    let is_caused = |event: &&Event| caused.contains(&(event.stream, event.change.clone()));
    let strange = log.events.iter().filter(|event| !is_caused(event));
    found.extend(strange.map(|event| Violation::new(Kind::Stranger, format!("{event:?}"))));
    found
}

fn causes(operation: &Operation) -> impl Iterator<Item = (Uuid, Change)> {
    let command = match &operation.what {
        What::Command(command) => Some(command),
        What::Query(_) => None,
    };
    command.into_iter().flat_map(|Command { stream, change, .. }| {
        let other = change.other_half(*stream);
        other.into_iter().chain([(*stream, change.clone())])
    })
}

fn gaps(log: &Log) -> Vec<Violation> {
    let mut found = Vec::new();
    let (mut positions, mut versions) = (HashMap::new(), HashMap::new());
    for event in &log.events {
        let position = positions.insert(event.partition, event.position).unwrap_or_default();
        let version = versions.insert(event.stream, event.version).unwrap_or_default();
        if event.position != position + 1 {
            let place = format!("partition {}", event.partition);
            let text = format!("{place}: position {} after {position}", event.position);
            found.push(Violation::new(Kind::Gap, text));
        }
        if event.version != version + 1 {
            let text =
                format!("stream {}: version {} after {version}", event.stream, event.version);
            found.push(Violation::new(Kind::Gap, text));
        }
    }
    found
}
