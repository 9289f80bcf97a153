//! Commands, and histories as the commands that their events came from.

use std::fmt;

/// Streams of the log.
pub const STREAMS: u8 = 2;
/// One value for each stream.
pub type PerStream<T> = [T; 2];
/// Commands that can be told apart in one run.
pub const COMMANDS_MAX: u8 = 7;

/// Identity of a command, and of the one event that it makes: its number, from 1, and its stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(u8);

impl Command {
    /// The `number`th command, from 1, for a stream.
    pub fn new(number: u8, stream: u8) -> Self {
        assert!((1..=COMMANDS_MAX).contains(&number) && stream < STREAMS);
        Self(number * STREAMS + stream)
    }

    /// The stream that it is for.
    pub fn stream(self) -> u8 {
        self.0 % STREAMS
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0 / STREAMS
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = if self.stream() == 0 { 'x' } else { 'y' };
        write!(f, "{stream}{}", self.number())
    }
}

/// Events in order: of the log, of a stream, or of a state, which is nothing but the events that it
/// was folded from. A digest of the log is one too, since equal digests prove equal histories.
///
/// Four bits an event, the first one lowest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History(u32);

impl History {
    /// Number of its events: the last position, or the version.
    pub fn len(self) -> u8 {
        (35 - self.0.leading_zeros() as u8) / 4
    }

    /// The event at a position, from 1.
    pub fn at(self, position: u8) -> Option<Command> {
        let nibble = self.0.checked_shr(u32::from(position - 1) * 4).unwrap_or(0) & 15;
        (nibble != 0).then_some(Command(nibble as u8))
    }

    /// The last event.
    pub fn last(self) -> Option<Command> {
        let len = self.len();
        if len == 0 { None } else { self.at(len) }
    }

    /// With one more event.
    pub fn plus(self, event: Command) -> Self {
        let len = self.len();
        assert!(len < 8, "eight events fill it");
        Self(self.0 | u32::from(event.0) << (len * 4))
    }

    /// The first events of it, at most `len`.
    pub fn first(self, len: u8) -> Self {
        if len >= 8 { self } else { Self(self.0 & ((1 << (len * 4)) - 1)) }
    }

    /// True if it begins with all of `other`.
    pub fn starts_with(self, other: Self) -> bool {
        self.first(other.len()) == other
    }

    /// The events, in order.
    pub fn events(self) -> impl Iterator<Item = Command> {
        (1..=self.len()).filter_map(move |position| self.at(position))
    }

    /// The events of one stream.
    pub fn of(self, stream: u8) -> Self {
        self.events().filter(|event| event.stream() == stream).fold(Self::default(), Self::plus)
    }

    /// Position of an event; `None` if it is not in there.
    pub fn position(self, event: Command) -> Option<u8> {
        (1..=self.len()).find(|position| self.at(*position) == Some(event))
    }

    /// With other numbers for its commands.
    pub fn renamed(self, names: &mut Names) -> Self {
        self.events().fold(Self::default(), |renamed, event| renamed.plus(names.of(event)))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}

/// New numbers for commands, in the order in which they are first met: two worlds that differ in
/// nothing but these numbers are one.
#[derive(Clone, Default)]
pub struct Names {
    numbers: [u8; COMMANDS_MAX as usize + 1],
    given: u8,
}

impl Names {
    /// The command's new name.
    pub fn of(&mut self, command: Command) -> Command {
        let number = &mut self.numbers[usize::from(command.number())];
        if *number == 0 {
            self.given += 1;
            *number = self.given;
        }
        Command::new(*number, command.stream())
    }
}
