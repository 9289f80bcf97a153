//! What a client carries from call to call, and what it makes of answers.

use headwater_kernel::{Partition, Token};
use headwater_tests::history::record::{LogName, Positions, Proof};
pub use headwater_tests::talk::{passes, reason, within};
use tonic::Status;
use tonic_types::StatusExt as _;

/// The partitions of the log.
pub const PARTITIONS: u16 = 2;
/// Reasons of the platform's own errors have this domain.
const PLATFORM: &str = "headwater";

/// The token that proves all that a client was told.
#[derive(Clone, Debug, Default)]
pub struct Session(Option<Token>);

impl Session {
    /// What goes on the wire; empty before the first answer.
    pub fn text(&self) -> String {
        self.0.as_ref().map(Token::encode).unwrap_or_default()
    }

    /// What it says.
    pub fn proof(&self) -> Option<Proof> {
        self.0.as_ref().map(proof)
    }

    /// From now on it proves what a reply's token proves, too. Gives what that says.
    pub fn learn(&mut self, text: &str) -> Proof {
        let token = Token::decode(text).expect("a token");
        let shown = proof(&token);
        self.join(&Self(Some(token)));
        shown
    }

    /// From now on it proves what the other one proves, too.
    pub fn join(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Some(own), Some(other)) => own.merge(other).expect("a token of the same log"),
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
    }
}

fn proof(token: &Token) -> Proof {
    let at = |partition| token.position(Partition(partition)).0;
    let positions = Positions((0..PARTITIONS).map(at).collect());
    Proof { log: LogName { id: token.log.0, epoch: token.epoch.0 }, positions }
}

/// Whether the domain said no, or the version was another one.
pub fn is_refusal(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.domain != PLATFORM || info.reason == "VERSION_CONFLICT")
}
