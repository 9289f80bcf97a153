//! Mistakes in place of the rules: each is found, so the model can tell them from the rules.

use crate::of_one_stream;
use crate::properties::Violation;
use crate::rules::{Bounds, Numbers, Rules, SnapshotTrust, Trust};
use crate::search::search;

/// Checks that the shortest way to a violation is found, and is one of this kind.
#[track_caller]
fn finds(rules: Rules, bounds: Bounds, is_expected: impl Fn(Violation) -> bool) {
    let searched = search(&rules, &bounds);
    println!("{searched}");
    let found = searched.counterexample.expect("a counterexample");
    assert!(is_expected(found.violation), "{}", found.violation);
}

fn decides_on_lost_history(violation: Violation) -> bool {
    matches!(violation, Violation::DecidedOnLostHistory { .. })
}

#[test]
fn cached_states_of_epochs_with_higher_numbers_are_of_lost_history() {
    let rules = Rules { trust: Trust::NotEarlier, ..Rules::IN_FORCE };
    finds(rules, Bounds::of(4, 3), decides_on_lost_history);
}

#[test]
fn loaded_states_of_epochs_with_higher_numbers_are_of_lost_history() {
    let rules = Rules { trust: Trust::NotEarlier, ..Rules::IN_FORCE };
    let bounds = Bounds { late_loads: true, ..of_one_stream(3, 3) };
    finds(rules, bounds, decides_on_lost_history);
}

#[test]
fn loads_over_two_epochs_mix_histories() {
    let rules = Rules { loads_compare_epochs: false, ..Rules::IN_FORCE };
    let bounds = Bounds { late_loads: true, long_loads: true, ..of_one_stream(4, 2) };
    finds(rules, bounds, decides_on_lost_history);
}

#[test]
fn snapshots_known_by_their_place_are_of_lost_history() {
    let rules = Rules { snapshots: SnapshotTrust::Place, ..Rules::IN_FORCE };
    let bounds = Bounds { snapshots: true, ..of_one_stream(3, 3) };
    finds(rules, bounds, |found| matches!(found, Violation::SnapshotOfLostHistory { .. }));
}

#[test]
fn tokens_of_counted_epochs_are_misread() {
    let rules = Rules { numbers: Numbers::Counted, ..Rules::IN_FORCE };
    finds(rules, Bounds::of(2, 3), |found| matches!(found, Violation::TokenMisread { .. }));
}

#[test]
fn appends_that_look_at_no_timeline_give_a_position_twice() {
    let rules = Rules { append_compares_timelines: false, ..Rules::IN_FORCE };
    finds(rules, Bounds::of(2, 3), |found| matches!(found, Violation::PositionGivenTwice { .. }));
}

#[test]
fn commands_that_are_looked_for_too_early_are_committed_twice() {
    let rules = Rules { resolve_fences: false, ..Rules::IN_FORCE };
    let bounds = Bounds { given_up: 2, keys: false, ..Bounds::of(2, 1) };
    finds(rules, bounds, |found| matches!(found, Violation::AppliedTwice(_)));
}

/// No mistake but a limit, and the reason why commands should have keys: an append is looked for on
/// one of two servers that were promoted beside each other, and carried out on the other one, to
/// which the program then goes.
#[test]
fn commands_without_keys_are_committed_twice_if_both_servers_are_promoted() {
    let bounds = Bounds { given_up: 1, keys: false, ..of_one_stream(1, 2) };
    finds(Rules::IN_FORCE, bounds, |found| matches!(found, Violation::AppliedTwice(_)));
}

#[test]
fn programs_that_trust_nothing_and_ask_nobody_are_stuck() {
    let rules = Rules { outdated_follows: false, ..Rules::IN_FORCE };
    let bounds = Bounds { progress: true, ..of_one_stream(1, 1) };
    finds(rules, bounds, |found| matches!(found, Violation::Stuck(_)));
}

#[test]
fn epochs_that_are_adopted_by_length_mix_histories() {
    let rules = Rules { projector_compares_digests: false, ..Rules::IN_FORCE };
    let bounds = Bounds { projector: true, ..of_one_stream(2, 3) };
    finds(rules, bounds, |found| matches!(found, Violation::ViewOfLostHistory { .. }));
}

#[test]
fn batches_that_were_read_before_an_epoch_was_adopted_mix_histories() {
    let rules = Rules { adoption_raises_revision: false, ..Rules::IN_FORCE };
    let bounds = Bounds { projector: true, ..of_one_stream(2, 3) };
    finds(rules, bounds, |found| matches!(found, Violation::ViewOfLostHistory { .. }));
}

/// No mistake either, but a limit: of two servers that were promoted from one ancestor the second
/// one may have drawn the lower number, and the projector needs an operator though nothing is lost.
#[test]
fn projectors_that_compare_numbers_need_an_operator() {
    let bounds = Bounds { projector: true, progress: true, ..of_one_stream(1, 2) };
    finds(Rules::IN_FORCE, bounds, |found| matches!(found, Violation::ViewsStuck));
}
