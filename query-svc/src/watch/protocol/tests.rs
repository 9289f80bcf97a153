//! The protocol as a table, and by random schedules against a model of what is true.

mod model;
mod schedules;

use headwater_kernel::{Epoch, Freshness, LogId, NodeRole, Position};
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::seen::{Checkpoint, NodeState};

/// A state with this epoch, number of events and revision.
fn mark(epoch: u32, applied: u64, revision: i64) -> Arc<Mark> {
    mark_of(epoch, &[applied], revision)
}

fn mark_of(epoch: u32, positions: &[u64], revision: i64) -> Arc<Mark> {
    let positions = positions.iter().map(|position| Position(*position)).collect();
    let freshness = Freshness { positions, as_of: OffsetDateTime::UNIX_EPOCH };
    let checkpoint = Checkpoint::new(LogId(Uuid::nil()), Epoch(epoch), freshness);
    let checkpoint = Arc::new(Checkpoint { revision, ..checkpoint });
    Arc::new(Mark::of(&NodeState { role: NodeRole::Replica, checkpoint }))
}

fn place(applied: i64, revision: i64, key: &str) -> Place {
    Place { at: Point { applied, revision }, key: key.to_owned() }
}

/// What happens to a watch.
enum Input {
    Begun { at: Arc<Mark>, begun: Arc<Mark> },
    Located { at: Arc<Mark>, kept: bool, covered: (i64, i64) },
    Page { at: Arc<Mark>, begun: Arc<Mark>, kept: bool, next: Option<Place> },
    Handed { at: Arc<Mark>, next: Option<Place> },
    Time { whole: Arc<Mark> },
    Missed,
}

/// What it does then: what it tells, if anything, or that it reads again.
#[derive(Debug, PartialEq)]
enum Output {
    Tells { after: Place, reached: Place },
    Nothing,
    Again,
}

impl Input {
    fn put_into(self, protocol: &mut Protocol) -> Output {
        let step = match self {
            Self::Begun { at, begun } => protocol.begun(&at, &begun),
            Self::Located { at, kept, covered: (applied, revision) } => {
                let covered = Point { applied, revision };
                protocol.located(PlaceFound { at: &at, kept, covered })
            }
            Self::Page { at, begun, kept, next } => {
                protocol.page(PageRead { at: &at, begun: &begun, kept, next })
            }
            Self::Handed { at, next } => {
                protocol.handed(&at, next.as_ref()).map_or(Step::GoOn, Step::Tell)
            }
            Self::Time { whole } => protocol.time_passed(&whole).map_or(Step::GoOn, Step::Tell),
            Self::Missed => {
                protocol.missed();
                Step::GoOn
            }
        };
        match step {
            Step::Tell(Tell { after, reached, .. }) => Output::Tells { after, reached },
            Step::GoOn => Output::Nothing,
            Step::Again => Output::Again,
        }
    }
}

fn tells(after: Place, reached: Place) -> Output {
    Output::Tells { after, reached }
}

/// Feeds the inputs to a watch that follows the hub from the whole state (epoch 1, 10 events,
/// revision 1).
fn check(case: &str, inputs: Vec<(Input, Output, State)>) {
    let mut protocol = Protocol::beginning();
    let whole = mark(1, 10, 1);
    let begun = Input::Begun { at: Arc::clone(&whole), begun: whole };
    assert!(matches!(begun.put_into(&mut protocol), Output::Tells { .. }));
    for (number, (input, output, state)) in inputs.into_iter().enumerate() {
        assert_eq!(input.put_into(&mut protocol), output, "{case}, input {number}");
        assert_eq!(*protocol.state(), state, "{case}, input {number}");
    }
}

#[test]
fn a_state_to_begin_with_shows_all_that_was_handed_out() {
    for (at, begun, expected) in [
        ((1, 10, 0), (1, 10, 0), true),
        ((1, 9, 0), (1, 10, 0), false),
        ((1, 10, 0), (1, 10, 1), false),
        ((1, 12, 0), (2, 5, 1), false),
        ((2, 5, 1), (1, 12, 0), true),
    ] {
        let [at, begun] =
            [at, begun].map(|(epoch, applied, revision)| mark(epoch, applied, revision));
        let step = Protocol::beginning().begun(&at, &begun);
        assert_eq!(matches!(step, Step::Tell(_)), expected, "{at:?} {begun:?}");
    }
}

#[test]
fn what_is_handed_out_is_told_once_and_in_order() {
    let following = |at| State::Following(at);
    let from = || place(10, 2, "");
    let part = || place(12, 1, "k");
    let handed = |at, next| Input::Handed { at, next };
    check(
        "in order",
        vec![
            (handed(mark(1, 10, 1), None), Output::Nothing, following(from())),
            (handed(mark(1, 9, 1), None), Output::Nothing, following(from())),
            (handed(mark(1, 15, 1), Some(part())), tells(from(), part()), following(part())),
            // The hub begins anew after a page of a state, and hands the same out again.
            (handed(mark(1, 15, 1), Some(part())), Output::Nothing, following(part())),
            (
                handed(mark(1, 15, 1), None),
                tells(part(), place(15, 2, "")),
                following(place(15, 2, "")),
            ),
            // Rows change, and no event was applied.
            (
                handed(mark(1, 15, 2), None),
                tells(place(15, 2, ""), place(15, 3, "")),
                following(place(15, 3, "")),
            ),
            (
                Input::Time { whole: mark(1, 17, 2) },
                tells(place(15, 3, ""), place(17, 3, "")),
                following(place(17, 3, "")),
            ),
            // The hub has read less for as long: it is not waited for.
            (
                Input::Time { whole: mark(1, 16, 2) },
                Output::Nothing,
                State::Reading(place(17, 3, "")),
            ),
        ],
    );
}

#[test]
fn who_missed_something_reads_on_from_where_he_is() {
    let from = || place(10, 2, "");
    let part = || place(12, 1, "k");
    let reading = |at| State::Reading(at);
    let page = |at, begun, next| Input::Page { at, begun, kept: true, next };
    check(
        "missed",
        vec![
            (Input::Missed, Output::Nothing, reading(from())),
            // The hub's next update is not for somebody who has a gap before it.
            (Input::Handed { at: mark(1, 20, 1), next: None }, Output::Nothing, reading(from())),
            // A node that shows less than was told, or than the hub has handed out.
            (page(mark(1, 9, 1), mark(1, 5, 1), None), Output::Again, reading(from())),
            (page(mark(1, 10, 0), mark(1, 5, 0), None), Output::Again, reading(from())),
            (page(mark(1, 13, 1), mark(1, 14, 1), None), Output::Again, reading(from())),
            (page(mark(1, 14, 1), mark(1, 14, 2), None), Output::Again, reading(from())),
            (
                page(mark(1, 14, 1), mark(1, 14, 1), Some(part())),
                tells(from(), part()),
                reading(part()),
            ),
            // The next page is not of an older state than this one.
            (page(mark(1, 13, 1), mark(1, 10, 1), None), Output::Again, reading(part())),
            (
                page(mark(1, 16, 1), mark(1, 14, 1), None),
                tells(part(), place(16, 2, "")),
                State::Following(place(16, 2, "")),
            ),
        ],
    );
}

#[test]
fn changes_that_are_not_kept_end_it() {
    let page = |kept| Input::Page { at: mark(1, 90, 1), begun: mark(1, 90, 1), kept, next: None };
    let from = place(10, 2, "");
    check(
        "a stalled watcher",
        vec![
            (Input::Missed, Output::Nothing, State::Reading(from)),
            (page(false), Output::Nothing, State::Expired),
            (page(true), Output::Again, State::Expired),
            (Input::Handed { at: mark(1, 91, 1), next: None }, Output::Nothing, State::Expired),
        ],
    );
}

#[test]
fn in_another_history_the_place_is_looked_for_by_the_token() {
    let from = || place(10, 2, "");
    let page = |at, next| Input::Page { at, begun: mark(2, 3, 0), kept: true, next };
    let handed = |at, next| Input::Handed { at, next };
    let located = |at, covered| Input::Located { at, kept: true, covered };
    check(
        "after a whole state",
        vec![
            (handed(mark(2, 12, 0), None), Output::Nothing, State::Reading(from())),
            (page(mark(2, 12, 0), None), Output::Nothing, State::Locating),
            // A node that is still in the old one.
            (located(mark(1, 10, 1), (10, 1)), Output::Again, State::Locating),
            (located(mark(2, 12, 0), (9, 0)), Output::Nothing, State::Reading(place(9, 1, ""))),
            (
                page(mark(2, 13, 0), None),
                tells(place(9, 1, ""), place(13, 1, "")),
                State::Following(place(13, 1, "")),
            ),
        ],
    );
    check(
        "views that were made anew in the same epoch",
        vec![
            (handed(mark(1, 12, 0), None), Output::Nothing, State::Reading(from())),
            (
                Input::Page { at: mark(1, 12, 0), begun: mark(1, 12, 0), kept: true, next: None },
                Output::Nothing,
                State::Locating,
            ),
        ],
    );
    check(
        "within a state",
        vec![
            (
                handed(mark(1, 15, 1), Some(place(12, 1, "k"))),
                tells(from(), place(12, 1, "k")),
                State::Following(place(12, 1, "k")),
            ),
            (Input::Missed, Output::Nothing, State::Reading(place(12, 1, "k"))),
            (page(mark(2, 16, 0), None), Output::Nothing, State::Expired),
        ],
    );
}

#[test]
fn a_resumed_watch_begins_where_its_client_is() {
    let token = mark(1, 10, 0).token();
    let resumed = |told| Protocol::resuming(Resume { tokens: token.clone().into(), told });
    let whole = Told::Whole(Some(2));
    let part = Told::Partly { place: place(8, 1, "k"), revision: 1 };
    let expired = || State::Expired;
    let reading = |applied, revision, key| State::Reading(place(applied, revision, key));
    for (told, at, kept, expected) in [
        (Told::Whole(None), (1, 10, 0), true, reading(7, 1, "")),
        (Told::Whole(None), (2, 12, 0), true, reading(7, 1, "")),
        (Told::Whole(None), (1, 12, 0), false, expired()),
        (whole.clone(), (1, 10, 2), true, reading(7, 1, "")),
        // A replica does not have the revision yet that the client has seen.
        (whole, (1, 10, 1), true, State::Locating),
        (part.clone(), (1, 12, 1), true, reading(8, 1, "k")),
        (part.clone(), (1, 10, 0), true, State::Locating),
        (part.clone(), (1, 12, 1), false, expired()),
        (part, (2, 12, 1), true, expired()),
    ] {
        let case = format!("{told:?} {at:?}");
        let mut protocol = resumed(told);
        let at = mark(at.0, at.1, at.2);
        protocol.located(PlaceFound { at: &at, kept, covered: Point { applied: 7, revision: 0 } });
        assert_eq!(*protocol.state(), expected, "{case}");
    }
}
