//! The log in itself: dense, consistent, and nothing in it that nobody caused.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::super::log::{Change, Event, Log};
use super::super::record::{Command, Operation, What};
use super::super::violation::{Kind, Violation};

/// Places of each change of each stream.
pub struct Index<'a>(HashMap<(Uuid, &'a Change), Vec<&'a Event>>);

impl<'a> Index<'a> {
    /// Of a whole log.
    pub fn new(log: &'a Log) -> Self {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for event in &log.events {
            index.entry((event.stream, &event.change)).or_default().push(event);
        }
        Self(index)
    }

    /// The events of a command. More than one is one too many.
    pub fn of<'b>(&'b self, command: &'b Command) -> &'b [&'b Event] {
        self.0.get(&(command.stream, &command.change)).map_or(&[], Vec::as_slice)
    }
}

/// Gaps, misfits and strangers.
pub fn check(log: &Log, misfits: &[String], operations: &[Operation]) -> Vec<Violation> {
    let mut found = gaps(log);
    found.extend(misfits.iter().map(|text| Violation::new(Kind::Misfit, text.clone())));
    let caused: HashSet<_> = operations.iter().filter_map(cause).collect();
    let strange =
        log.events.iter().filter(|event| !caused.contains(&(event.stream, &event.change)));
    found.extend(strange.map(|event| Violation::new(Kind::Stranger, format!("{event:?}"))));
    found
}

fn cause(operation: &Operation) -> Option<(Uuid, &Change)> {
    match &operation.what {
        What::Command(command) => Some((command.stream, &command.change)),
        What::Query(_) => None,
    }
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
