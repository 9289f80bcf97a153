//! Commands: none lost, none applied twice, each where its receipt says and in the order of time.

use super::super::log::{Event, Log};
use super::super::record::{Command, Operation, Outcome, Receipt, What};
use super::super::violation::{Kind, Violation};
use super::order::Order;
use super::stored::Index;

/// Every command against the log.
pub fn check(
    log: &Log,
    index: &Index<'_>,
    order: &Order,
    operations: &[Operation],
) -> Vec<Violation> {
    let mut found = Vec::new();
    for operation in operations {
        let What::Command(command) = &operation.what else { continue };
        let events = index.of(command);
        let mut broken = applied(command, events);
        broken.extend(torn(command, events, index));
        if let (Some(event), Outcome::Acknowledged(receipts)) = (events.first(), &command.outcome) {
            broken.extend(receipts.iter().filter_map(|receipt| wrong(log, event, receipt)));
            broken.extend(replays(receipts));
        }
        if let Some(event) = events.first() {
            broken.extend(misplaced(command, event));
            let known = order.known(operation.began).at(event.partition);
            if event.position <= known {
                let text = format!("{} although {known} was known before", event.position);
                broken.push((Kind::OutOfOrder, text));
            }
        }
        let told = |(kind, text)| Violation::new(kind, format!("{text}: {operation:?}"));
        found.extend(broken.into_iter().map(told));
    }
    found
}

type Broken = (Kind, String);

fn applied(command: &Command, events: &[&Event]) -> Vec<Broken> {
    let count = events.len();
    let mut broken = Vec::new();
    if count > 1 {
        broken.push((Kind::Doubled, format!("{count} times in the log")));
    }
    match &command.outcome {
        Outcome::Acknowledged(_) if count == 0 => {
            broken.push((Kind::Lost, "not in the log".to_owned()));
        }
        Outcome::Refused(_) if count > 0 => {
            broken.push((Kind::RefusedYetApplied, "in the log".to_owned()));
        }
        Outcome::Broken(answer) => broken.push((Kind::Broken, answer.clone())),
        Outcome::Acknowledged(_) | Outcome::Refused(_) | Outcome::Unknown(_) => {}
    }
    broken
}

/// What a command does to two streams is there as a whole or not at all.
fn torn(command: &Command, events: &[&Event], index: &Index<'_>) -> Option<Broken> {
    let (stream, change) = command.change.other_half(command.stream)?;
    let others = index.on((stream, &change));
    let fit = |(event, other): (&&Event, &&Event)| {
        (event.partition, event.position) == (other.partition, other.position + 1)
    };
    let is_whole = events.len() == others.len() && events.iter().zip(others).all(fit);
    (!is_whole).then(|| (Kind::Torn, format!("its halves are {others:?} and {events:?}")))
}

fn wrong(log: &Log, event: &Event, receipt: &Receipt) -> Option<Broken> {
    let proof = &receipt.proof;
    if proof.log != log.name {
        return Some((Kind::OtherLog, "the receipt is of another log".to_owned()));
    }
    let shown = proof.positions.at(event.partition);
    let fits = receipt.version == event.version && shown >= event.position;
    let text = format!("the event has version {}, position {}", event.version, event.position);
    (!fits).then_some((Kind::WrongReceipt, text))
}

/// All receipts but the first one say that the command had been applied before.
fn replays(receipts: &[Receipt]) -> Option<Broken> {
    let fresh = receipts.iter().skip(1).any(|receipt| !receipt.replayed);
    fresh.then(|| (Kind::WrongReceipt, "a repetition was applied anew".to_owned()))
}

fn misplaced(command: &Command, event: &Event) -> Option<Broken> {
    let wanted = command.expected_version?;
    let text = || format!("it wanted version {wanted} and made version {}", event.version);
    (event.version != wanted + 1).then(|| (Kind::WrongVersion, text()))
}
