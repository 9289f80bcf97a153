//! How often nodes are probed: seldom while no read waits, often while one does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The first pause between probes while reads wait, and the least there is in any case.
const HURRIED_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Pauses grow up to this while reads go on waiting: 200 probes a second and node at most.
const HURRIED_PAUSE_MAX: Duration = Duration::from_millis(5);
/// Probes in a hurry, since the last read began to wait, that have helped none of those that wait:
/// after 200 ms the next few milliseconds matter less than the work that the node has to do.
const HURRIED_PROBES_MAX: u32 = 40;
/// Pause between probes from then on, until another read begins to wait.
const PATIENT_PAUSE: Duration = Duration::from_millis(50);

/// Reads that wait for something fresher than was seen, of whatever projection: one probe of a node
/// reads the checkpoints of all.
#[derive(Default)]
pub struct ProbeDemand {
    waiting: AtomicUsize,
    /// Reads that have begun to wait so far.
    begun: AtomicUsize,
    /// Rung when one of them begins to wait.
    hurry: Notify,
}

impl ProbeDemand {
    /// Counts a read that begins to wait.
    pub fn enter(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.hurry.notify_waiters();
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
        let pause = match self.waiting.load(Ordering::SeqCst) {
            0 => {
                *pace = Pace::default();
                calm
            }
            _ => pace.next(self.begun.load(Ordering::SeqCst)).min(calm),
        };
        if pause <= HURRIED_PAUSE_MAX {
            return sleep_until(last + pause).await;
        }
        tokio::select! {
            () = sleep_until(last + pause) => return,
            () = hurry => {}
        }
        sleep_until(last + pace.next(self.begun.load(Ordering::SeqCst)).min(calm)).await;
    }
}

/// How quickly a node is probed while reads wait.
#[derive(Debug)]
pub struct Pace {
    pause: Duration,
    /// Reads that had begun to wait at the last probe.
    begun: usize,
    /// Probes since then.
    probes: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pause: HURRIED_PAUSE_MIN, begun: 0, probes: 0 }
    }
}

impl Pace {
    fn next(&mut self, begun: usize) -> Duration {
        if begun != self.begun {
            self.begun = begun;
            self.probes = 0;
        }
        self.probes += 1;
        if self.probes > HURRIED_PROBES_MAX {
            return PATIENT_PAUSE;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(HURRIED_PAUSE_MAX);
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
        for _ in 5..HURRIED_PROBES_MAX {
            assert_eq!(pause().await, HURRIED_PAUSE_MAX);
        }
        assert_eq!(pause().await, PATIENT_PAUSE, "nobody has come since");
        demand.enter();
        assert_eq!(pause().await, HURRIED_PAUSE_MAX, "somebody has");
        demand.leave();
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
