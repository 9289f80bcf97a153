//! Which commands of a batch were decided on top of which, so that what becomes of one tells what
//! becomes of the others.

use std::collections::HashMap;

use headwater_kernel::{NewEvent, Query, StreamId, StreamVersion};

use super::command::{Boundary, Command};

/// The chains of a batch, command by command.
pub(super) struct Chains<'a> {
    /// Of each stream the number of the last command on it, and the version that it leaves.
    reached: HashMap<StreamId, (i32, StreamVersion)>,
    /// Of each command, by its number from 1, one that comes before it in its chain, or itself.
    before: Vec<i32>,
    /// The events so far, if there are boundaries in the batch.
    events: Option<Events<'a>>,
}

/// Place of a command in the batch.
pub(super) enum Link {
    /// Decided on what is stored, or on what comes before it in the batch. `first`: the first one
    /// of its stream; `new_streams`: of the others that it appends to, those that no command before
    /// it does.
    Fits { first: bool, new_streams: Vec<(StreamId, StreamVersion)> },
    /// Decided on neither.
    Unfit,
}

/// An event of the batch: the number of its command, and what queries look for.
type Event<'a> = (i32, StreamId, &'a NewEvent);

/// Events, and where to look for those that a query matches.
#[derive(Default)]
struct Events<'a> {
    all: Vec<Event<'a>>,
    by_stream: HashMap<StreamId, Vec<usize>>,
    by_tag: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Chains<'a> {
    pub(super) fn new(commands: &'a [Command]) -> Self {
        let with_boundaries = commands.iter().any(|command| command.boundary.is_some());
        Self {
            reached: HashMap::with_capacity(commands.len()),
            before: Vec::with_capacity(commands.len() + 1),
            events: with_boundaries.then(Events::default),
        }
    }

    /// Adds the next command.
    pub(super) fn add(&mut self, command: &'a Command) -> Link {
        if self.before.is_empty() {
            // There is no command 0.
            self.before.push(0);
        }
        let number = self.before.len() as i32;
        self.before.push(number);
        let Some(boundary) = command.boundary.as_deref() else {
            return self.add_part(number, command, &mut Vec::new());
        };
        let matched = self.events.as_ref().map(|events| events.matched(&boundary.query));
        let matched = matched.unwrap_or_default();
        let mut new_streams = Vec::new();
        if matched.len() != boundary.ahead || !self.fits(command, boundary) {
            return Link::Unfit;
        }
        for earlier in matched {
            self.join(number, earlier);
        }
        self.add_part(number, command, &mut new_streams)
    }

    /// True if no stream of the command is at another version than it was decided on.
    fn fits(&self, command: &Command, boundary: &Boundary) -> bool {
        let parts = boundary.parts.iter().map(|part| (part.stream, part.expected));
        let mut all = parts.chain([(command.stream, command.expected)]);
        all.all(|(stream, expected)| {
            self.reached.get(&stream).is_none_or(|(_, reached)| *reached == expected)
        })
    }

    /// Moves the command's streams on, if it fits.
    fn add_part(
        &mut self,
        number: i32,
        command: &'a Command,
        new_streams: &mut Vec<(StreamId, StreamVersion)>,
    ) -> Link {
        let own = self.reached.get(&command.stream).copied();
        match own {
            Some((_, reached)) if reached != command.expected => return Link::Unfit,
            Some((earlier, _)) => self.join(number, earlier),
            None => drop(self.reached.insert(command.stream, (number, command.expected))),
        }
        for part in command.parts() {
            let after = part.expected.plus(part.events as u64);
            match self.reached.insert(part.stream, (number, after)) {
                Some((earlier, _)) => self.join(number, earlier),
                None => new_streams.push((part.stream, part.expected)),
            }
        }
        if let Some(events) = &mut self.events {
            command.placed().for_each(|(stream, _, event)| events.add((number, stream, event)));
        }
        Link::Fits { first: own.is_none(), new_streams: std::mem::take(new_streams) }
    }

    /// The number of a command's chain: that of the first command in it.
    pub(super) fn chain(&mut self, number: i32) -> i32 {
        let mut first = number;
        while self.before[first as usize] != first {
            first = self.before[first as usize];
        }
        // The next one that asks has a short way.
        self.before[number as usize] = first;
        first
    }

    fn join(&mut self, one: i32, other: i32) {
        let firsts = [self.chain(one), self.chain(other)];
        let [first, later] = [firsts[0].min(firsts[1]), firsts[0].max(firsts[1])];
        self.before[later as usize] = first;
    }
}

impl<'a> Events<'a> {
    fn add(&mut self, (number, stream, event): Event<'a>) {
        let place = self.all.len();
        self.by_stream.entry(stream).or_default().push(place);
        for tag in &event.tags {
            self.by_tag.entry(tag).or_default().push(place);
        }
        self.all.push((number, stream, event));
    }

    /// The commands of the events that the query matches, one for each event.
    fn matched(&self, query: &Query) -> Vec<i32> {
        let mut places = Vec::new();
        for item in query.items() {
            let found = match (item.stream_id(), item.tags().first()) {
                (Some(stream), _) => self.by_stream.get(&stream),
                (None, Some(tag)) => self.by_tag.get(tag.as_str()),
                (None, None) => {
                    places = (0..self.all.len()).collect();
                    break;
                }
            };
            places.extend(found.into_iter().flatten());
        }
        places.sort_unstable();
        places.dedup();
        let matching = places.into_iter().map(|place| &self.all[place]);
        matching
            .filter(|(_, stream, event)| query.matches(*stream, event.type_name, &event.tags))
            .map(|(number, ..)| *number)
            .collect()
    }
}
