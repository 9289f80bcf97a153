//! The protocol of a watch: what it has told, and how it goes on from there. Pure: it neither reads
//! nor waits, and is told what a read showed.
//!
//! ```text
//!  Beginning ──────────────────────────────────────────┐
//!      the state to begin with                         v
//!  Locating ─────> Reading ──── the last page ───> Following
//!      ^              │ ^                              │
//!      │              │ └──── missed something ────────┘
//!      └── history ───┘
//! ```
//! Any of them ends where changes have been missed that are not kept. Whatever the inputs are, what
//! is told is in order and of one history, and nothing is left out: a page counts only if it is of
//! a state that is not older than all that was told and handed out before.

use std::sync::Arc;

use headwater_kernel::ids::PARTITIONS_MAX;
use headwater_kernel::{Partition, Tokens};

use super::change::{Age, Mark, Point};
use super::pages::Place;
use super::resume::{Resume, Told};

/// Protocol of one watch.
#[derive(Debug)]
pub struct Protocol {
    state: State,
    /// Messages that the client has, by the last: the place in the changes is found by it.
    told: Option<Resume>,
    /// The newest state that was read or handed out: no page is of an older one.
    floor: Option<Arc<Mark>>,
}

/// Next thing that a watch does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Reads a state to begin with.
    Beginning,
    /// Finds the place of what the client has in the changes.
    Locating,
    /// Reads the changes after the place by itself.
    Reading(Place),
    /// Takes what the hub hands out after the place.
    Following(Place),
    /// Nothing: changes that it has not told are not kept any more.
    Expired,
}

/// Changes to be told: those after one place, up to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// Place up to which all was told already.
    pub after: Place,
    /// Place up to which all that has changed is told with this.
    pub reached: Place,
    /// True if that is the whole state.
    pub whole: bool,
}

/// Outcome of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something is to be told.
    Tell(Tell),
    /// Nothing is to be told: go on with the new state.
    GoOn,
    /// The node shows less than it must: read again.
    Again,
}

/// A page of changes, without them.
#[derive(Clone, Debug)]
pub struct PageRead<'a> {
    /// The state that it was read from.
    pub at: &'a Arc<Mark>,
    /// The newest state of which the hub had handed out anything when it was asked for.
    pub begun: &'a Mark,
    /// True if all changes after the place are kept.
    pub kept: bool,
    /// Place where to go on, if there may be more.
    pub next: Option<Place>,
}

/// A place as it was found.
#[derive(Clone, Copy, Debug)]
pub struct PlaceFound<'a> {
    /// The state that it was found in.
    pub at: &'a Arc<Mark>,
    /// True if all changes after what the client has are kept.
    pub kept: bool,
    /// The last commit or revision that the client's token covers.
    pub covered: Point,
}

impl Protocol {
    /// A watch that begins with a state.
    pub fn beginning() -> Self {
        Self { state: State::Beginning, told: None, floor: None }
    }

    /// A watch that goes on after what was told before.
    pub fn resuming(told: Resume) -> Self {
        Self { state: State::Locating, told: Some(told), floor: None }
    }

    /// Next thing that it does.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// State that the client has; `None` before the first message.
    pub fn told(&self) -> Option<&Resume> {
        self.told.as_ref()
    }

    /// Proof of all that every state which it reads has to show; `None` before anything was told.
    pub fn least(&self) -> Option<Tokens> {
        match &self.floor {
            Some(floor) => Some(floor.token().into()),
            None => self.told.as_ref().map(|told| told.tokens.clone()),
        }
    }

    /// Takes a state to begin with, which has to show all of which the hub had handed out anything
    /// before it was read.
    pub fn begun(&mut self, at: &Arc<Mark>, begun: &Mark) -> Step {
        if self.state != State::Beginning || at.age(begun) == Age::Older {
            return Step::Again;
        }
        Step::Tell(self.tell(at, Place::BEGINNING, None))
    }

    /// Takes the place of what the client has.
    pub fn located(&mut self, found: PlaceFound<'_>) -> Step {
        let State::Locating = self.state else { return Step::Again };
        let Some(told) = &self.told else { return Step::Again };
        if self.is_older(found.at) || lags(found.at, told) {
            return Step::Again;
        }
        self.state = match &told.told {
            _ if !found.kept => State::Expired,
            Told::Whole(_) => State::Reading(Place::after(found.covered)),
            // In a new epoch the views may have been made anew, with other places in their changes.
            Told::Partly { .. } if told.tokens.latest().epoch != found.at.epoch() => State::Expired,
            Told::Partly { place, .. } => State::Reading(place.clone()),
        };
        self.floor = Some(Arc::clone(found.at));
        Step::GoOn
    }

    /// Takes a page that was read by itself.
    pub fn page(&mut self, page: PageRead<'_>) -> Step {
        let State::Reading(place) = &self.state else { return Step::Again };
        if self.is_older(page.at) || page.at.age(page.begun) == Age::Older {
            return Step::Again;
        }
        if self.floor.as_ref().is_some_and(|floor| page.at.age(floor) == Age::OtherHistory) {
            return self.locate_again(page.at);
        }
        if !page.kept {
            self.state = State::Expired;
            return Step::GoOn;
        }
        let place = place.clone();
        Step::Tell(self.tell(page.at, place, page.next))
    }

    /// Takes what the hub has handed out of a state: all up to a place, which is the whole state
    /// without `next`. `None` if nothing of it is news.
    pub fn handed(&mut self, at: &Arc<Mark>, next: Option<&Place>) -> Option<Tell> {
        let State::Following(place) = &self.state else { return None };
        let age = self.floor.as_ref().map_or(Age::Newer, |floor| at.age(floor));
        if age == Age::OtherHistory {
            // Reading by itself finds out what that means.
            self.missed();
            return None;
        }
        let reached = next.cloned().unwrap_or_else(|| Place::after(at.point));
        if age == Age::Older || reached <= *place {
            return None;
        }
        let place = place.clone();
        let tell = Tell { after: place, whole: next.is_none(), reached: reached.clone() };
        self.remember(at, &reached, tell.whole);
        self.state = State::Following(reached);
        Some(tell)
    }

    /// Takes note that something was handed out that it has not got, or that the hub has given up:
    /// it has to read by itself from where it is.
    pub fn missed(&mut self) {
        if let State::Following(place) = &self.state {
            self.state = State::Reading(place.clone());
        }
    }

    /// Takes the newest state of which the hub has handed out everything, after all of that was
    /// taken, and nothing has happened for long: then only time has passed. `None` if there is
    /// nothing to say.
    pub fn time_passed(&mut self, whole: &Arc<Mark>) -> Option<Tell> {
        let State::Following(place) = &self.state else { return None };
        match self.floor.as_ref().map_or(Age::Newer, |floor| whole.age(floor)) {
            Age::Same | Age::Newer if *place <= Place::after(whole.point) => {
                let after = place.clone();
                Some(self.tell(whole, after, None))
            }
            Age::Same | Age::Newer => None,
            // The hub has read less than this watch, and for long: it looks for itself.
            Age::Older | Age::OtherHistory => {
                self.missed();
                None
            }
        }
    }

    fn tell(&mut self, at: &Arc<Mark>, after: Place, next: Option<Place>) -> Tell {
        let whole = next.is_none();
        let reached = next.unwrap_or_else(|| Place::after(at.point));
        self.remember(at, &reached, whole);
        self.state = match whole {
            true => State::Following(reached.clone()),
            false => State::Reading(reached.clone()),
        };
        Tell { after, reached, whole }
    }

    fn remember(&mut self, at: &Arc<Mark>, reached: &Place, whole: bool) {
        let revision = at.point.revision;
        let told = match whole {
            true => Told::Whole(Some(revision)),
            false => Told::Partly { place: reached.clone(), revision },
        };
        self.told = Some(Resume { tokens: at.token().into(), told });
        self.floor = Some(Arc::clone(at));
    }

    fn is_older(&self, at: &Mark) -> bool {
        self.floor.as_ref().is_some_and(|floor| at.age(floor) == Age::Older)
    }

    /// The views are of another history than the place: only a state that was told as a whole can
    /// be found in it.
    fn locate_again(&mut self, at: &Arc<Mark>) -> Step {
        let whole = matches!(&self.told, Some(Resume { told: Told::Whole(_), .. }));
        self.state = if whole { State::Locating } else { State::Expired };
        self.floor = Some(Arc::clone(at));
        Step::GoOn
    }
}

/// True if the client has more of the revisions at its positions than this state shows.
fn lags(at: &Mark, told: &Resume) -> bool {
    let (Told::Whole(Some(revision)) | Told::Partly { revision, .. }) = told.told else {
        return false;
    };
    let known = Point { applied: applied(&told.tokens), revision };
    at.epoch() == told.tokens.latest().epoch && at.point < known
}

fn applied(tokens: &Tokens) -> i64 {
    let position = |partition| tokens.position(Partition(partition)).0 as i64;
    (0..PARTITIONS_MAX).map(position).sum()
}

#[cfg(test)]
mod tests;
