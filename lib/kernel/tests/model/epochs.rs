//! Epochs that the servers began, with what each really was: more than any program can know.

use headwater_kernel::{Epoch, EpochStart, Lineage, LogId, Position};
use uuid::Uuid;

use crate::history::History;

/// The most epochs: the first one, and one for each promotion.
const EPOCHS_MAX: usize = 4;
/// The log of all servers.
pub const LOG: LogId = LogId(Uuid::from_u128(1));

/// Identity of an epoch, which no program sees: programs see its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId(u8);

impl EpochId {
    /// Index, in the order of beginning.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// All epochs that were ever begun, on whatever server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epochs {
    epochs: [Begun; EPOCHS_MAX],
    len: u8,
}

/// An epoch as it was begun, and all that was ever committed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Begun {
    /// The number that was drawn: its rank among those drawn so far, since nothing but the order of
    /// numbers counts.
    number: u8,
    /// The epoch that its history was in before; its own for the first one.
    parent: EpochId,
    /// The fork point.
    fork: u8,
    /// The longest history that the log ever had in it.
    truth: History,
}

impl Epochs {
    /// The first one.
    pub fn first() -> Self {
        let mut epochs = [Begun::default(); EPOCHS_MAX];
        epochs[0].number = 1;
        Self { epochs, len: 1 }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = EpochId> + use<> {
        (0..self.len).map(EpochId)
    }

    /// The number that programs see.
    pub fn number(&self, epoch: EpochId) -> u8 {
        self.begun(epoch).number
    }

    /// True if programs take the one for the other.
    pub fn look_equal(&self, one: EpochId, other: EpochId) -> bool {
        self.number(one) == self.number(other)
    }

    /// All that was committed in it.
    pub fn truth(&self, epoch: EpochId) -> History {
        self.begun(epoch).truth
    }

    /// Notes what the log has in an epoch.
    pub fn committed(&mut self, epoch: EpochId, truth: History) {
        self.epochs[epoch.index()].truth = truth;
    }

    /// Numbers that a new epoch after this one may draw: any place among those that were drawn
    /// before, elsewhere as well, but after its parent's.
    pub fn draws(&self, parent: EpochId) -> impl Iterator<Item = u8> + use<> {
        self.number(parent) + 1..=self.len + 1
    }

    /// Begins an epoch. If its number is drawn, the same one of another epoch, and all that are
    /// later, move up, so that it gets a place between them.
    pub fn begin(
        &mut self,
        parent: EpochId,
        (number, is_drawn): (u8, bool),
        history: History,
    ) -> EpochId {
        let later = self.epochs.iter_mut().filter(|begun| is_drawn && begun.number >= number);
        later.for_each(|begun| begun.number += 1);
        self.push(Begun { number, parent, fork: history.len(), truth: history })
    }

    fn push(&mut self, begun: Begun) -> EpochId {
        let epoch = EpochId(self.len);
        self.epochs[usize::from(self.len)] = begun;
        self.len += 1;
        epoch
    }

    /// True if a history in `epoch` went through `earlier`.
    pub fn went_through(&self, epoch: EpochId, earlier: EpochId) -> bool {
        self.line(epoch).any(|passed| passed == earlier)
    }

    /// The lineage that a log in this epoch has stored.
    pub fn lineage(&self, epoch: EpochId) -> Lineage {
        let start = |passed: EpochId| EpochStart {
            epoch: self.epoch(passed),
            positions: vec![Position(self.begun(passed).fork.into())],
        };
        Lineage::new(LOG, self.epoch(epoch), self.line(epoch).map(start).collect())
    }

    /// The number, as the programs' type.
    pub fn epoch(&self, epoch: EpochId) -> Epoch {
        Epoch(self.number(epoch).into())
    }

    /// From an epoch back to the first.
    fn line(&self, epoch: EpochId) -> impl Iterator<Item = EpochId> {
        std::iter::successors(Some(epoch), |epoch| (epoch.0 > 0).then(|| self.begun(*epoch).parent))
    }

    /// Keeps the lines of some epochs whole, and of what else is held the numbers alone. Answers
    /// the new identities by index, in the order of the numbers.
    pub fn keep(&mut self, lines: &[EpochId], held: &[EpochId]) -> [EpochId; EPOCHS_MAX] {
        let mut whole = [false; EPOCHS_MAX];
        for epoch in lines {
            self.line(*epoch).for_each(|passed| whole[passed.index()] = true);
        }
        let is_whole = |epoch: EpochId| whole[epoch.index()];
        let mut kept: Vec<EpochId> =
            self.all().filter(|epoch| is_whole(*epoch) || held.contains(epoch)).collect();
        kept.sort_by_key(|epoch| self.number(*epoch));
        let mut renumbered = [EpochId::default(); EPOCHS_MAX];
        let mut epochs = [Begun::default(); EPOCHS_MAX];
        let (mut rank, mut last) = (0, 0);
        for (epoch, index) in kept.iter().zip(0..) {
            let begun = *self.begun(*epoch);
            renumbered[epoch.index()] = EpochId(index);
            rank += u8::from(begun.number > last);
            last = begun.number;
            // Its parent comes before it, with a lower number.
            let known = if is_whole(*epoch) { begun } else { Begun::default() };
            let parent = renumbered[known.parent.index()];
            epochs[usize::from(index)] = Begun { number: rank, parent, ..known };
        }
        *self = Self { epochs, len: kept.len() as u8 };
        renumbered
    }

    /// With other names for its commands.
    pub fn map(mut self, mut change: impl FnMut(History) -> History) -> Self {
        for begun in &mut self.epochs[..usize::from(self.len)] {
            begun.truth = change(begun.truth);
        }
        self
    }

    fn begun(&self, epoch: EpochId) -> &Begun {
        &self.epochs[epoch.index()]
    }
}
