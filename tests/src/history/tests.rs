//! Histories written by hand: each kind of broken promise is found, and nothing else is.

mod fixture;
mod lists;
mod transfers;

use std::collections::BTreeSet;
use std::time::Duration;

use super::log::Change;
use super::record::{Answer, Ask, Moment, Outcome, Positions, Query, Requirement, Row, What};
use super::{Kind, check};
use fixture::{History, I, S, U, at_least, history, item, other_log, overview};

/// Changes the history that all cases begin with, and says what the checker must find: exactly
/// these.
struct Case {
    name: &'static str,
    change: fn(&mut History),
    found: &'static [Kind],
}

fn play(cases: &[Case]) {
    for Case { name, change, found } in cases {
        let mut history = history();
        change(&mut history);
        let violations = check(&history.log, &history.operations);
        let kinds: BTreeSet<Kind> = violations.iter().map(|violation| violation.kind).collect();
        let expected: BTreeSet<Kind> = found.iter().copied().collect();
        assert_eq!(kinds, expected, "{name}: {violations:#?}");
    }
}

#[test]
fn a_good_history_is_let_pass() {
    play(&[
        Case { name: "as it is", change: |_| {}, found: &[] },
        Case { name: "in another order", change: |h| h.operations.reverse(), found: &[] },
        Case {
            name: "a miss, before there was anything",
            change: |h| h.query(2, Requirement::Any, Ask::Item(I), &[1, 0], vec![]),
            found: &[],
        },
        Case {
            name: "the past, for one who takes it",
            change: |h| h.query(1, Requirement::Any, Ask::Item(I), &[4, 1], vec![item(10, 0, 2)]),
            found: &[],
        },
        Case {
            name: "a manager whose name is not known yet",
            change: |h| {
                let row = Row::Overview(overview(10, 0, ""));
                h.query(2, Requirement::Any, Ask::Overview(S), &[4, 0], vec![row]);
            },
            found: &[],
        },
        Case {
            name: "a manager who got another name",
            change: |h| {
                let row = Row::Overview(overview(10, 0, "ada no2"));
                h.query(2, Requirement::Any, Ask::Overview(S), &[4, 2], vec![row]);
            },
            found: &[],
        },
        Case {
            name: "a failed query",
            change: |h| h.fail(7, Answer::Failed("FRESHNESS_UNAVAILABLE".to_owned())),
            found: &[],
        },
    ]);
}

#[test]
fn a_broken_log_is_found() {
    play(&[
        Case {
            name: "a position left out",
            change: |h| h.log.events[6].position = 3,
            found: &[Kind::Gap, Kind::WrongReceipt, Kind::OwnWriteMissing],
        },
        Case {
            name: "a version left out",
            change: |h| h.log.events[6].version = 3,
            found: &[Kind::Gap, Kind::WrongReceipt],
        },
        Case {
            name: "nobody sent it",
            change: |h| h.append(U, Change::UserRenamed("eve no9".to_owned())),
            found: &[Kind::Stranger],
        },
        Case {
            name: "decided on another stock",
            change: |h| h.log.events[4].on_hand = Some(7),
            found: &[Kind::Misfit, Kind::WrongRows],
        },
        Case {
            name: "sold what was not there",
            change: |h| {
                let sale = Change::SaleRecorded { quantity: 99, amount: 1 };
                h.command(0, I, sale);
                h.log.events.last_mut().expect("a sale").on_hand = Some(-91);
                h.sort();
            },
            found: &[Kind::Misfit],
        },
    ]);
}

#[test]
fn commands_that_went_wrong_are_found() {
    let unknown = |h: &mut History| h.end(6, Outcome::Unknown("OUTCOME_UNKNOWN".to_owned()));
    play(&[
        Case {
            name: "lost",
            change: |h| drop(h.log.events.pop()),
            found: &[Kind::Lost, Kind::Future],
        },
        Case {
            name: "applied twice",
            change: |h| h.append(U, Change::UserRenamed("ada no2".to_owned())),
            found: &[Kind::Doubled],
        },
        Case { name: "of unknown outcome, applied", change: unknown, found: &[] },
        Case {
            name: "of unknown outcome, not applied",
            change: |h| {
                h.command(1, U, Change::UserRenamed("ada no3".to_owned()));
                h.log.events.pop();
                h.end(10, Outcome::Unknown("OUTCOME_UNKNOWN".to_owned()));
            },
            found: &[],
        },
        Case {
            name: "of unknown outcome, applied twice",
            change: |h| {
                h.end(6, Outcome::Unknown("OUTCOME_UNKNOWN".to_owned()));
                h.append(U, Change::UserRenamed("ada no2".to_owned()));
            },
            found: &[Kind::Doubled],
        },
        Case {
            name: "refused, and applied",
            change: |h| h.end(6, Outcome::Refused("USER_DEACTIVATED".to_owned())),
            found: &[Kind::RefusedYetApplied],
        },
        Case {
            name: "ended as nothing should",
            change: |h| h.end(6, Outcome::Broken("INTERNAL".to_owned())),
            found: &[Kind::Broken],
        },
    ]);
}

#[test]
fn receipts_that_are_wrong_are_found() {
    play(&[
        Case {
            name: "another version",
            change: |h| h.receipts(6)[0].version = 7,
            found: &[Kind::WrongReceipt],
        },
        Case {
            name: "a proof that does not cover the event",
            change: |h| h.receipts(6)[0].proof.positions = Positions(vec![5, 1]),
            found: &[Kind::WrongReceipt],
        },
        Case {
            name: "of another log",
            change: |h| h.receipts(6)[0].proof.log = other_log(),
            found: &[Kind::OtherLog],
        },
        Case {
            name: "a repetition that says so",
            change: |h| {
                let mut again = h.receipts(6)[0].clone();
                again.replayed = true;
                h.receipts(6).push(again);
            },
            found: &[],
        },
        Case {
            name: "a repetition that was applied anew",
            change: |h| {
                let again = h.receipts(6)[0].clone();
                h.receipts(6).push(again);
            },
            found: &[Kind::WrongReceipt],
        },
        Case { name: "the version it wanted", change: |h| h.expect_version(6, 1), found: &[] },
        Case {
            name: "another version than it wanted",
            change: |h| h.expect_version(6, 0),
            found: &[Kind::WrongVersion],
        },
        Case {
            name: "sent after what follows it was acknowledged",
            change: |h| h.time(3, 57..58),
            found: &[Kind::OutOfOrder],
        },
    ]);
}

#[test]
fn replies_that_claim_what_is_not_so_are_found() {
    play(&[
        Case {
            name: "of another log",
            change: |h| h.shown(7).proof.log = other_log(),
            found: &[Kind::OtherLog],
        },
        Case {
            name: "beyond the end",
            change: |h| h.shown(7).proof.positions = Positions(vec![6, 2]),
            found: &[Kind::Future],
        },
        Case { name: "before it was sent", change: |h| h.time(7, 66..68), found: &[Kind::Future] },
        Case {
            name: "as of a time at which more was known",
            change: |h| h.shown(8).as_of = Moment(70),
            found: &[Kind::AsOfUntrue],
        },
        Case {
            name: "as of a time at which no more was known",
            change: |h| h.shown(8).as_of = Moment(60),
            found: &[],
        },
        Case {
            name: "ended as nothing should",
            change: |h| h.fail(7, Answer::Broken("TOKEN_FOREIGN".to_owned())),
            found: &[Kind::Broken],
        },
    ]);
}

#[test]
fn replies_that_are_too_old_are_found() {
    // One more query, of one who wrote nothing, at the moment 110, by the rows of what it claims.
    fn ask(h: &mut History, requirement: Requirement, positions: &[u64]) {
        h.query(2, requirement, Ask::Store(U), positions, vec![]);
    }
    play(&[
        Case {
            name: "older than its token",
            change: |h| ask(h, at_least(&[5, 2]), &[5, 1]),
            found: &[Kind::OlderThanAsked],
        },
        Case {
            name: "one partition newer, one older",
            change: |h| ask(h, at_least(&[3, 2]), &[5, 1]),
            found: &[Kind::OlderThanAsked],
        },
        Case {
            name: "exactly its token",
            change: |h| ask(h, at_least(&[5, 2]), &[5, 2]),
            found: &[],
        },
        Case {
            name: "older than the staleness that was asked for",
            change: |h| {
                ask(h, Requirement::MaxStaleness(Duration::from_micros(20)), &[5, 1]);
            },
            found: &[Kind::TooStale],
        },
        Case {
            name: "as old as was asked for",
            change: |h| {
                ask(h, Requirement::MaxStaleness(Duration::from_micros(40)), &[5, 1]);
            },
            found: &[],
        },
        Case {
            name: "not strong",
            change: |h| ask(h, Requirement::Strong, &[5, 1]),
            found: &[Kind::NotStrong],
        },
        Case { name: "strong", change: |h| ask(h, Requirement::Strong, &[5, 2]), found: &[] },
        Case {
            name: "strong, while a command was under way",
            change: |h| {
                ask(h, Requirement::Strong, &[5, 1]);
                h.time(10, 73..74);
            },
            found: &[],
        },
    ]);
}

#[test]
fn sessions_that_go_back_are_found() {
    fn ask(h: &mut History, client: usize, requirement: Requirement, positions: &[u64]) {
        h.query(client, requirement, Ask::Store(U), positions, vec![]);
    }
    play(&[
        Case {
            name: "its own write is missing, though its token did not say so",
            change: |h| ask(h, 0, at_least(&[0, 0]), &[3, 2]),
            found: &[Kind::OwnWriteMissing, Kind::WentBack],
        },
        Case {
            name: "its own write is missing, and it had seen nothing",
            change: |h| {
                h.command(3, U, Change::UserRenamed("ada no3".to_owned()));
                ask(h, 3, at_least(&[0, 0]), &[5, 2]);
            },
            found: &[Kind::OwnWriteMissing],
        },
        Case {
            name: "less than the reply before",
            change: |h| {
                ask(h, 2, Requirement::Any, &[5, 2]);
                ask(h, 2, at_least(&[0, 0]), &[5, 1]);
            },
            found: &[Kind::WentBack],
        },
        Case {
            name: "less than the reply before, for one who takes it",
            change: |h| {
                ask(h, 2, Requirement::Any, &[5, 2]);
                ask(h, 2, Requirement::Any, &[5, 1]);
            },
            found: &[],
        },
        Case {
            name: "less than somebody else saw",
            change: |h| {
                ask(h, 2, at_least(&[5, 2]), &[5, 2]);
                ask(h, 3, at_least(&[4, 1]), &[4, 1]);
            },
            found: &[],
        },
    ]);
}

#[test]
fn rows_that_are_wrong_are_found() {
    play(&[
        Case {
            name: "another number",
            change: |h| h.shown(7).rows = vec![item(9, 2, 3)],
            found: &[Kind::WrongRows],
        },
        Case {
            name: "rows of the past under the positions of the present",
            change: |h| h.shown(7).rows = vec![item(10, 0, 2)],
            found: &[Kind::WrongRows],
        },
        Case {
            name: "rows of the present under the positions of the past",
            change: |h| h.shown(8).rows = vec![Row::Overview(overview(8, 2, "ada no1"))],
            found: &[Kind::WrongRows],
        },
        Case {
            name: "the name of the manager from another moment",
            change: |h| h.shown(8).rows = vec![Row::Overview(overview(10, 0, "ada no2"))],
            found: &[Kind::WrongRows],
        },
        Case {
            name: "a miss of what was there",
            change: |h| h.shown(7).rows.clear(),
            found: &[Kind::WrongRows],
        },
        Case {
            name: "a list that lacks a row",
            change: |h| h.shown(9).rows.clear(),
            found: &[Kind::WrongRows],
        },
        Case {
            name: "a last page that promises more",
            change: |h| h.shown(9).page.as_mut().expect("a page").more = true,
            found: &[Kind::WrongRows],
        },
    ]);
}

/// Replies that a checker would miss that looked at rows alone, or at positions alone: of the past
/// in every respect, with the rows that they had then. This is what clients get of a replica that
/// lags when nobody holds its position against their token.
#[test]
fn a_whole_answer_of_the_past_is_found() {
    let mut history = history();
    for operation in &mut history.operations {
        let What::Query(Query { answer: Answer::Shown(shown), .. }) = &mut operation.what else {
            continue;
        };
        shown.proof.positions = Positions(vec![1, 0]);
        shown.rows.clear();
    }
    // The overview of a store that was just opened is no miss.
    history.operations.remove(8);
    let found = check(&history.log, &history.operations);
    let kinds: BTreeSet<Kind> = found.iter().map(|violation| violation.kind).collect();
    assert_eq!(kinds, BTreeSet::from([Kind::OlderThanAsked, Kind::OwnWriteMissing]));
}
