//! Replies: as fresh as asked for, as fresh as they say, and never behind what the client knew.

use std::collections::BTreeMap;

use super::super::log::Log;
use super::super::record::{
    Answer, Operation, Outcome, Positions, Query, Requirement, Shown, What,
};
use super::super::violation::{Kind, Violation};
use super::order::Order;
use super::stored::Index;

/// Knowledge of a client.
#[derive(Default)]
struct Session {
    written: Positions,
    seen: Positions,
}

type Broken = (Kind, &'static str, Option<u16>);

/// Every reply against the log, and against all that came before it.
pub fn check(
    log: &Log,
    index: &Index<'_>,
    order: &Order,
    operations: &[Operation],
) -> Vec<Violation> {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.began);
    let mut sessions: BTreeMap<usize, Session> = BTreeMap::new();
    let mut found = Vec::new();
    for operation in sorted {
        let session = sessions.entry(operation.client).or_default();
        match &operation.what {
            What::Command(command) => {
                let told = matches!(command.outcome, Outcome::Acknowledged(_));
                if let Some(event) = index.of(command).first().filter(|_| told) {
                    session.written.raise(event.partition, event.position);
                }
            }
            What::Query(query) => {
                let broken = match &query.answer {
                    Answer::Shown(shown) => {
                        let mut broken = claimed(log, (index, order), operation, shown);
                        broken.extend(required(order, operation, query, shown));
                        broken.extend(session.shows(query, shown));
                        broken
                    }
                    Answer::Failed(_) => Vec::new(),
                    Answer::Broken(_) => vec![(Kind::Broken, "no fault explains it", None)],
                };
                found.extend(broken.into_iter().map(|(kind, what, partition)| {
                    let place = partition.map_or(String::new(), |p| format!(" in partition {p}"));
                    Violation::new(kind, format!("{what}{place}: {operation:?}"))
                }));
            }
        }
    }
    found
}

/// Checks the claims that a reply makes of itself.
fn claimed(
    log: &Log,
    (index, order): (&Index<'_>, &Order),
    operation: &Operation,
    shown: &Shown,
) -> Vec<Broken> {
    let claimed = &shown.proof.positions;
    let mut broken = Vec::new();
    if shown.proof.log != log.name {
        broken.push((Kind::OtherLog, "the reply is of another log", None));
    }
    if let Some(partition) = order.heads.behind(claimed) {
        broken.push((Kind::Future, "the log ends before it", Some(partition)));
    }
    let places = || (0..).zip(&claimed.0).map(|(partition, position)| (partition, *position));
    if let Some((partition, _)) = places().find(|(p, at)| index.tears(*p, *at)) {
        broken.push((Kind::Torn, "it ends between the halves of a command", Some(partition)));
    }
    let mut early = places().filter(|(p, at)| !order.is_possible(*p, *at, operation.ended));
    if let Some((partition, _)) = early.next() {
        broken.push((Kind::Future, "it shows what nobody had sent", Some(partition)));
    }
    if let Some(partition) = claimed.behind(&order.known(shown.as_of)) {
        broken.push((Kind::AsOfUntrue, "less than was known at that time", Some(partition)));
    }
    broken
}

/// Checks the freshness that was asked for.
fn required(order: &Order, operation: &Operation, query: &Query, shown: &Shown) -> Option<Broken> {
    let claimed = &shown.proof.positions;
    let (kind, least) = match &query.requirement {
        Requirement::Any => return None,
        Requirement::AtLeast(proof) => (Kind::OlderThanAsked, proof.positions.clone()),
        Requirement::MaxStaleness(limit) => {
            (Kind::TooStale, order.known(operation.began.before(*limit)))
        }
        Requirement::Strong => (Kind::NotStrong, order.known(operation.began)),
    };
    let partition = claimed.behind(&least)?;
    Some((kind, "less than it had to show", Some(partition)))
}

impl Session {
    /// Checks that the reply shows what the client knew, if it asked for that; from now on the
    /// client knows what it shows.
    fn shows(&mut self, query: &Query, shown: &Shown) -> Vec<Broken> {
        let claimed = &shown.proof.positions;
        let onward = match &query.requirement {
            Requirement::AtLeast(_) | Requirement::Strong => true,
            Requirement::Any | Requirement::MaxStaleness(_) => false,
        };
        let mut broken = Vec::new();
        if let Some(partition) = claimed.behind(&self.written).filter(|_| onward) {
            broken.push((Kind::OwnWriteMissing, "its own write is missing", Some(partition)));
        }
        if let Some(partition) = claimed.behind(&self.seen).filter(|_| onward) {
            broken.push((Kind::WentBack, "it saw more before", Some(partition)));
        }
        self.seen.join(claimed);
        broken
    }
}
