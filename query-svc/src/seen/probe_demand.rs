//! How often nodes are probed: seldom while no read waits, often while one does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The first pause between probes while reads wait, and the least there is in any case.
const HURRIED_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Pauses grow up to this while reads go on waiting: 200 probes a second and node at most.
const HURRIED_PAUSE_MAX: Duration = Duration::from_millis(5);

/// Reads that wait for something fresher than was seen, of whatever projection: one probe of a node
/// reads the checkpoints of all.
#[derive(Default)]
pub struct ProbeDemand {
    waiting: AtomicUsize,
    /// Rung when the first of them begins to wait.
    hurry: Notify,
}

impl ProbeDemand {
    /// Counts a read that begins to wait.
    pub fn enter(&self) {
        if self.waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            self.hurry.notify_waiters();
        }
    }

    /// Counts out a read that waits no longer.
    pub fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until a node that was probed at `last` is due again: after `calm`, or soon if reads
    /// wait.
    pub async fn due(&self, last: Instant, calm: Duration, pace: &mut Pace) {
        let hurry = self.hurry.notified();
        tokio::pin!(hurry);
        // Listen first, look then: a read that begins to wait in between is not missed.
        hurry.as_mut().enable();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            *pace = Pace::default();
            tokio::select! {
                () = sleep_until(last + calm) => return,
                () = hurry => {}
            }
        }
        sleep_until(last + pace.next().min(calm)).await;
    }
}

/// How quickly a node is probed while reads wait.
#[derive(Debug)]
pub struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(HURRIED_PAUSE_MIN)
    }
}

impl Pace {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(HURRIED_PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn probes_are_calm_while_nobody_waits_and_quick_while_somebody_does() {
        let demand = ProbeDemand::default();
        let mut pace = Pace::default();
        let mut pause = async || {
            let begun = Instant::now();
            demand.due(begun, CALM, &mut pace).await;
            begun.elapsed()
        };
        assert_eq!(pause().await, CALM);
        demand.enter();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            pauses.push(pause().await.as_millis());
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        demand.leave();
        assert_eq!(pause().await, CALM);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_begins_to_wait_ends_the_calm() {
        let demand = ProbeDemand::default();
        let begun = Instant::now();
        let mut pace = Pace::default();
        let waiting = async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            demand.enter();
            tokio::time::sleep(Duration::from_millis(100)).await;
            demand.leave();
        };
        tokio::select! {
            () = demand.due(begun, CALM, &mut pace) => {}
            () = waiting => {}
        }
        assert!(begun.elapsed() < Duration::from_millis(60), "{:?}", begun.elapsed());
    }
}
