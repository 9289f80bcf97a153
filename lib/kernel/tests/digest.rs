//! The digest chain: frozen values (stored logs depend on them), and what it distinguishes.

use headwater_kernel::digest::Contents;
use headwater_kernel::{Digest, StreamId, StreamVersion};
use uuid::Uuid;

const BASE: Contents<'static> = Contents {
    stream: StreamId(Uuid::from_u128(1)),
    version: StreamVersion(1),
    type_name: "a.v1.B",
    schema_version: 1,
    payload: b"cd",
    command_id: Uuid::from_u128(2),
    caller: None,
    traceparent: None,
};

#[test]
fn digests_never_change() {
    let contents = Digest::of_contents(&BASE);
    assert_eq!(contents.to_string(), CONTENTS);
    let head = Digest::EMPTY.chain(1_700_000_000_000_000, [contents, contents]);
    assert_eq!(head.to_string(), HEAD);
}
const CONTENTS: &str = "bbaef75820428be8";
const HEAD: &str = "7e23bac714f52c56";

#[test]
fn every_part_counts() {
    let others = [
        Contents { stream: StreamId(Uuid::from_u128(9)), ..BASE },
        Contents { version: StreamVersion(2), ..BASE },
        Contents { type_name: "a.v1.Bc", payload: b"d", ..BASE },
        Contents { schema_version: 2, ..BASE },
        Contents { payload: b"ce", ..BASE },
        Contents { command_id: Uuid::from_u128(9), ..BASE },
        Contents { caller: Some("x"), ..BASE },
        Contents { traceparent: Some("x"), ..BASE },
    ];
    let mut seen = vec![Digest::of_contents(&BASE)];
    for other in others {
        let digest = Digest::of_contents(&other);
        assert!(!seen.contains(&digest), "{other:?}");
        seen.push(digest);
    }
}

#[test]
fn order_time_and_history_count() {
    let a = Digest::of_contents(&BASE);
    let b = Digest::of_contents(&Contents { payload: b"x", ..BASE });
    let chain = |from: Digest, at, events: &[Digest]| from.chain(at, events.iter().copied());
    let base = chain(Digest::EMPTY, 1, &[a, b]);
    assert_ne!(base, chain(Digest::EMPTY, 1, &[b, a]));
    assert_ne!(base, chain(Digest::EMPTY, 2, &[a, b]));
    assert_ne!(base, chain(base, 1, &[a, b]));
    assert_ne!(base, chain(chain(Digest::EMPTY, 1, &[a]), 1, &[b]));
}
