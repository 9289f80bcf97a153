//! "Given these events, when this command, then this": the shape of every decision's test.

use std::fmt::Debug;

use headwater_domain_model::reasons::Reason;
use headwater_kernel::{Aggregate, Context, Decision, StreamId};
use time::OffsetDateTime;
use uuid::Uuid;

/// The aggregate that decides in these tests.
pub const ID: Uuid = Uuid::from_u128(0xa);

/// A store, and another one.
pub const STORE: Uuid = Uuid::from_u128(0x5);
pub const OTHER_STORE: Uuid = Uuid::from_u128(0x6);

/// Decides the command on the fold of the events.
#[track_caller]
pub fn check<A>(given: &[A::Event], when: A::Command, then: Result<Decision<A::Event>, Reason>)
where
    A: Aggregate,
    A::Event: Debug + PartialEq,
{
    let decided = fold::<A>(given).decide(&when, &context());
    let decided = decided.map(without_messages).map_err(|rejection| {
        assert!(!rejection.message.is_empty());
        (rejection.reason, rejection.kind)
    });
    let then = then.map(without_messages).map_err(|reason| (reason.code, reason.kind));
    assert_eq!(decided, then);
}

/// The state after the events.
pub fn fold<A: Aggregate>(events: &[A::Event]) -> A {
    events.iter().fold(A::default(), |mut state, event| {
        state.evolve(event);
        state
    })
}

pub fn context() -> Context {
    Context {
        stream: StreamId(ID),
        command_id: Uuid::from_u128(0xc),
        caller: None,
        now: OffsetDateTime::UNIX_EPOCH,
    }
}

/// A rejection to compare claims and guards by: their sentences may be worded as one likes.
fn without_messages<E>(mut decision: Decision<E>) -> Decision<E> {
    use headwater_kernel::aggregate::Claim;
    for claim in &mut decision.claims {
        if let Claim::Take { taken, .. } = claim {
            taken.message.clear();
        }
    }
    for guard in &mut decision.guards {
        guard.otherwise.message.clear();
    }
    decision
}
