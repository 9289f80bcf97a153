use std::sync::Arc;

use headwater_kernel::{Access, Consistency, Epoch, Freshness, LogId, NodeRole, Position, Token};
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;

const NOW: i64 = 1_000;

/// A node in one line: role, usable, log, epoch, position, as-of second.
#[derive(Clone, Debug)]
struct N(char, bool, u128, u32, u64, i64);

/// A replica, or with `P` the primary, of log 1 and epoch 1.
fn n(role: char, position: u64, as_of: i64) -> N {
    N(role, true, 1, 1, position, as_of)
}

fn down(node: N) -> N {
    N(node.0, false, node.2, node.3, node.4, node.5)
}

fn of_log(node: N, log: u128, epoch: u32) -> N {
    N(node.0, node.1, log, epoch, node.4, node.5)
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
}

fn seen(node: &N) -> NodeSeen {
    let N(role, usable, log, epoch, position, as_of) = *node;
    let freshness = Freshness { positions: vec![Position(position)], as_of: at(as_of) };
    let checkpoint = Checkpoint::new(LogId(Uuid::from_u128(log)), Epoch(epoch), freshness);
    let role = if role == 'P' { NodeRole::Primary } else { NodeRole::Replica };
    // A node of which nothing was ever seen is written as log 0.
    let node_state = (log != 0).then(|| NodeState { role, checkpoint: Arc::new(checkpoint) });
    NodeSeen { usable, node_state }
}

fn token(log: u128, epoch: u32, position: u64) -> Consistency {
    let log = LogId(Uuid::from_u128(log));
    Consistency::AtLeast(Token::of_positions(log, Epoch(epoch), &[Position(position)]))
}

fn earlier(log: u128, epoch: u32, position: u64) -> Choice {
    match token(log, epoch, position) {
        Consistency::AtLeast(token) => Earlier(token),
        other => panic!("{other:?} is no token"),
    }
}

fn later(log: u128, epoch: u32, position: u64) -> Choice {
    match earlier(log, epoch, position) {
        Earlier(token) => Later(token),
        other => other,
    }
}

fn within(seconds: u64) -> Consistency {
    Consistency::MaxStaleness(std::time::Duration::from_secs(seconds))
}

fn wish(consistency: &Consistency) -> PickRequest<'_> {
    PickRequest {
        access: Access::ReadOnly,
        consistency,
        avoided: NodeSet::default(),
        primary_too: false,
        primary_fallback: PrimaryFallback::Allowed,
        in_tokens_epoch: false,
        now: at(NOW),
        random_seed: 0,
    }
}

/// Nodes that differ by what is in flight.
fn costs(loads: &[u32]) -> Vec<Cost> {
    loads.iter().map(|load| Cost { in_flight: *load, ..Cost::default() }).collect()
}

fn choose(
    nodes: &[N],
    loads: &[u32],
    consistency: &Consistency,
    avoided: &[usize],
    late: bool,
) -> Choice {
    let nodes: Vec<_> = nodes.iter().map(seen).collect();
    let mut set = NodeSet::default();
    avoided.iter().for_each(|node| set.insert(*node));
    let wish = PickRequest { avoided: set, primary_too: late, ..wish(consistency) };
    pick(&nodes, &costs(loads), &wish)
}

#[track_caller]
fn check(nodes: &[N], consistency: &Consistency, early: Choice, late: Choice) {
    let loads = vec![0; nodes.len()];
    assert_eq!(choose(nodes, &loads, consistency, &[], false), early, "before patience is over");
    assert_eq!(choose(nodes, &loads, consistency, &[], true), late, "after patience is over");
}

use Choice::{Earlier, Fallback, Foreign, Later, Read, Refused, Wait};

#[test]
fn any_goes_to_a_replica() {
    let any = Consistency::Any;
    check(&[n('P', 9, NOW), n('R', 5, NOW)], &any, Read(1), Read(1));
    check(&[n('R', 5, NOW), n('P', 9, NOW)], &any, Read(0), Read(0));
}

#[test]
fn read_write_goes_to_the_primary_or_nowhere() {
    let write = |nodes: &[N], consistency: &Consistency, avoided: &[usize]| {
        let seen: Vec<_> = nodes.iter().map(seen).collect();
        let mut set = NodeSet::default();
        avoided.iter().for_each(|node| set.insert(*node));
        let wish = PickRequest {
            access: Access::ReadWrite,
            avoided: set,
            primary_fallback: PrimaryFallback::Refused,
            ..wish(consistency)
        };
        pick(&seen, &costs(&vec![0; nodes.len()]), &wish)
    };
    let any = Consistency::Any;
    let both = [n('R', 9, NOW), n('P', 9, NOW)];
    assert_eq!(write(&both, &any, &[]), Read(1), "not within the quota: it is no fallback");
    assert_eq!(write(&both, &token(1, 1, 9), &[]), Read(1));
    assert_eq!(write(&both, &token(1, 1, 10), &[]), Wait);
    assert_eq!(write(&both, &any, &[1]), Wait);
    assert_eq!(write(&[n('R', 9, NOW), down(n('P', 9, NOW))], &any, &[]), Wait);
    assert_eq!(write(&[n('R', 9, NOW)], &any, &[]), Wait);
    assert_eq!(write(&both, &token(1, 2, 1), &[]), later(1, 2, 1));
    assert_eq!(write(&both, &token(2, 1, 1), &[]), Foreign);
}

#[test]
fn any_goes_to_the_primary_if_no_replica_gives_hope() {
    let any = Consistency::Any;
    check(&[n('P', 9, NOW)], &any, Read(0), Read(0));
    check(&[n('P', 9, NOW), down(n('R', 9, NOW))], &any, Fallback(0), Fallback(0));
    // Paused for eleven seconds.
    check(&[n('P', 9, NOW), n('R', 5, NOW - 11)], &any, Fallback(0), Fallback(0));
}

#[test]
fn any_takes_a_lagging_replica_before_nothing() {
    let nodes = [down(n('P', 9, NOW)), n('R', 5, NOW - 60)];
    check(&nodes, &Consistency::Any, Read(1), Read(1));
}

#[test]
fn all_equally_old_is_no_lag() {
    let nodes = [n('P', 9, NOW - 900), n('R', 9, NOW - 900)];
    check(&nodes, &Consistency::Any, Read(1), Read(1));
}

#[test]
fn a_token_goes_to_a_replica_that_shows_it_or_waits_for_one() {
    let nodes = [n('P', 9, NOW), n('R', 5, NOW - 1)];
    check(&nodes, &token(1, 1, 5), Read(1), Read(1));
    check(&nodes, &token(1, 1, 6), Wait, Fallback(0));
    check(&nodes, &token(1, 1, 9), Wait, Fallback(0));
    check(&nodes, &token(1, 1, 10), Wait, Wait);
    // Both replicas are as good; the one that shows it is taken.
    check(&[n('R', 5, NOW), n('R', 6, NOW)], &token(1, 1, 6), Read(1), Read(1));
}

#[test]
fn a_token_is_not_waited_for_where_no_replica_gives_hope() {
    let lagging = n('R', 5, NOW - 11);
    let now = || Fallback(0);
    check(&[n('P', 9, NOW), lagging.clone()], &token(1, 1, 9), now(), now());
    check(&[n('P', 9, NOW), down(n('R', 9, NOW))], &token(1, 1, 9), now(), now());
    // But it is fresh enough for an old token.
    check(&[n('P', 9, NOW), lagging], &token(1, 1, 5), Read(1), Read(1));
}

#[test]
fn staleness_is_judged_by_the_time_of_the_state() {
    let nodes = [n('P', 9, NOW - 1), n('R', 5, NOW - 3)];
    check(&nodes, &within(3), Read(1), Read(1));
    check(&nodes, &within(2), Wait, Fallback(0));
    check(&[n('P', 9, NOW - 5), n('R', 5, NOW - 5)], &within(2), Wait, Wait);
}

#[test]
fn nothing_seen_is_waited_for() {
    let unseen = N('R', true, 0, 0, 0, 0);
    check(&[], &Consistency::Any, Wait, Wait);
    let alone = std::slice::from_ref(&unseen);
    check(alone, &Consistency::Any, Wait, Wait);
    check(alone, &token(1, 1, 1), Wait, Wait);
    check(&[unseen, n('P', 9, NOW)], &Consistency::Any, Fallback(1), Fallback(1));
    check(&[down(n('R', 9, NOW))], &Consistency::Any, Wait, Wait);
}

#[test]
fn tokens_of_other_logs_are_foreign() {
    let nodes = [of_log(n('P', 9, NOW), 1, 3), of_log(n('R', 9, NOW), 1, 3)];
    check(&nodes, &token(2, 3, 1), Foreign, Foreign);
    // How much of it is in this history, the fork points say.
    check(&nodes, &token(1, 2, 1), earlier(1, 2, 1), earlier(1, 2, 1));
    check(&nodes, &token(1, 3, 1), Read(1), Read(1));
    // A new epoch that is not projected yet, or of another copy of the log: the log knows.
    check(&nodes, &token(1, 4, 1), later(1, 4, 1), later(1, 4, 1));
    let gone: Vec<_> = nodes.iter().map(seen).collect();
    let of_later = token(1, 4, 1);
    let confirmed = PickRequest { in_tokens_epoch: true, ..wish(&of_later) };
    assert_eq!(pick(&gone, &[], &confirmed), Wait);
    // What the log says of one epoch does not help a token of another one.
    let of_earlier = token(1, 2, 1);
    let confirmed = PickRequest { in_tokens_epoch: true, ..wish(&of_earlier) };
    assert_eq!(pick(&gone, &[], &confirmed), earlier(1, 2, 1));
    // Also while nothing can be read: what the nodes showed last still tells.
    let gone: Vec<_> = nodes.iter().cloned().map(down).collect();
    check(&gone, &token(2, 3, 1), Foreign, Foreign);
}

#[test]
fn a_node_of_another_log_is_left_out() {
    let stray = of_log(n('R', 900, NOW - 5), 7, 1);
    let old = of_log(n('R', 900, NOW - 5), 1, 1);
    for other in [stray, old] {
        let nodes = [of_log(n('P', 9, NOW), 1, 2), other];
        check(&nodes, &Consistency::Any, Fallback(0), Fallback(0));
        check(&nodes, &token(1, 2, 9), Fallback(0), Fallback(0));
        check(&nodes, &token(1, 1, 9), earlier(1, 1, 9), earlier(1, 1, 9));
    }
}

/// The views are made anew in epoch 2, and show times long past; a replica that died in epoch 1, or
/// was left behind there, has shown a later one.
#[test]
fn what_a_node_showed_before_it_died_hides_nobody() {
    let anew = || of_log(n('P', 3, NOW - 5_000), 1, 2);
    for old in [down(n('R', 9, NOW)), n('R', 9, NOW)] {
        let nodes = [anew(), old];
        check(&nodes, &Consistency::Any, Fallback(0), Fallback(0));
        check(&nodes, &token(1, 2, 3), Fallback(0), Fallback(0));
        check(&nodes, &token(1, 2, 4), Wait, Wait);
        check(&nodes, &token(1, 1, 9), earlier(1, 1, 9), earlier(1, 1, 9));
    }
    // In the same epoch, too: who can be read from counts.
    let nodes = [n('R', 3, NOW - 5_000), down(n('P', 9, NOW))];
    check(&nodes, &Consistency::Any, Read(0), Read(0));
    // With nobody to read from, what was seen last tells which tokens are ours.
    let nodes = [down(anew()), down(n('R', 9, NOW))];
    check(&nodes, &token(1, 2, 3), Wait, Wait);
    check(&nodes, &token(2, 2, 3), Foreign, Foreign);
    // A stray is not followed because our own nodes are gone.
    let nodes = [of_log(n('R', 900, NOW - 5), 7, 9), down(n('P', 9, NOW))];
    check(&nodes, &Consistency::Any, Wait, Wait);
}

/// Two nodes say that they take writes: the one that was replaced stands still.
#[test]
fn a_primary_that_was_replaced_is_left_like_any_node_that_lags() {
    let replaced = n('P', 5, NOW - 11);
    for random_seed in 0..20 {
        let chosen = |nodes: &[N]| {
            let nodes: Vec<_> = nodes.iter().map(seen).collect();
            pick(&nodes, &[], &PickRequest { random_seed, ..wish(&Consistency::Any) })
        };
        assert_eq!(chosen(&[replaced.clone(), n('P', 9, NOW)]), Read(1));
        assert_eq!(chosen(&[replaced.clone(), n('P', 9, NOW), n('R', 9, NOW)]), Read(2));
        assert_eq!(chosen(&[replaced.clone(), n('P', 9, NOW), down(n('R', 9, NOW))]), Fallback(1));
        assert_eq!(
            chosen(&[replaced.clone(), down(n('P', 9, NOW))]),
            Read(0),
            "it is all there is"
        );
    }
}

#[test]
fn the_freshest_is_what_is_left_for_those_who_waited_in_vain() {
    let freshest = |nodes: &[N], avoided: &[usize]| {
        let mut set = NodeSet::default();
        avoided.iter().for_each(|node| set.insert(*node));
        super::freshest(&nodes.iter().map(seen).collect::<Vec<_>>(), set)
    };
    let nodes = [n('R', 5, NOW - 9), n('P', 7, NOW - 2), n('R', 6, NOW - 60)];
    assert_eq!(freshest(&nodes, &[]), Some(1));
    assert_eq!(freshest(&nodes, &[1]), Some(0));
    assert_eq!(freshest(&nodes, &[0, 1]), Some(2));
    assert_eq!(freshest(&nodes, &[0, 1, 2]), None);
    // Of two that show the same, the one that has no writes to carry.
    assert_eq!(freshest(&[n('P', 7, NOW), n('R', 7, NOW), n('P', 7, NOW)], &[]), Some(1));
    assert_eq!(freshest(&[down(n('P', 7, NOW)), n('R', 5, NOW - 9)], &[]), Some(1));
    assert_eq!(freshest(&[of_log(n('R', 9, NOW - 1), 2, 1), n('P', 7, NOW)], &[]), Some(1));
    assert_eq!(freshest(&[], &[]), None);
}

#[test]
fn load_decides_among_equals_and_then_chance() {
    let nodes = [n('R', 5, NOW), n('R', 5, NOW), n('P', 5, NOW)];
    let any = Consistency::Any;
    assert_eq!(choose(&nodes, &[3, 2, 0], &any, &[], false), Read(1));
    assert_eq!(choose(&nodes, &[2, 3, 0], &any, &[], true), Read(0));
    let seen: Vec<_> = nodes.iter().map(seen).collect();
    let turns = |random_seed| {
        let wish = PickRequest { random_seed, ..wish(&any) };
        pick(&seen, &[], &wish)
    };
    let chosen: Vec<_> = (0..30).map(turns).collect();
    assert!(chosen.contains(&Read(0)) && chosen.contains(&Read(1)), "{chosen:?}");
    assert!(!chosen.contains(&Read(2)), "{chosen:?}");
}

#[test]
fn neither_cost_nor_recovery_is_worth_more_than_the_rank() {
    let any = Consistency::Any;
    let nodes: Vec<_> = [n('R', 5, NOW), n('P', 5, NOW)].iter().map(seen).collect();
    let dear = Cost { in_flight: 900, latency_us: 5e5, penalty_us: 2e6, recovered: 0.1 };
    for random_seed in 0..100 {
        let wish = PickRequest { random_seed, ..wish(&any) };
        assert_eq!(pick(&nodes, &[dear, Cost::default()], &wish), Read(0));
    }
    // A new node that alone is fresh enough is read from at once.
    let nodes: Vec<_> = [n('R', 5, NOW), n('R', 4, NOW), n('P', 5, NOW)].iter().map(seen).collect();
    let token = token(1, 1, 5);
    for random_seed in 0..100 {
        let wish = PickRequest { random_seed, ..wish(&token) };
        assert_eq!(pick(&nodes, &[dear, Cost::default(), Cost::default()], &wish), Read(0));
    }
}

#[test]
fn a_node_that_just_failed_is_avoided_while_there_is_another() {
    let any = Consistency::Any;
    let nodes = [n('R', 5, NOW), n('R', 5, NOW), n('P', 5, NOW)];
    assert_eq!(choose(&nodes, &[0, 9, 0], &any, &[0], false), Read(1));
    assert_eq!(choose(&nodes, &[0, 0, 0], &any, &[0, 1], false), Fallback(2));
    assert_eq!(choose(&nodes, &[0, 1, 1], &any, &[0, 1, 2], false), Read(0));
    // A replica that failed is no reason to wait for it.
    let nodes = [n('R', 5, NOW), n('P', 9, NOW)];
    assert_eq!(choose(&nodes, &[0, 0], &token(1, 1, 9), &[0], false), Fallback(1));
}

/// The choice while a permit for the primary is valid, valid later, or refused.
#[track_caller]
fn check_permits(nodes: &[N], consistency: &Consistency, expected: [Choice; 3]) {
    let seen: Vec<_> = nodes.iter().map(seen).collect();
    let permits = [PrimaryFallback::Allowed, PrimaryFallback::Later, PrimaryFallback::Refused];
    for (primary_fallback, expected) in permits.into_iter().zip(expected) {
        let wish = PickRequest { primary_fallback, primary_too: true, ..wish(consistency) };
        assert_eq!(pick(&seen, &[], &wish), expected, "{primary_fallback:?}");
    }
}

#[test]
fn past_its_quota_the_primary_is_left_alone() {
    let any = Consistency::Any;
    let (primary, replica) = (n('P', 9, NOW), n('R', 9, NOW));
    let (behind, lagging) = (n('R', 5, NOW - 1), n('R', 5, NOW - 60));
    let gone = down(replica.clone());
    let unseen = N('R', true, 0, 0, 0, 0);
    let two = |other: &N| [primary.clone(), other.clone()];
    // Its quota is nobody's business while a replica answers.
    check_permits(&two(&replica), &token(1, 1, 9), [const { Read(1) }; 3]);
    // Behind: it may come in time.
    check_permits(&two(&behind), &token(1, 1, 9), [Fallback(0), Wait, Wait]);
    // Nothing to wait for.
    for other in [&gone, &lagging, &unseen] {
        check_permits(&two(other), &token(1, 1, 9), [Fallback(0), Wait, Refused]);
        check_permits(&two(other), &within(5), [Fallback(0), Wait, Refused]);
    }
    check_permits(&two(&gone), &any, [Fallback(0), Wait, Refused]);
    // Old is better than nothing for who has asked for nothing.
    check_permits(&two(&lagging), &any, [Fallback(0), Read(1), Read(1)]);
    // The primary would not do either: then its share is not what is missing.
    check_permits(&two(&gone), &token(1, 1, 10), [const { Wait }; 3]);
    check_permits(&two(&behind), &token(1, 1, 10), [const { Wait }; 3]);
}

#[test]
fn a_primary_without_replicas_serves_everything() {
    let primary = n('P', 9, NOW);
    let table = [
        vec![primary.clone()],
        // The old primary after a failover; two that take writes for a moment.
        vec![primary.clone(), down(n('P', 8, NOW - 60))],
        vec![primary.clone(), n('P', 8, NOW - 60)],
    ];
    for nodes in table {
        check_permits(&nodes, &Consistency::Any, [const { Read(0) }; 3]);
        check_permits(&nodes, &token(1, 1, 9), [const { Read(0) }; 3]);
        let seen: Vec<_> = nodes.iter().map(seen).collect();
        assert_eq!(fallbacks(&seen), NodeSet::default());
    }
    let nodes: Vec<_> = [n('R', 9, NOW), primary, down(n('P', 1, 1))].iter().map(seen).collect();
    assert_eq!(fallbacks(&nodes).iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_primary_is_the_freshest_that_says_so() {
    let find = |nodes: &[N]| primary(&nodes.iter().map(seen).collect::<Vec<_>>());
    assert_eq!(find(&[n('R', 9, NOW), n('P', 9, NOW)]), Some(1));
    assert_eq!(find(&[n('R', 9, NOW), down(n('P', 9, NOW))]), None);
    assert_eq!(find(&[n('P', 9, NOW - 1), n('P', 9, NOW)]), Some(1));
    assert_eq!(find(&[]), None);
}

#[test]
fn the_best_on_offer_is_the_freshest_that_can_be_read() {
    let nodes: Vec<_> =
        [n('R', 5, NOW - 2), n('R', 6, NOW - 1), down(n('P', 9, NOW))].iter().map(seen).collect();
    let best = |avoided: &[usize]| {
        let mut set = NodeSet::default();
        avoided.iter().for_each(|node| set.insert(*node));
        best_on_offer(&nodes, set)
    };
    assert_eq!(best(&[]), nodes[1].node_state.as_ref());
    assert_eq!(best(&[1]), nodes[0].node_state.as_ref());
}

fn any_node() -> impl Strategy<Value = N> {
    let role = prop_oneof![Just('P'), Just('R')];
    (role, any::<bool>(), 0..3_u128, 1..3_u32, 0..6_u64, NOW - 20..NOW).prop_map(
        |(role, usable, log, epoch, position, as_of)| N(role, usable, log, epoch, position, as_of),
    )
}

fn any_consistency() -> impl Strategy<Value = Consistency> {
    prop_oneof![
        Just(Consistency::Any),
        (1..3_u128, 1..3_u32, 0..6_u64).prop_map(|(log, epoch, at)| token(log, epoch, at)),
        (0..20_u64).prop_map(within),
    ]
}

proptest! {
    #[test]
    fn what_is_chosen_is_usable_and_was_seen_to_be_fresh_enough(
        nodes in prop::collection::vec(any_node(), 0..6),
        loads in prop::collection::vec(0..4_u32, 6),
        consistency in any_consistency(),
        avoided in prop::collection::vec(0..6_usize, 0..3),
        late: bool,
    ) {
        let choice = choose(&nodes, &loads, &consistency, &avoided, late);
        let all: Vec<_> = nodes.iter().map(seen).collect();
        let fresh = |node: &NodeSeen| node.usable && node.node_state.as_ref().is_some_and(|seen| {
            judge(&seen.checkpoint, &consistency, at(NOW)) == Verdict::Fresh
        });
        match choice {
            Read(node) | Fallback(node) => {
                let is_primary = nodes[node].0 == 'P';
                let takes_over = is_primary && has_replicas(&all);
                prop_assert_eq!(choice == Fallback(node), takes_over);
                prop_assert!(fresh(&all[node]));
                // If others would do as well, it is not the most loaded one of all.
                let replica = |index: usize| nodes[index].0 == 'R' && !avoided.contains(&index);
                if replica(node) && consistency != Consistency::Any {
                    let same_log = |other: usize| {
                        (nodes[other].2, nodes[other].3) == (nodes[node].2, nodes[node].3)
                    };
                    let is_rival = |other: &usize| {
                        *other != node && replica(*other) && fresh(&all[*other]) && same_log(*other)
                    };
                    let rivals: Vec<_> = (0..nodes.len()).filter(is_rival).collect();
                    let best = rivals.is_empty()
                        || rivals.iter().any(|rival| loads[node] <= loads[*rival]);
                    prop_assert!(best, "any of {rivals:?} is better than {node}");
                }
            }
            Earlier(_) | Foreign | Later(_) => {
                prop_assert!(matches!(consistency, Consistency::AtLeast(_)));
            }
            Wait => {}
            Refused => prop_assert!(false, "there was room"),
        }
    }

    #[test]
    fn once_patience_is_over_nothing_that_would_do_is_left_waiting(
        nodes in prop::collection::vec(any_node(), 0..6),
        consistency in any_consistency(),
        avoided in prop::collection::vec(0..6_usize, 0..3),
    ) {
        // All of one log: what is left out for showing another is told apart above.
        let nodes: Vec<_> = nodes.into_iter().map(|node| of_log(node, 1, 1)).collect();
        let choice = choose(&nodes, &[0; 6], &consistency, &avoided, true);
        let would_do = nodes.iter().map(seen).any(|node| node.usable
            && node.node_state.is_some_and(|seen| {
                judge(&seen.checkpoint, &consistency, at(NOW)) == Verdict::Fresh
            }));
        prop_assert_eq!(matches!(choice, Read(_) | Fallback(_)), would_do);
    }
}
