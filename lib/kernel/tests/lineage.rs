//! Epochs: which tokens are worth something after a fork, which prove what is lost, and that no
//! token is ever taken for more than it proves.

use headwater_kernel::{
    Epoch, EpochStart, Lineage, LogId, Partition, Position, Token, TokenError, TokenMismatch,
    Tokens,
};
use proptest::prelude::*;
use uuid::Uuid;

fn token(log: u128, epoch: u32, positions: &[u64]) -> Token {
    let positions: Vec<Position> = positions.iter().copied().map(Position).collect();
    Token::of_positions(LogId(Uuid::from_u128(log)), Epoch(epoch), &positions)
}

fn start(epoch: u32, positions: &[u64]) -> EpochStart {
    let positions = positions.iter().copied().map(Position).collect();
    EpochStart { epoch: Epoch(epoch), positions }
}

/// Log 1 in epoch 7. Epoch 3 began at 10 and 20, epoch 7 at 30 and 15: partition 1 lost events that
/// had been appended in epoch 3, and before it.
fn lineage() -> Lineage {
    let starts = vec![start(7, &[30, 15]), start(1, &[0, 0]), start(3, &[10, 20])];
    Lineage::new(LogId(Uuid::from_u128(1)), Epoch(7), starts)
}

fn tokens(all: &[Token]) -> Tokens {
    let texts: Vec<String> = all.iter().map(Token::encode).collect();
    let texts = texts.iter().map(String::as_str);
    Tokens::decode_all(texts).expect("of one log").expect("at least one")
}

#[test]
fn a_token_counts_up_to_every_fork_since() {
    use TokenMismatch::{Foreign, Later, Lost};
    let now = |positions: &[u64]| Ok(token(1, 7, positions));
    let table: [(Vec<Token>, Result<Token, TokenMismatch>); 19] = [
        (vec![token(1, 7, &[99, 99])], now(&[99, 99])),
        (vec![token(1, 7, &[])], now(&[])),
        // Of epoch 3: up to where epoch 7 began.
        (vec![token(1, 3, &[30, 15])], now(&[30, 15])),
        (vec![token(1, 3, &[31, 15])], Err(Lost)),
        (vec![token(1, 3, &[30, 16])], Err(Lost)),
        // Of epoch 1: up to where both began.
        (vec![token(1, 1, &[10, 15])], now(&[10, 15])),
        (vec![token(1, 1, &[11, 15])], Err(Lost)),
        (vec![token(1, 1, &[10, 16])], Err(Lost)),
        (vec![token(1, 1, &[])], now(&[])),
        // A partition that this history never had.
        (vec![token(1, 3, &[1, 1, 1])], Err(Lost)),
        // Another copy of the log began this epoch.
        (vec![token(1, 5, &[1])], Err(Lost)),
        (vec![token(1, 2, &[])], Err(Lost)),
        (vec![token(1, 8, &[1])], Err(Later)),
        (vec![token(2, 7, &[1])], Err(Foreign)),
        (vec![token(2, 3, &[1])], Err(Foreign)),
        // Several epochs in one request.
        (vec![token(1, 3, &[28, 2]), token(1, 7, &[29, 1]), token(1, 1, &[3, 9])], now(&[29, 9])),
        (vec![token(1, 7, &[1]), token(1, 3, &[5]), token(1, 3, &[31])], Err(Lost)),
        (vec![token(1, 7, &[1]), token(1, 8, &[1])], Err(Later)),
        (vec![token(1, 3, &[4]), token(1, 1, &[9])], now(&[9])),
    ];
    for (sent, expected) in table {
        assert_eq!(lineage().settle(&tokens(&sent)), expected, "{sent:?}");
    }
}

#[test]
fn what_is_lost_is_left_out_where_nothing_can_be_refused_any_more() {
    let table = [
        (vec![token(1, 7, &[99, 99])], token(1, 7, &[99, 99])),
        (vec![token(1, 3, &[31, 14])], token(1, 7, &[30, 14])),
        (vec![token(1, 1, &[11, 99]), token(1, 3, &[12])], token(1, 7, &[12, 15])),
        (vec![token(1, 5, &[3])], token(1, 7, &[])),
        (vec![token(2, 7, &[3])], token(1, 7, &[])),
    ];
    for (sent, left) in table {
        assert_eq!(lineage().salvage(&tokens(&sent)), left, "{sent:?}");
    }
}

#[test]
fn an_earlier_epoch_knows_nothing_of_later_forks() {
    let then = lineage().until(Epoch(3)).expect("it was in that epoch");
    assert_eq!((then.epoch(), then.starts().len()), (Epoch(3), 2));
    let sent = tokens(&[token(1, 1, &[10, 20])]);
    assert_eq!(then.settle(&sent), Ok(token(1, 3, &[10, 20])));
    assert_eq!(then.settle(&tokens(&[token(1, 7, &[])])), Err(TokenMismatch::Later));
    assert_eq!(lineage().until(Epoch(5)), None);
}

#[test]
fn the_tokens_of_a_request_are_merged_within_their_epochs() {
    let text = |log, epoch, positions: &[u64]| token(log, epoch, positions).encode();
    let (one, two) = (text(1, 1, &[5, 2]), text(1, 1, &[3, 0, 9]));
    let (one, two) = (one.as_str(), two.as_str());
    let joined = format!("{one}, {two},");
    let both = Some(Tokens::from(token(1, 1, &[5, 2, 9])));
    let malformed = Err(TokenError::Malformed);
    type Merged = Result<Option<Tokens>, TokenError>;
    let table: [(&[&str], Merged); 8] = [
        (&[], Ok(None)),
        (&["", " , "], Ok(None)),
        (&[one, two], Ok(both.clone())),
        (&[two, "", one], Ok(both.clone())),
        (&[&joined], Ok(both)),
        (&[one, "nonsense"], malformed),
        (&[one; 17], Err(TokenError::TooMany)),
        (&[one, &text(2, 1, &[1])], Err(TokenError::Foreign)),
    ];
    for (texts, expected) in table {
        assert_eq!(Tokens::decode_all(texts.iter().copied()), expected, "{texts:?}");
    }
    // In whatever order they come.
    let all = [token(1, 1, &[5]), token(1, 9, &[1]), token(1, 4, &[2]), token(1, 9, &[0, 3])];
    let rising = tokens(&all);
    let falling: Vec<Token> = all.iter().rev().cloned().collect();
    assert_eq!(rising, tokens(&falling));
    assert_eq!((rising.latest(), rising.only()), (&token(1, 9, &[1, 3]), None));
}

proptest! {
    /// A history is made at random: in each epoch it grows, and at each fork it loses some of its
    /// end. A token is accepted exactly if all that it proves is still there.
    #[test]
    fn a_token_is_accepted_exactly_if_nothing_of_it_was_lost(
        steps in prop::collection::vec((0u64..50, 0u64..50), 1..6),
        of in any::<prop::sample::Index>(),
        part in 0u64..=50,
    ) {
        let (mut head, mut starts) = (0u64, Vec::new());
        // The lowest end since each epoch: what is left of its history.
        let mut ends: Vec<(u64, u64)> = Vec::new();
        for (number, (grown, lost)) in steps.iter().enumerate() {
            starts.push(start(number as u32 + 1, &[head]));
            head += grown;
            ends.push((head, u64::MAX));
            let is_last = number + 1 == steps.len();
            head -= if is_last { 0 } else { (*lost).min(head) };
            if !is_last {
                ends.iter_mut().for_each(|(_, left)| *left = head.min(*left));
            }
        }
        let epoch = steps.len() as u32;
        let lineage = Lineage::new(LogId(Uuid::from_u128(1)), Epoch(epoch), starts);
        let chosen = of.index(ends.len());
        let (end, left) = ends[chosen];
        let position = end.min(part);
        let sent = Tokens::from(token(1, chosen as u32 + 1, &[position]));
        let settled = lineage.settle(&sent);
        prop_assert_eq!(settled.is_ok(), position <= left);
        if let Ok(settled) = settled {
            prop_assert_eq!(settled.position(Partition(0)), Position(position));
            prop_assert_eq!(settled, lineage.salvage(&sent));
        }
    }
}
