//! Acknowledgements beyond `committed`: asks the read side how far a command's effect has come.
//! Nothing here can fail a command: it has been applied, and its receipt says what was reached.

use std::time::Duration;

use headwater_chassis::{Backoff, Delays};
use headwater_edge::{ACK_WAIT_MIN, AckRequest, Failure};
use headwater_kernel::Token;
use headwater_proto::headwater::v1::sync_query_service_client::SyncQueryServiceClient;
use headwater_proto::headwater::v1::{AckLevel, Acknowledgement, AwaitRequest};
use tokio::time::{Instant, timeout_at};
use tonic::transport::{Channel, Endpoint};

/// While the read side cannot be asked.
const RETRY: Delays =
    Delays { first: Duration::from_millis(20), max: Duration::from_millis(500), factor: 2.0 };
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Level that was reached when the command was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The highest level.
    pub level: AckLevel,
    /// Healthy replicas that showed the effect.
    pub replicas: u32,
}

impl Acked {
    /// Level of every applied command.
    pub const COMMITTED: Self = Self { level: AckLevel::Committed, replicas: 0 };
}

/// Asks the read side, if this process knows where it is.
#[derive(Clone)]
pub struct Acks {
    sync: Option<SyncQueryServiceClient<Channel>>,
}

impl Acks {
    /// Asks at this address, a router's or a query service's; connects at the first use, on the
    /// tokio runtime.
    pub fn new(endpoint: Option<Endpoint>) -> Self {
        let connect = |endpoint: Endpoint| {
            let channel = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true).connect_lazy();
            SyncQueryServiceClient::new(channel)
        };
        Self { sync: endpoint.map(connect) }
    }

    /// Checks that the wish can be granted at all, before the command is applied.
    ///
    /// # Errors
    /// This process does not know where the read side is.
    pub fn check(&self, wish: Option<&AckRequest>) -> Result<(), Failure> {
        if wish.is_some() && self.sync.is_none() {
            let what = "is not offered here: the command service has no HEADWATER_SYNC_URL; \
                        ask for committed";
            return Err(Failure::invalid("options.acknowledgement", what));
        }
        Ok(())
    }

    /// Waits until the token's state has come as far as is wished, or the time is over.
    pub async fn reached(&self, wish: &AckRequest, token: &Token) -> Acked {
        let Some(sync) = &self.sync else { return Acked::COMMITTED };
        let mut backoff = Backoff::new(RETRY);
        let token = token.encode();
        while let Some(left) = wish.until.checked_duration_since(Instant::now()) {
            let request = AwaitRequest {
                token: token.clone(),
                acknowledgement: Some(Acknowledgement {
                    level: wish.level.into(),
                    replicas: wish.replicas,
                    wait_max: prost_types::Duration::try_from(left.max(ACK_WAIT_MIN)).ok(),
                }),
            };
            // What it answers at the end of the wait must still find us here.
            match timeout_at(wish.told_by, sync.clone().r#await(request)).await {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
                    // A level of a later release than this one's is no less than committed.
                    let level = AckLevel::try_from(reply.reached).unwrap_or(AckLevel::Committed);
                    return Acked { level, replicas: reply.replicas };
                }
                Ok(Err(status)) => {
                    tracing::debug!(%status, "the read side cannot say how far it has come");
                    let pause = backoff.next(rand::random());
                    tokio::time::sleep_until(wish.until.min(Instant::now() + pause)).await;
                }
                Err(_) => break,
            }
        }
        Acked::COMMITTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_read_side_a_wish_is_refused_before_and_committed_after() {
        let acks = Acks::new(None);
        let until = Instant::now() + Duration::from_secs(5);
        let wish = AckRequest { level: AckLevel::Projected, replicas: 0, until, told_by: until };
        assert!(acks.check(None).is_ok());
        assert!(acks.check(Some(&wish)).is_err());
        let token =
            Token::empty(headwater_kernel::LogId(uuid::Uuid::nil()), headwater_kernel::Epoch(1));
        assert_eq!(acks.reached(&wish, &token).await, Acked::COMMITTED);
    }

    #[tokio::test]
    async fn a_read_side_that_is_away_ends_the_wait_and_not_the_command() {
        let away = Endpoint::from_static("http://127.0.0.1:1");
        let acks = Acks::new(Some(away));
        let until = Instant::now() + Duration::from_millis(200);
        let wish = AckRequest { level: AckLevel::Projected, replicas: 0, until, told_by: until };
        let token =
            Token::empty(headwater_kernel::LogId(uuid::Uuid::nil()), headwater_kernel::Epoch(1));
        assert_eq!(acks.reached(&wish, &token).await, Acked::COMMITTED);
        assert!(Instant::now() >= until);
    }
}
