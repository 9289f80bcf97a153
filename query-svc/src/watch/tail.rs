//! The hub's way along the changes. Pure.

use std::sync::Arc;

use super::change::{Age, Mark};
use super::pages::Place;

/// Way from a state that was handed out as a whole to the newest one, page by page.
pub struct Tail {
    place: Place,
    floor: Arc<Mark>,
}

/// Worth of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// To be handed out: the last one of its state, or one that others follow.
    HandOut(Option<Place>),
    /// Read from a node that shows less than what was handed out.
    Older,
    /// The views are of another history: nobody goes on from where he is.
    OtherHistory,
    /// Changes after the place are not kept any more.
    Expired,
}

impl Tail {
    /// Goes on from a state that was handed out as a whole.
    pub fn after(whole: &Arc<Mark>) -> Self {
        Self { place: Place::after(whole.point), floor: Arc::clone(whole) }
    }

    /// Place where the next page begins.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The state that the next page must not be older than.
    pub fn floor(&self) -> &Arc<Mark> {
        &self.floor
    }

    /// Takes a page of this state; `next` is the place where to go on, if there may be more.
    pub fn page(&mut self, at: &Arc<Mark>, kept: bool, next: Option<Place>) -> Turn {
        match at.age(&self.floor) {
            Age::Older => return Turn::Older,
            Age::OtherHistory => return Turn::OtherHistory,
            Age::Same | Age::Newer if !kept => return Turn::Expired,
            Age::Same | Age::Newer => self.floor = Arc::clone(at),
        }
        if let Some(next) = &next {
            self.place = next.clone();
        }
        Turn::HandOut(next)
    }
}
