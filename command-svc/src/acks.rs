//! Acknowledgements beyond `committed`: asks the read side how far a command's effect has come.
//! Nothing here can fail a command: it has been applied, and its receipt says what was reached.

use std::time::Duration;

use headwater_chassis::ack::{self, WAIT_MIN, Wanted};
use headwater_chassis::{Backoff, Delays, ErrorReason, Failure, Violations};
use headwater_kernel::Token;
use headwater_proto::headwater::v1::sync_query_service_client::SyncQueryServiceClient;
use headwater_proto::headwater::v1::{AckLevel, Acknowledgement, AwaitRequest};
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

/// The metadata that asks for a level.
const ACK: &str = "headwater-ack";
/// While the read side cannot be asked.
const RETRY: Delays =
    Delays { first: Duration::from_millis(20), max: Duration::from_millis(500), factor: 2.0 };
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// What a client waits for before its command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Above `committed`.
    pub level: AckLevel,
    /// How many replicas; 0 for every healthy one.
    pub replicas: u32,
    /// When the reply must be on its way.
    pub until: Instant,
}

/// What was reached when the command was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The highest level.
    pub level: AckLevel,
    /// Healthy replicas that showed the effect.
    pub replicas: u32,
}

impl Acked {
    /// What every applied command has.
    pub const COMMITTED: Self = Self { level: AckLevel::Committed, replicas: 0 };
}

impl Wish {
    /// What the field asks for, or else the metadata; `None` for `committed`. `left` is the time
    /// that the client leaves for the reply, of which a tenth is kept for the way back.
    ///
    /// # Errors
    /// A level, a number or a wait that there is not.
    pub fn read(
        metadata: &MetadataMap,
        field: Option<Acknowledgement>,
        left: Option<Duration>,
        now: Instant,
    ) -> Result<Option<Self>, Failure> {
        let asked = match (field, metadata.get(ACK)) {
            (Some(field), _) => field,
            (None, None) => return Ok(None),
            (None, Some(text)) => {
                let known = text.to_str().ok().and_then(from_text);
                known.ok_or_else(|| {
                    refuse(ACK, "must be committed, projected, replicated or replicated=1 to 64")
                })?
            }
        };
        let mut violations = Violations::new();
        let wanted = ack::wanted(&asked, "options.acknowledgement", left, &mut violations);
        let Wanted { level, replicas, wait } = violations.finish(wanted)?;
        Ok((level != AckLevel::Committed).then(|| Self { level, replicas, until: now + wait }))
    }
}

fn from_text(text: &str) -> Option<Acknowledgement> {
    let (level, replicas) = match text {
        "committed" => (AckLevel::Committed, 0),
        "projected" => (AckLevel::Projected, 0),
        "replicated" => (AckLevel::Replicated, 0),
        _ => {
            let replicas = text.strip_prefix("replicated=")?.parse().ok().filter(|n| *n > 0)?;
            (AckLevel::Replicated, replicas)
        }
    };
    Some(Acknowledgement { level: level.into(), replicas, wait_max: None })
}

fn refuse(field: &str, what: &str) -> Failure {
    Failure::new(ErrorReason::InvalidRequest, format!("{field} {what}")).violation(field, what)
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

    /// Whether the wish can be granted at all: to be asked before the command is applied.
    ///
    /// # Errors
    /// This process does not know where the read side is.
    pub fn check(&self, wish: Option<&Wish>) -> Result<(), Failure> {
        if wish.is_some() && self.sync.is_none() {
            let what = "is not offered here: the command service has no HEADWATER_SYNC_URL; \
                        ask for committed";
            return Err(refuse("options.acknowledgement", what));
        }
        Ok(())
    }

    /// Waits until the token's state has come as far as is wished, or the time is over.
    pub async fn reached(&self, wish: &Wish, token: &Token) -> Acked {
        let Some(sync) = &self.sync else { return Acked::COMMITTED };
        let mut backoff = Backoff::new(RETRY);
        let token = token.encode();
        while let Some(left) = wish.until.checked_duration_since(Instant::now()) {
            let request = AwaitRequest {
                token: token.clone(),
                acknowledgement: Some(Acknowledgement {
                    level: wish.level.into(),
                    replicas: wish.replicas,
                    // What it answers at the end of this must still find us here.
                    wait_max: prost_types::Duration::try_from(left.mul_f64(0.9).max(WAIT_MIN)).ok(),
                }),
            };
            match timeout_at(wish.until, sync.clone().r#await(request)).await {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
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
    async fn wishes() {
        let now = Instant::now();
        let read = |text: &str, field: Option<Acknowledgement>, left: Option<u64>| {
            let mut metadata = MetadataMap::new();
            if !text.is_empty() {
                metadata.insert(ACK, text.parse().expect("ascii"));
            }
            let wish = Wish::read(&metadata, field, left.map(Duration::from_millis), now);
            wish.map_err(|failure| failure.reason().to_owned())
                .map(|wish| wish.map(|w| (w.level, w.replicas, (w.until - now).as_millis())))
        };
        let field = |level: AckLevel, replicas, seconds: i64| {
            let wait_max = Some(prost_types::Duration { seconds, nanos: 0 });
            Some(Acknowledgement { level: level.into(), replicas, wait_max })
        };
        let invalid = Err("INVALID_REQUEST".to_owned());
        assert_eq!(read("", None, None), Ok(None));
        assert_eq!(read("committed", None, None), Ok(None));
        assert_eq!(read("projected", None, None), Ok(Some((AckLevel::Projected, 0, 5_000))));
        assert_eq!(read("replicated", None, Some(100)), Ok(Some((AckLevel::Replicated, 0, 90))));
        assert_eq!(read("replicated=2", None, None), Ok(Some((AckLevel::Replicated, 2, 5_000))));
        for wrong in ["all", "replicated=0", "replicated=x", "replicated=65", "Projected"] {
            assert_eq!(read(wrong, None, None), invalid, "{wrong}");
        }
        let asked = field(AckLevel::Replicated, 1, 60);
        assert_eq!(read("all", asked, None), Ok(Some((AckLevel::Replicated, 1, 60_000))));
        assert_eq!(read("projected", field(AckLevel::Committed, 0, 1), None), Ok(None));
        assert_eq!(read("", field(AckLevel::Projected, 0, 61), None), invalid);
        assert_eq!(read("", field(AckLevel::Projected, 65, 1), None), invalid);
        let unknown = Acknowledgement { level: 9, replicas: 0, wait_max: None };
        assert_eq!(read("", Some(unknown), None), invalid);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_read_side_a_wish_is_refused_before_and_committed_after() {
        let acks = Acks::new(None);
        let until = Instant::now() + Duration::from_secs(5);
        let wish = Wish { level: AckLevel::Projected, replicas: 0, until };
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
        let wish = Wish { level: AckLevel::Projected, replicas: 0, until };
        let token =
            Token::empty(headwater_kernel::LogId(uuid::Uuid::nil()), headwater_kernel::Epoch(1));
        assert_eq!(acks.reached(&wish, &token).await, Acked::COMMITTED);
        assert!(Instant::now() >= until);
    }
}
