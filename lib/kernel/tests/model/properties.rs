//! Properties that hold in every state, whatever happened.

use std::fmt;

use headwater_kernel::{Position, Token, TokenMismatch, Tokens};

use crate::epochs::{EpochId, Epochs, LOG};
use crate::history::{Command, History};
use crate::rules::Bounds;
use crate::world::{Snapshot, World};

/// Property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A command was committed on top of something else than it was decided on.
    DecidedOnLostHistory {
        /// The command.
        command: Command,
        /// The state that it was decided on.
        base: History,
        /// The stream as it was stored.
        stored: History,
    },
    /// A load began from a snapshot of something else than the stream.
    SnapshotOfLostHistory {
        /// The snapshot.
        snapshot: Snapshot,
        /// The stream as it was stored.
        stored: History,
    },
    /// One position of an epoch was given to two events.
    PositionGivenTwice {
        /// The second one.
        command: Command,
        /// The position.
        position: u8,
        /// What had been committed in the epoch.
        before: History,
    },
    /// A command was committed twice in one history.
    AppliedTwice(Command),
    /// A command was acknowledged with a position at which it is not.
    NotWhereAcknowledged(Command),
    /// A token was accepted for a history that does not have all that it proves.
    TokenMisread {
        /// The history as it is.
        history: History,
        /// The one that the token proves.
        proof: History,
    },
    /// A token was refused as lost although its history is there.
    TokenRefused {
        /// The history as it is.
        history: History,
        /// The one that the token proves.
        proof: History,
    },
    /// The views show something else than the log in the epoch of their checkpoint.
    ViewOfLostHistory {
        /// The views.
        shown: History,
        /// The log.
        stored: History,
    },
    /// A program that nothing disturbs does not get a command through.
    Stuck(usize),
    /// The projector, undisturbed, does not get to the end of a log that continues the views.
    ViewsStuck,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A receipt names a position at which its command is, in the epoch that it names.
pub fn acknowledged(
    world: &World,
    command: Command,
    (server, epoch): (usize, EpochId),
) -> Result<(), Violation> {
    let log = &world.servers[server].log;
    let known = log
        .events
        .position(command)
        .and_then(|position| world.epochs.look_equal(log.epoch, epoch).then_some(position));
    let kept = known.and_then(|position| world.epochs.truth(log.epoch).at(position));
    if kept == Some(command) { Ok(()) } else { Err(Violation::NotWhereAcknowledged(command)) }
}

/// The views are the log's beginning in the epoch of their checkpoint.
pub fn views(world: &World) -> Result<(), Violation> {
    let (shown, stored) = (world.projector.shown, world.epochs.truth(world.projector.epoch));
    if stored.starts_with(shown) {
        Ok(())
    } else {
        Err(Violation::ViewOfLostHistory { shown, stored })
    }
}

/// Every token that could have been issued, in every history: it is accepted if and only if the
/// history has all that it proves; and what was committed is where the fork points say.
///
/// A token proves the beginning of its epoch's history up to its position. Tokens are read by the
/// programs' own code, on the lineage that is stored.
pub fn tokens(epochs: &Epochs, bounds: &Bounds) -> Result<(), Violation> {
    for holder in epochs.all() {
        let lineage = epochs.lineage(holder);
        let history = epochs.truth(holder);
        for issuer in epochs.all() {
            for position in 1..=epochs.truth(issuer).len() {
                let proof = epochs.truth(issuer).first(position);
                let token = token(epochs, issuer, position);
                let tokens = Tokens::from(token);
                let has = history.starts_with(proof);
                match lineage.settle(&tokens) {
                    Ok(settled) if settled != self::token(epochs, holder, position) || !has => {
                        return Err(Violation::TokenMisread { history, proof });
                    }
                    // After an unknown outcome a command may come to the same place once more.
                    Err(TokenMismatch::Lost)
                        if has && bounds.given_up == 0 && epochs.went_through(holder, issuer) =>
                    {
                        return Err(Violation::TokenRefused { history, proof });
                    }
                    Ok(_) | Err(_) => {}
                }
                let left = lineage.salvage(&tokens).positions().map(|(_, p)| p.0 as u8).next();
                let left = proof.first(left.unwrap_or_default());
                if !history.starts_with(left) {
                    return Err(Violation::TokenMisread { history, proof: left });
                }
            }
        }
    }
    Ok(())
}

/// A read that a token asks for shows what the token proves.
pub fn reads(world: &World) -> Result<(), Violation> {
    let World { epochs, projector, .. } = world;
    let lineage = epochs.lineage(projector.epoch);
    let shown = [Position(projector.shown.len().into())];
    for issuer in epochs.all() {
        for position in 1..=epochs.truth(issuer).len() {
            let settled = lineage.settle(&Tokens::from(token(epochs, issuer, position)));
            let proof = epochs.truth(issuer).first(position);
            let is_fresh = settled.is_ok_and(|token| token.is_covered_by(&shown));
            if is_fresh && !projector.shown.starts_with(proof) {
                return Err(Violation::TokenMisread { history: projector.shown, proof });
            }
        }
    }
    Ok(())
}

/// A token of an epoch.
fn token(epochs: &Epochs, epoch: EpochId, position: u8) -> Token {
    Token::of_positions(LOG, epochs.epoch(epoch), &[Position(position.into())])
}
