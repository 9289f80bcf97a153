//! Tokens: what is encoded is decoded, everything else is refused, and merging never loses a
//! position.

use headwater_kernel::{Epoch, LogId, Partition, Position, Token, TokenError};
use proptest::prelude::*;
use uuid::Uuid;

fn token(log: u128, epoch: u32, positions: &[(u16, u64)]) -> Token {
    let mut token = Token::empty(LogId(Uuid::from_u128(log)), Epoch(epoch));
    for (partition, position) in positions {
        token.raise(Partition(*partition), Position(*position));
    }
    token
}

fn positions() -> impl Strategy<Value = Vec<(u16, u64)>> {
    prop::collection::vec((0u16..64, any::<u64>()), 0..64)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(log: u128, epoch: u32, positions in positions()) {
        let token = token(log, epoch, &positions);
        let text = token.encode();
        prop_assert!(text.len() <= 2_048);
        prop_assert_eq!(Token::decode(&text), Ok(token));
    }

    #[test]
    fn damage_is_noticed(positions in positions(), at: prop::sample::Index, to: char) {
        let text = token(7, 1, &positions).encode();
        let mut damaged: Vec<char> = text.chars().collect();
        let at = at.index(damaged.len());
        prop_assume!(damaged[at] != to);
        damaged[at] = to;
        let damaged: String = damaged.into_iter().collect();
        prop_assert_eq!(Token::decode(&damaged), Err(TokenError::Malformed));
    }

    #[test]
    fn any_text_is_refused_without_panic(text: String) {
        prop_assert_eq!(Token::decode(&text), Err(TokenError::Malformed));
    }

    #[test]
    fn a_merged_token_is_covered_only_by_what_covers_both(
        a in positions(), b in positions(), shown in prop::collection::vec(any::<u64>(), 64),
    ) {
        let (a, b) = (token(1, 1, &a), token(1, 1, &b));
        let mut both = a.clone();
        both.merge(&b).expect("the same log");
        let shown: Vec<Position> = shown.into_iter().map(Position).collect();
        let covered = a.is_covered_by(&shown) && b.is_covered_by(&shown);
        prop_assert_eq!(both.is_covered_by(&shown), covered);
    }
}

#[test]
fn tokens_of_different_logs_or_epochs_do_not_mix() {
    let mut one = token(1, 1, &[(0, 5)]);
    assert_eq!(one.merge(&token(2, 1, &[(0, 9)])), Err(TokenError::Foreign));
    assert_eq!(one.merge(&token(1, 2, &[(0, 9)])), Err(TokenError::Foreign));
    assert_eq!(one, token(1, 1, &[(0, 5)]));
}

#[test]
fn a_reader_that_does_not_know_the_partition_does_not_cover_it() {
    let wanted = token(1, 1, &[(3, 1)]);
    assert!(!wanted.is_covered_by(&[Position(9), Position(9)]));
    assert!(token(1, 1, &[]).is_covered_by(&[]));
}
