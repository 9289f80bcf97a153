//! The epoch protocol as a model, whose reachable states are all looked at: append, promotion,
//! epochs, tokens, caches, snapshots, unknown outcomes, and the projector's following. A test of
//! the code sees the interleavings that happen to happen; this sees all, up to a bound.
//!
//! **Modelled** are two servers of the write database and two copies of command-svc (world.rs). A
//! standby has whatever beginning of its primary's history; up to three promotions, also of both
//! servers from one ancestor and on one timeline; a replaced primary lives on, and programs that
//! have seen no newer timeline may use it, or leave it and come back. Epochs draw numbers: every
//! order of them is tried. Programs load early and use it late, cache, give up appends that are
//! carried out all the same, look for them, and write snapshots long after. The projector commits
//! what it read before it moved on. A state is the list of the commands it was folded from.
//!
//! **Real code** reads the tokens: `Lineage` and `Tokens` of this crate. The rest is written down
//! again, each rule beside the file that it is from. Each rule can be replaced by a mistake
//! (rules.rs), which is then found (mistakes.rs): what is not found without a rule is not proven
//! with it.
//!
//! **Properties** (properties.rs, progress.rs): a command is committed on top of what it was
//! decided on; an acknowledged one is at its position in every history that its epoch is part of,
//! up to the fork; a token is accepted exactly where all that it proves is, be it issued or not,
//! and a read that it asks for shows that; a trusted snapshot is the beginning of its stream; the
//! views are the log's beginning in their epoch; no history has a command twice; whoever is left
//! alone gets on.
//!
//! **Not modelled**: several partitions (tokens and epochs of each are compared for themselves),
//! batches, claims and guards, replicas and failover of the read side, restores without a
//! promotion (`headwater start-epoch`), more than one orphaned append or waiting snapshot a
//! program, clocks.

mod append;
mod epochs;
mod history;
mod programs;
mod progress;
mod projector;
mod properties;
mod rules;
mod search;
mod servers;
mod step;
mod symmetry;
mod world;

mod mistakes;

use std::collections::HashSet;

use rules::{Bounds, Rules};
use search::{Searched, search};
use step::steps;
use world::World;

/// Checks that no property is violated within the bounds, and that these actions were taken on the
/// way.
#[track_caller]
fn holds(bounds: Bounds, taken: &[&str]) {
    holds_by(Rules::IN_FORCE, bounds, taken);
}

#[track_caller]
fn holds_by(rules: Rules, bounds: Bounds, taken: &[&str]) {
    let searched = search(&rules, &bounds);
    println!("{searched}");
    assert!(searched.counterexample.is_none(), "{bounds:?}");
    let Searched { taken: found, .. } = &searched;
    for action in taken {
        assert!(found.contains_key(action), "never: {action}");
    }
}

/// Bounds with one stream.
const fn of_one_stream(commands: u8, promotions: u8) -> Bounds {
    Bounds { streams: 1, ..Bounds::of(commands, promotions) }
}

#[test]
fn commands_are_decided_on_the_history_that_they_are_committed_into() {
    holds(Bounds::of(4, 3), &["decided on cache", "conflict", "new epoch", "outdated", "copied"]);
}

#[test]
fn what_was_loaded_early_is_trusted_only_in_its_epoch() {
    let bounds = Bounds { late_loads: true, long_loads: true, ..of_one_stream(3, 3) };
    holds(bounds, &["loaded early", "decided on early load", "outdated"]);
}

#[test]
fn steps_of_one_load_are_of_one_epoch() {
    let bounds = Bounds { late_loads: true, long_loads: true, ..of_one_stream(4, 2) };
    holds(bounds, &["load ended", "decided on early load"]);
}

#[test]
fn trusted_snapshots_are_of_their_streams_history() {
    let bounds = Bounds { snapshots: true, ..of_one_stream(3, 3) };
    holds(bounds, &["snapshot saved", "decided on snapshot"]);
}

#[test]
fn commands_of_unknown_outcome_are_committed_once() {
    let bounds = Bounds { given_up: 2, ..of_one_stream(2, 3) };
    holds(
        bounds,
        &["committed late", "refused late", "found", "not found", "replayed", "sent again"],
    );
}

#[test]
fn commands_without_keys_are_committed_once_while_one_server_is_promoted() {
    let bounds = Bounds { given_up: 2, keys: false, ..Bounds::of(2, 1) };
    holds(bounds, &["committed late", "refused late", "found", "not found"]);
}

#[test]
fn commands_without_keys_may_be_decided_again_where_they_were_sent() {
    let rules = Rules { keyless_again_only_where_sent: true, ..Rules::IN_FORCE };
    let bounds = Bounds { given_up: 2, keys: false, ..of_one_stream(2, 3) };
    holds_by(rules, bounds, &["committed late", "refused late", "found", "not found"]);
}

#[test]
fn views_are_of_the_history_that_their_checkpoint_names() {
    let bounds = Bounds { projector: true, ..of_one_stream(3, 3) };
    holds(bounds, &["adopted", "projected", "projection overtaken", "projection lost"]);
}

#[test]
fn programs_that_are_left_alone_get_their_commands_through() {
    let bounds = Bounds { given_up: 1, progress: true, ..of_one_stream(2, 3) };
    holds(bounds, &["new epoch", "outdated", "found"]);
}

#[test]
fn views_may_follow_to_whatever_epoch_has_their_digests() {
    let rules = Rules { projector_compares_numbers: false, ..Rules::IN_FORCE };
    let bounds = Bounds { projector: true, progress: true, ..of_one_stream(2, 3) };
    holds_by(rules, bounds, &["adopted", "projected", "projection overtaken"]);
}

#[test]
fn all_of_it_together_holds() {
    let bounds = Bounds { given_up: 1, snapshots: true, projector: true, ..of_one_stream(2, 2) };
    holds(bounds, &["committed late", "decided on snapshot", "adopted", "projection overtaken"]);
}

/// States that can be reached, each named anew.
fn reachable(bounds: &Bounds, named: impl Fn(&World) -> World) -> HashSet<World> {
    let start = named(&World::start());
    let mut found = HashSet::from([start]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        let next = steps(&world, &Rules::IN_FORCE, bounds).into_iter();
        let next = next.map(|step| named(&step.next.expect("no violation")));
        open.extend(next.filter(|next| found.insert(*next)));
    }
    found
}

#[test]
fn states_that_are_taken_for_one_have_the_same_future() {
    let bounds = Bounds { given_up: 1, snapshots: true, projector: true, ..of_one_stream(1, 2) };
    let all: HashSet<World> = reachable(&bounds, |world| *world);
    let one_of_each = reachable(&bounds, World::canonical);
    println!("{} states, {} of them told apart", all.len(), one_of_each.len());
    assert!(one_of_each.len() < all.len());
    let named: HashSet<World> = all.iter().map(World::canonical).collect();
    assert_eq!(named.symmetric_difference(&one_of_each).count(), 0);
}
