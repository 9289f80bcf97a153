//! The scenarios: when which fault comes, for how long, and who notices nothing.

use std::time::Duration;

use headwater_tests::harness::Line;

use super::fault::{Fault, LEADER, Times};
use Fault::{
    CutReplication, ExhaustConnections, FillDisk, Kill, KillAll, KillInAppends, KillInBatches,
    Link, Pause, PauseReplay, Poison, SlowFlush, Stop, VerifyViews,
};
use Kind::{Any, Own, Writes};

/// A timeline of faults over the load, and what must hold after it, beside what must always hold:
/// nothing lost, doubled or too old, everybody answered again, the log and the views whole.
pub struct Scenario {
    pub name: &'static str,
    pub faults: &'static [Step],
    /// The operations that are answered all the while.
    pub go_on: &'static [Kind],
}

/// A fault, from so many milliseconds on, for so long.
#[derive(Clone, Copy)]
pub struct Step(pub u64, pub Lasts, pub Fault);

/// Milliseconds that a fault lasts in `make test`, and in `make soak`.
#[derive(Clone, Copy)]
pub struct Lasts(pub u64, pub u64);

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands.
    Writes,
    /// Reads with the token of what was written before.
    Own,
    /// Reads of whatever there is.
    Any,
}

impl Lasts {
    pub fn now(self, is_long: bool) -> Duration {
        Duration::from_millis(if is_long { self.1 } else { self.0 })
    }
}

const ALL: &[Kind] = &[Writes, Own, Any];
const QUERIES: &[Kind] = &[Own, Any];
const NOBODY: &[Kind] = &[];
/// What is done once, and needs as long as it needs.
const ONCE: Lasts = Lasts(0, 0);
const BRIEF: Lasts = Lasts(1_500, 15_000);
const LONGER: Lasts = Lasts(2_500, 30_000);
const MINUTE: Lasts = Lasts(10_000, 60_000);
/// Two ways of it, at each call.
const DELAYED: Line = Line::Delayed(Duration::from_millis(50));
/// Fewer bytes a second than the projector has for the views.
const THROTTLED: Line = Line::Throttled(20_000);

const fn scenario(name: &'static str, go_on: &'static [Kind], faults: &'static [Step]) -> Scenario {
    Scenario { name, faults, go_on }
}

pub const SCENARIOS: &[Scenario] = &[
    scenario("nothing happens", ALL, &[]),
    // The projector.
    scenario(
        "the leading of two projectors is frozen, and woken",
        &[Writes, Any],
        &[Step(0, LONGER, Pause(LEADER))],
    ),
    scenario("the leading projector is killed", &[Writes, Any], &[Step(0, BRIEF, Kill(LEADER))]),
    scenario(
        "both projectors are stopped",
        &[Writes, Any],
        &[Step(0, BRIEF, Stop("projector")), Step(0, BRIEF, Stop("projector-2"))],
    ),
    scenario(
        "a projector is killed in the middle of a batch, again and again",
        &[Writes, Any],
        &[Step(0, ONCE, KillInBatches(Times(20, 50)))],
    ),
    scenario(
        "poison events in a stream of a thousand",
        ALL,
        &[Step(0, LONGER, Poison(Times(100, 1_000)))],
    ),
    scenario(
        "the projector's link to the read database is slow",
        &[Writes, Any],
        &[Step(0, LONGER, Link("projector", "*", THROTTLED))],
    ),
    scenario(
        "views are verified while the leading projector dies",
        &[Writes, Any],
        &[Step(0, ONCE, VerifyViews), Step(100, BRIEF, Kill(LEADER))],
    ),
    // Read nodes.
    scenario("a replica is frozen for long", ALL, &[Step(0, MINUTE, Pause("replica-1"))]),
    scenario("a replica is killed", ALL, &[Step(0, BRIEF, Kill("replica-1"))]),
    scenario(
        "all replicas are gone",
        &[Writes],
        &[Step(0, LONGER, Kill("replica-1")), Step(0, LONGER, Kill("replica-2"))],
    ),
    scenario(
        "all replicas are frozen",
        &[Writes],
        &[Step(0, LONGER, Pause("replica-1")), Step(0, LONGER, Pause("replica-2"))],
    ),
    scenario(
        "replicas replay nothing",
        ALL,
        &[Step(0, LONGER, PauseReplay("replica-1")), Step(0, LONGER, PauseReplay("replica-2"))],
    ),
    scenario(
        "a replica receives nothing, and the other one hangs",
        &[Writes],
        &[Step(0, LONGER, CutReplication("replica-1")), Step(500, BRIEF, Pause("replica-2"))],
    ),
    scenario(
        "the link to a replica is half open",
        ALL,
        &[Step(0, LONGER, Link("query-svc", "replica-1", Line::HalfOpen))],
    ),
    scenario(
        "the links to all read nodes are slow",
        ALL,
        &[
            Step(0, LONGER, Link("query-svc", "read", DELAYED)),
            Step(0, LONGER, Link("query-svc", "replica", DELAYED)),
        ],
    ),
    scenario(
        "a replica's connections are taken",
        ALL,
        &[Step(0, LONGER, ExhaustConnections("replica-1"))],
    ),
    scenario("the read primary is killed", &[Writes, Any], &[Step(0, LONGER, Kill("read"))]),
    scenario("the read primary is frozen", &[Writes, Any], &[Step(0, LONGER, Pause("read"))]),
    scenario(
        "the read primary's connections are taken",
        &[Writes, Any],
        &[Step(0, LONGER, ExhaustConnections("read"))],
    ),
    scenario(
        "the read primary's disk is full",
        &[Writes, Any],
        &[Step(0, LONGER, FillDisk("read"))],
    ),
    scenario("the read primary's disk is slow", ALL, &[Step(0, LONGER, SlowFlush("read"))]),
    scenario(
        "all read nodes are gone",
        &[Writes],
        &[
            Step(0, MINUTE, Kill("read")),
            Step(0, MINUTE, Kill("replica-1")),
            Step(0, MINUTE, Kill("replica-2")),
        ],
    ),
    // The write database.
    scenario("the write database is killed", &[Any], &[Step(0, BRIEF, Kill("write"))]),
    scenario("the write database is stopped", &[Any], &[Step(0, BRIEF, Stop("write"))]),
    scenario("the write database is frozen", &[Any], &[Step(0, LONGER, Pause("write"))]),
    scenario(
        "nobody reaches the write database",
        &[Any],
        &[Step(0, LONGER, Link("*", "write", Line::Cut))],
    ),
    scenario(
        "command-svc's link to the write database is half open",
        QUERIES,
        &[Step(0, LONGER, Link("command-svc", "write", Line::HalfOpen))],
    ),
    scenario(
        "command-svc's link to the write database is slow",
        ALL,
        &[Step(0, LONGER, Link("command-svc", "write", DELAYED))],
    ),
    scenario("the write database's disk is full", &[Any], &[Step(0, LONGER, FillDisk("write"))]),
    scenario("the write database's disk is slow", ALL, &[Step(0, LONGER, SlowFlush("write"))]),
    scenario(
        "the write database's connections are taken",
        &[Any],
        &[Step(0, LONGER, ExhaustConnections("write"))],
    ),
    // Programs, and links between them.
    scenario(
        "command-svc is killed in the middle of an append, again and again",
        QUERIES,
        &[Step(0, ONCE, KillInAppends(Times(3, 50)))],
    ),
    scenario("command-svc is stopped", QUERIES, &[Step(0, BRIEF, Stop("command-svc"))]),
    scenario("query-svc is frozen", &[Writes], &[Step(0, LONGER, Pause("query-svc"))]),
    scenario("query-svc is killed", &[Writes], &[Step(0, BRIEF, Kill("query-svc"))]),
    scenario("the router is killed", NOBODY, &[Step(0, BRIEF, Kill("router"))]),
    scenario(
        "the router's link to query-svc is half open",
        &[Writes],
        &[Step(0, LONGER, Link("router", "query-svc", Line::HalfOpen))],
    ),
    scenario(
        "the router's link to command-svc is cut",
        QUERIES,
        &[Step(0, BRIEF, Link("router", "command-svc", Line::Cut))],
    ),
    // Several at once.
    scenario(
        "both primaries are killed",
        &[Any],
        &[Step(0, BRIEF, Kill("write")), Step(0, BRIEF, Kill("read"))],
    ),
    scenario(
        "a replica hangs while the read primary is full and the projector dies",
        &[Writes],
        &[
            Step(0, LONGER, Pause("replica-2")),
            Step(0, LONGER, FillDisk("read")),
            Step(500, BRIEF, Kill(LEADER)),
        ],
    ),
    scenario("the power fails", NOBODY, &[Step(0, ONCE, KillAll)]),
];
