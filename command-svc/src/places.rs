//! Room for commands that come many in one call: bounds how many of them are under way, and how
//! many calls wait for room. Single commands need none, so that loaders never shut them out.

use std::sync::Arc;
use std::time::Duration;

use headwater_edge::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::reply::overloaded;

/// Calls that may wait for room; more are refused. A call holds its message while it waits.
const WAITING_MAX: usize = 64;
/// Time that a call may wait for room.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of a message that take as much room as a command.
const BYTES_PER_PLACE: usize = 2 * 1024;

/// Places of commands that come many in one call.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    waiting: Semaphore,
    share: usize,
}

impl Places {
    /// Of a service whose partitions have queues of this length: three quarters of one queue in
    /// all, so that a quarter is left to single commands if all go to one partition, and a quarter
    /// of these for one call.
    pub(crate) fn new(queue_max: usize) -> Self {
        let places = (queue_max * 3 / 4).max(1);
        let share = (places / 4).max(1);
        Self { free: Arc::new(Semaphore::new(places)), waiting: Semaphore::new(WAITING_MAX), share }
    }

    /// Commands of one call that may be under way at a time.
    pub(crate) fn share(&self) -> usize {
        self.share
    }

    /// Places for a call with so many commands and bytes, for as long as the permit is held.
    ///
    /// # Errors
    /// None became free in time, or too many calls wait already.
    pub(crate) async fn take(
        &self,
        commands: usize,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        let wanted = commands.max(bytes / BYTES_PER_PLACE).min(self.share);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if let Ok(taken) = Arc::clone(&self.free).try_acquire_many_owned(wanted) {
            return Ok(taken);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let wait = Instant::now() + WAIT_MAX;
        let until = until.map_or(wait, |until| until.min(wait));
        let taken = timeout_at(until, Arc::clone(&self.free).acquire_many_owned(wanted)).await;
        // Never closed.
        taken.map_err(|_| overloaded())?.map_err(|_| overloaded())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_a_share_and_waits_for_no_longer_than_it_may() {
        let places = Places::new(64);
        assert_eq!(places.share(), 12);
        let take = |commands, bytes| places.take(commands, bytes, None);
        let mut held = Vec::new();
        for (commands, bytes) in [(500, 0), (12, 0), (1, 1 << 20)] {
            held.push(take(commands, bytes).await.expect("room"));
        }
        held.push(take(11, 0).await.expect("room"));
        assert!(take(1, 0).now_or_never().is_some_and(|taken| taken.is_ok()), "one is left");
        let mut waits = Box::pin(take(2, 0));
        assert!(waits.as_mut().now_or_never().is_none());
        // A later call does not overtake it.
        assert!(take(1, 0).now_or_never().is_none());
        held.pop();
        assert!(waits.await.is_ok());
        held.push(take(11, 0).await.expect("room"));
        let late = take(12, 0).await.expect_err("none becomes free");
        assert_eq!(late.reason(), "OVERLOADED");
        let soon = Some(Instant::now() + Duration::from_millis(3));
        assert!(places.take(12, 0, soon).await.is_err());
        assert_eq!(soon, Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_calls_wait() {
        let places = Places::new(4);
        let _held: Vec<_> = [places.take(3, 0, None).await, places.take(3, 0, None).await]
            .into_iter()
            .chain([places.take(3, 0, None).await])
            .collect();
        let mut waiting: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(places.take(1, 0, None))).collect();
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
        assert!(places.take(1, 0, None).now_or_never().is_some_and(|refused| refused.is_err()));
    }
}
