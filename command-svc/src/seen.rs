//! The tokens that come with a command, and the one that goes out with its receipt.

use headwater_edge::Failure;
use headwater_eventlog::{EventLog, Receipt};
use headwater_kernel::{Lineage, Token, TokenError, TokenMismatch, Tokens};

use crate::reply::{AppendError, failure};
use headwater_edge::token_failure;

/// Checks before a command is applied that what its sender has seen is in the log: afterwards
/// nothing can be refused.
///
/// # Errors
/// It is of another log or was lost, or the log cannot be asked.
pub(crate) async fn check(log: &EventLog, seen: &Tokens) -> Result<(), Failure> {
    // Nearly always of the epoch that this process knows.
    if log.lineage().settle(seen).is_ok() {
        return Ok(());
    }
    let lineage = log.read_lineage().await.map_err(|error| {
        tracing::warn!(%error, "the log's epochs cannot be read");
        failure(AppendError::DatabaseUnavailable)
    })?;
    lineage.settle(seen).map(drop).map_err(|mismatch| {
        token_failure(match mismatch {
            TokenMismatch::Foreign => TokenError::Foreign,
            // Later: of an epoch that the log has never been in, or no longer knows of.
            TokenMismatch::Lost | TokenMismatch::Later => TokenError::Lost,
        })
    })
}

/// Proof of a command's effect, and of what its sender had seen before. What a failover took since
/// that was checked is left out: the command has been applied, and its reply must say so.
pub(crate) fn token(lineage: &Lineage, seen: Option<&Tokens>, receipt: &Receipt) -> Token {
    let then = lineage.until(receipt.epoch);
    let mut token = match (then, seen) {
        (Some(then), Some(seen)) => then.salvage(seen),
        (_, _) => Token::empty(lineage.log(), receipt.epoch),
    };
    token.raise(receipt.partition, receipt.position);
    token
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{
        Epoch, EpochStart, LogId, Partition, Position, StreamId, StreamVersion,
    };
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(1));

    fn of(epoch: u32, positions: &[u64]) -> Token {
        let positions: Vec<Position> = positions.iter().copied().map(Position).collect();
        Token::of_positions(LOG, Epoch(epoch), &positions)
    }

    #[test]
    fn a_receipts_token_is_of_the_epoch_that_its_position_is_of() {
        let starts = [(1, [0, 0]), (4, [10, 10]), (9, [20, 12])].map(|(epoch, positions)| {
            EpochStart { epoch: Epoch(epoch), positions: positions.map(Position).to_vec() }
        });
        let lineage = Lineage::new(LOG, Epoch(9), starts.to_vec());
        let receipt = |epoch| Receipt {
            stream: StreamId(Uuid::nil()),
            partition: Partition(0),
            position: Position(15),
            epoch: Epoch(epoch),
            version: StreamVersion(1),
            recorded_at: OffsetDateTime::UNIX_EPOCH,
        };
        let table = [
            (9, None, of(9, &[15])),
            (9, Some(of(9, &[14, 30])), of(9, &[15, 30])),
            (9, Some(of(4, &[16, 12])), of(9, &[16, 12])),
            // Lost between the check and the append.
            (9, Some(of(4, &[16, 13])), of(9, &[16, 12])),
            (9, Some(of(1, &[16, 13])), of(9, &[15, 10])),
            // Another append of this process has learned of a later epoch in the meantime.
            (4, Some(of(4, &[2, 30])), of(4, &[15, 30])),
            (4, Some(of(1, &[2, 8])), of(4, &[15, 8])),
            // Not an epoch that this process knows how to get to.
            (12, Some(of(9, &[2, 8])), of(12, &[15])),
        ];
        for (epoch, seen, expected) in table {
            let seen = seen.map(Tokens::from);
            let found = token(&lineage, seen.as_ref(), &receipt(epoch));
            assert_eq!(found, expected, "{epoch} {seen:?}");
        }
    }
}
