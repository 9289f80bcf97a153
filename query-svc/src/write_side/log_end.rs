//! Looks at the end of the log, for reads that want everything: `strong` means at least what was
//! committed when the read arrived.
//!
//! Reads that arrive while no look is under way get one at once; those that arrive meanwhile share
//! the next one. None shares a look that began before it arrived: that one may have missed what was
//! committed in between.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use headwater_chassis::Metrics;
use headwater_chassis::metrics::{Counter, Family, Labels};
use headwater_eventlog::{EventLog, LogEnd, LogError, Servers};
use headwater_kernel::Token;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::clock::{Look, WriteClock};
use crate::seen::NodeStateTables;

/// Most reads that wait for a look; more are refused. A look takes about a millisecond.
const QUEUE_MAX: usize = 4096;
/// Longest time for a look, connecting included: half of what a read waits by default, so that it
/// can be told that the write database is unavailable.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Without reads, a look this often keeps the clock.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// One for a look, one that is being opened after the first one broke.
const CONNECTIONS_MAX: u32 = 2;

/// Error of a log whose end is not known. The texts are for operators.
#[derive(Clone, Debug, Error)]
pub enum EndError {
    /// No write database is configured.
    #[error("HEADWATER_WRITE_URL is not set")]
    NotConfigured,
    /// The write database cannot be read.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// Too many wait for it.
    #[error("too many reads wait for the end of the log")]
    Busy,
    /// The read database shows another log, or an earlier epoch of it, than the write database.
    #[error("the read database and the write database hold different logs")]
    OtherLog,
}

/// The end of the log, for whoever asks.
#[derive(Clone)]
pub struct LogEnds {
    /// `None` without a way to the write database.
    queue: Option<mpsc::Sender<Ask>>,
    last: LastLook,
    /// `None` as above.
    servers: Option<Servers>,
}

/// The last look that succeeded, and when it began.
type LastLook = Arc<ArcSwapOption<(Instant, LogEnd)>>;

type Ask = oneshot::Sender<Result<LogEnd, EndError>>;

impl LogEnds {
    /// Nobody can be asked.
    pub fn unknown() -> Self {
        Self { queue: None, last: LastLook::default(), servers: None }
    }

    /// Of the log on these servers; `clock` learns from every look, and `tables` which log it is.
    /// Starts a task that ends with the last clone of this. The database need not be there.
    pub fn watch(
        servers: Servers,
        clock: Arc<WriteClock>,
        tables: Arc<NodeStateTables>,
        metrics: &Metrics,
    ) -> Self {
        let held = Arc::new(Mutex::new(None));
        let asked = servers.clone();
        let ends = Self::asking(Outcomes::new(metrics), move || {
            let (clock, tables) = (Arc::clone(&clock), Arc::clone(&tables));
            let looked = look(asked.clone(), Arc::clone(&held), clock);
            async move { looked.await.inspect(|end| tables.log_is(end.token.log)) }
        });
        Self { servers: Some(servers), ..ends }
    }

    fn asking<F>(outcomes: Outcomes, look: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<LogEnd, EndError>> + Send + 'static,
    {
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        let last = LastLook::default();
        tokio::spawn(carry(asked, outcomes, Arc::clone(&last), look));
        Self { queue: Some(queue), last, servers: None }
    }

    /// The end of the log at some moment after this one, which may lie in the past: looks are
    /// shared by those who have waited for a while already.
    ///
    /// # Errors
    /// As [`LogEnds::ask`].
    pub async fn since(&self, moment: Instant) -> Result<LogEnd, EndError> {
        match self.last.load().as_deref() {
            Some((begun, end)) if *begun >= moment => Ok(end.clone()),
            Some(_) | None => self.ask().await,
        }
    }

    /// True if no server of the write database other than the one that was looked at can have been
    /// promoted before this moment. Where a server does not answer, it can.
    pub fn is_current_since(&self, moment: Instant) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.others_heard_since(moment))
    }

    /// The end of the log now, or at some moment after this was called.
    ///
    /// # Errors
    /// Why that is not known; always within a few seconds.
    pub async fn ask(&self) -> Result<LogEnd, EndError> {
        let queue = self.queue.as_ref().ok_or(EndError::NotConfigured)?;
        let (reply, answer) = oneshot::channel();
        queue.try_send(reply).map_err(|_| EndError::Busy)?;
        // It always replies, unless the process is ending.
        answer.await.unwrap_or_else(|_| Err(EndError::Unavailable("shutting down".into())))
    }
}

/// True if the log, which ends there, does not go as far as the token of the same epoch.
pub fn is_beyond(token: &Token, end: &LogEnd) -> bool {
    let end = &end.token;
    (token.log, token.epoch) == (end.log, end.epoch)
        && token.positions().any(|(partition, position)| position > end.position(partition))
}

/// Outcomes of looks, counted.
struct Outcomes(Family<Labels<1>, Counter>);

impl Outcomes {
    fn new(metrics: &Metrics) -> Self {
        Self(metrics.counters(
            "headwater_log_end_looks_total",
            "Looks at the end of the log in the write database, by how they ended",
        ))
    }

    fn count(&self, outcome: &Result<LogEnd, EndError>) {
        let label = if outcome.is_ok() { "known" } else { "unknown" };
        self.0.get_or_create(&[("outcome", label.to_owned())]).inc();
    }
}

/// Takes all who have asked, looks, answers them, and again.
async fn carry<F>(
    mut asked: mpsc::Receiver<Ask>,
    outcomes: Outcomes,
    last: LastLook,
    mut look: impl FnMut() -> F + Send,
) where
    F: Future<Output = Result<LogEnd, EndError>> + Send,
{
    let mut batch = Vec::new();
    let mut was_known = None;
    loop {
        // At the start, and when nobody asks for long, it looks for the clock's sake.
        let begun = Instant::now();
        let outcome = timeout(LOOK_MAX, look()).await;
        let outcome = outcome.unwrap_or_else(|_| Err(EndError::Unavailable("no answer".into())));
        let before = last.load().as_deref().map(|(_, end)| end.clone());
        let outcome = outcome.and_then(|end| not_before(before.as_ref(), end));
        if let Ok(end) = &outcome {
            last.store(Some(Arc::new((begun, end.clone()))));
        }
        outcomes.count(&outcome);
        if was_known != Some(outcome.is_ok()) {
            tell(&outcome);
            was_known = Some(outcome.is_ok());
        }
        if outcome.is_err() {
            // Whoever came meanwhile has waited long enough to be told.
            batch.extend(std::iter::from_fn(|| asked.try_recv().ok()));
        }
        for reply in batch.drain(..) {
            let _ = reply.send(outcome.clone());
        }
        match timeout(LOOK_EVERY, asked.recv_many(&mut batch, QUEUE_MAX)).await {
            Ok(0) => return,
            Ok(_) => batch.retain(|reply: &Ask| !reply.is_closed()),
            Err(_) => {}
        }
    }
}

/// The end, unless the last look has seen the log in an epoch that descends from this one: then a
/// server has answered that was replaced and does not know.
fn not_before(last: Option<&LogEnd>, end: LogEnd) -> Result<LogEnd, EndError> {
    let descends = |last: &&LogEnd| {
        last.token.log == end.token.log
            && last.token.epoch != end.token.epoch
            && last.epochs.contains(&end.token.epoch)
    };
    match last.filter(descends) {
        Some(_) => Err(EndError::Unavailable("a server that was replaced has answered".into())),
        None => Ok(end),
    }
}

/// Not an alarm: all other reads go on, and commands have an alarm of their own.
fn tell(outcome: &Result<LogEnd, EndError>) {
    match outcome {
        Ok(end) => tracing::info!(epoch = end.token.epoch.0, "the end of the log is known"),
        Err(error) => tracing::info!(%error, "the end of the log is not known: no strong reads"),
    }
}

/// One look. The connection is kept for the next one, unless this one failed or was dropped.
async fn look(
    servers: Servers,
    held: Arc<Mutex<Option<EventLog>>>,
    clock: Arc<WriteClock>,
) -> Result<LogEnd, EndError> {
    let unavailable = |error: LogError| EndError::Unavailable(error.to_string().into());
    let mut held = held.lock().await;
    let log = match held.take() {
        Some(log) => log,
        None => EventLog::open(&servers, CONNECTIONS_MAX).await.map_err(unavailable)?,
    };
    let (asked, asked_own) = (Instant::now(), OffsetDateTime::now_utc());
    let end = log.end().await.map_err(unavailable)?;
    let look = Look { time: end.now, asked, answered: Instant::now(), asked_own };
    clock.looked(look);
    *held = Some(log);
    Ok(end)
}

#[cfg(test)]
impl LogEnds {
    /// Of a log that has gone through the epochs of each look in turn, on these servers.
    pub fn of_looks(
        log: headwater_kernel::LogId,
        servers: Option<Servers>,
        mut looks: impl Iterator<Item = Vec<u32>> + Send + 'static,
    ) -> Self {
        use headwater_kernel::Epoch;
        let ends = Self::asking(Outcomes::new(&Metrics::new()), move || {
            let epochs: Vec<_> = looks.next().unwrap_or_default().into_iter().map(Epoch).collect();
            let end = epochs.last().map(|epoch| LogEnd {
                token: Token::empty(log, *epoch),
                epochs: epochs.clone(),
                now: OffsetDateTime::UNIX_EPOCH,
            });
            std::future::ready(end.ok_or(EndError::Busy))
        });
        Self { servers, ..ends }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use headwater_kernel::{Epoch, LogId, Partition, Position};
    use uuid::Uuid;

    use super::*;

    const LOOK: Duration = Duration::from_millis(10);

    /// A log that grows by one each time it is looked at; a look takes ten milliseconds and shows
    /// what there was when it began.
    fn growing() -> (LogEnds, Arc<AtomicU64>) {
        let looks = Arc::new(AtomicU64::new(0));
        let begun = Arc::clone(&looks);
        let ends = LogEnds::asking(Outcomes::new(&Metrics::new()), move || {
            let position = begun.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                // tidy: allow sleep: on a paused clock, as long as a look takes
                tokio::time::sleep(LOOK).await;
                let (log, epoch) = (LogId(Uuid::nil()), Epoch(1));
                let token = Token::of_positions(log, epoch, &[Position(position)]);
                Ok(LogEnd { token, epochs: vec![epoch], now: OffsetDateTime::UNIX_EPOCH })
            }
        });
        (ends, looks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_shared_by_those_who_came_before_it_began() {
        let (ends, looks) = growing();
        // The first look of all, which nobody has asked for, is over.
        tokio::time::sleep(2 * LOOK).await;
        let ask = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let before = looks.load(Ordering::SeqCst);
            let shown = ends.ask().await.expect("known").token.position(Partition(0)).0;
            assert!(shown > before, "look {shown} began before it was asked for");
            shown
        };
        let (a, b, c, d) = tokio::join!(ask(0), ask(1), ask(5), ask(12));
        assert_eq!((a, b, c, d), (2, 3, 3, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_may_be_older_than_the_question_but_not_than_the_moment() {
        let (ends, looks) = growing();
        let arrived = Instant::now();
        tokio::time::sleep(2 * LOOK).await;
        let first = ends.ask().await.expect("known");
        assert_eq!(ends.since(arrived).await.expect("known"), first);
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        let later = ends.since(Instant::now()).await.expect("known");
        assert_eq!(later.token.position(Partition(0)).0, 3);
        assert!(LogEnds::unknown().since(arrived).await.is_err());
    }

    /// The log began epoch 2 on another server; the first one comes back, and does not know.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_replaced_is_not_believed() {
        let mut epochs = [1, 2, 1, 3, 9].into_iter();
        let ends = LogEnds::asking(Outcomes::new(&Metrics::new()), move || {
            let epoch = epochs.next().expect("a look more");
            // The one numbered 9 is another copy's, begun after a restore to the log's epoch 1.
            let all = [1, 2, 3].into_iter().filter(|before| *before <= epoch && epoch != 9);
            let epochs = all.chain((epoch == 9).then_some(9)).map(Epoch).collect();
            let token = Token::of_positions(LogId(Uuid::nil()), Epoch(epoch), &[Position(1)]);
            let end = LogEnd { token, epochs, now: OffsetDateTime::UNIX_EPOCH };
            std::future::ready(Ok(end))
        });
        tokio::time::sleep(LOOK).await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(ends.ask().await.ok().map(|end| end.token.epoch.0));
        }
        assert_eq!(seen, [Some(2), None, Some(3), Some(9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_now_and_then_by_itself() {
        let (ends, looks) = growing();
        tokio::time::sleep(2 * LOOK_EVERY + LOOK_EVERY / 2).await;
        assert_eq!(looks.load(Ordering::SeqCst), 3);
        drop(ends);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_is_given_up_for_all_who_wait() {
        let outcomes = Outcomes::new(&Metrics::new());
        let ends = LogEnds::asking(outcomes, std::future::pending);
        let begun = Instant::now();
        let late = async {
            tokio::time::sleep(LOOK_MAX / 2).await;
            ends.ask().await
        };
        let (first, late) = tokio::join!(ends.ask(), late);
        assert!(matches!(first, Err(EndError::Unavailable(_))), "{first:?}");
        assert!(matches!(late, Err(EndError::Unavailable(_))), "{late:?}");
        assert!(begun.elapsed() <= LOOK_MAX, "{:?}", begun.elapsed());
        assert!(matches!(LogEnds::unknown().ask().await, Err(EndError::NotConfigured)));
    }
}
