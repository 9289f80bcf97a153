//! Load of many clients, closed or open, and the latencies that they see.
//!
//! The clients of the peers (`tests/peers`) include this file: the same load for everybody. So it
//! uses nothing of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Parts of the requests for which a round tells the latency.
pub const QUANTILES: [f64; 16] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
    1.0,
];
/// A longer latency counts as this one.
const LATENCY_MICROS_MAX: u64 = 60_000_000;
/// For how long requests that have arrived may still be sent after the end of an open load.
const GRACE: Duration = Duration::from_secs(1);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Each client sends its next request when its last one is answered.
    Closed,
    /// So many a second, at constant intervals, one client after the other, whether earlier ones
    /// are answered or not. A latency counts from when the request should have been sent, so that
    /// a server which stalls is charged for all that would have arrived meanwhile ("coordinated
    /// omission": <https://github.com/HdrHistogram/HdrHistogram>).
    Open(f64),
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Clients, each with one request at a time.
    pub clients: usize,
    /// For how long they send.
    pub time: Duration,
    /// When they send.
    pub arrivals: Arrivals,
}

impl Load {
    /// Clients that send as fast as they are answered.
    pub fn closed(clients: usize, time: Duration) -> Load {
        Load { clients, time, arrivals: Arrivals::Closed }
    }

    /// Requests at a constant rate a second.
    pub fn open(clients: usize, time: Duration, rate: f64) -> Load {
        Load { clients, time, arrivals: Arrivals::Open(rate) }
    }

    /// As a line for a client in another process.
    pub fn to_json(&self) -> Value {
        let rate = match self.arrivals {
            Arrivals::Closed => None,
            Arrivals::Open(rate) => Some(rate),
        };
        json!({ "clients": self.clients, "seconds": self.time.as_secs_f64(), "rate": rate })
    }

    /// From such a line.
    pub fn from_json(value: &Value) -> Option<Load> {
        let arrivals = value["rate"].as_f64().map_or(Arrivals::Closed, Arrivals::Open);
        let clients = usize::try_from(value["clients"].as_u64()?).ok()?;
        let time = Duration::from_secs_f64(value["seconds"].as_f64()?);
        Some(Load { clients, time, arrivals })
    }
}

/// Result of a round of load.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Operations done; a request may be several.
    pub done: u64,
    /// Requests that were refused, or still waited when the round was over.
    pub failed: u64,
    /// Duration of the round.
    pub took: Duration,
    /// Latencies in ms, one for each of [`QUANTILES`].
    pub latencies: Vec<f64>,
}

impl Round {
    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    /// Latency in ms below which this part of the requests stayed; one of [`QUANTILES`].
    pub fn latency(&self, quantile: f64) -> f64 {
        let at = QUANTILES.iter().position(|known| (known - quantile).abs() < 1e-9);
        at.and_then(|at| self.latencies.get(at)).copied().unwrap_or(f64::NAN)
    }

    /// As the line that a client in another process answers with.
    pub fn to_json(&self) -> Value {
        let Round { done, failed, took, latencies } = self;
        json!({ "done": done, "failed": failed, "took": took.as_secs_f64(), "latencies": latencies })
    }

    /// From such a line.
    pub fn from_json(value: &Value) -> Option<Round> {
        let latencies = value["latencies"].as_array()?.iter().filter_map(Value::as_f64).collect();
        let took = Duration::from_secs_f64(value["took"].as_f64()?);
        let failed = value["failed"].as_u64()?;
        Some(Round { done: value["done"].as_u64()?, failed, took, latencies })
    }
}

/// What one client has to tell.
pub struct Answers {
    done: u64,
    failed: u64,
    latencies: Histogram<u32>,
}

impl Answers {
    fn none() -> Answers {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Answers { done: 0, failed: 0, latencies: latencies.expect("bounds that fit") }
    }

    fn add(&mut self, operations: u64, latency: Duration) {
        self.done += operations;
        self.failed += u64::from(operations == 0);
        self.latencies.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
    }
}

/// The times at which one client sends.
pub struct Turns {
    arrivals: Option<mpsc::Receiver<Instant>>,
    over: Arc<AtomicBool>,
}

impl Turns {
    /// When the next request should be sent; waits until then. `None` at the end.
    async fn next(&mut self) -> Option<Instant> {
        if self.over.load(Ordering::Relaxed) {
            return None;
        }
        match &mut self.arrivals {
            None => Some(Instant::now()),
            Some(arrivals) => arrivals.recv().await,
        }
    }
}

/// Runs one task per client until the time is over. `client` is called with the client's number and
/// its turns.
pub async fn run<F, C>(load: Load, client: C) -> Round
where
    C: Fn(usize, Turns) -> F,
    F: Future<Output = Answers> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let mut senders = Vec::new();
    let started = Instant::now();
    let tasks: Vec<_> = (0..load.clients)
        .map(|number| {
            let arrivals = match load.arrivals {
                Arrivals::Closed => None,
                Arrivals::Open(rate) => {
                    let each = rate * load.time.as_secs_f64() / load.clients as f64;
                    let (sender, receiver) = mpsc::channel(each as usize + 2);
                    senders.push(sender);
                    Some(receiver)
                }
            };
            tokio::spawn(client(number, Turns { arrivals, over: Arc::clone(&over) }))
        })
        .collect();
    if let Arrivals::Open(rate) = load.arrivals {
        let arrive = move || arrive(&senders, started, load.time, rate);
        tokio::task::spawn_blocking(arrive).await.expect("no panic");
    }
    let rest = if load.arrivals == Arrivals::Closed { load.time } else { GRACE };
    let end = tokio::spawn(async move {
        // tidy: allow sleep: the time of a measurement
        tokio::time::sleep(rest).await;
        over.store(true, Ordering::Relaxed);
    });
    let mut all = Answers::none();
    for task in tasks {
        let answers = task.await.expect("a client panicked");
        all.done += answers.done;
        all.failed += answers.failed;
        all.latencies.add(answers.latencies).expect("the same bounds");
    }
    end.abort();
    let micros = QUANTILES.map(|quantile| all.latencies.value_at_quantile(quantile));
    let latencies = micros.iter().map(|micros| *micros as f64 / 1e3).collect();
    Round { done: all.done, failed: all.failed, took: started.elapsed(), latencies }
}

/// Tells clients of the requests that arrive. On a thread of its own, which wakes to 0.1 ms;
/// tokio's timer does to 1 ms.
fn arrive(clients: &[mpsc::Sender<Instant>], started: Instant, time: Duration, rate: f64) {
    for number in 0_usize.. {
        let after = Duration::from_secs_f64(number as f64 / rate);
        if after >= time {
            return;
        }
        let due = started + after;
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "a thread that may block")]
            // tidy: allow sleep: the schedule of a measurement
            std::thread::sleep(early);
        }
        // There is room for all that arrive.
        let _ = clients[number % clients.len()].try_send(due);
    }
}

/// Sends a request at each turn, and times it. A request gives the operations that it did; 0 if it
/// was refused.
pub async fn repeat<F, R>(turns: Turns, mut request: R) -> Answers
where
    R: FnMut() -> F,
    F: Future<Output = u64>,
{
    repeat_by(turns, |due| {
        let sent = request();
        async move { (sent.await, due) }
    })
    .await
}

/// The same, but a request says itself since when its latency counts.
pub async fn repeat_from<F, R>(turns: Turns, mut request: R) -> Answers
where
    R: FnMut() -> F,
    F: Future<Output = (u64, Instant)>,
{
    repeat_by(turns, |_| request()).await
}

async fn repeat_by<F, R>(mut turns: Turns, mut request: R) -> Answers
where
    R: FnMut(Instant) -> F,
    F: Future<Output = (u64, Instant)>,
{
    let mut answers = Answers::none();
    while let Some(due) = turns.next().await {
        let (done, since) = request(due).await;
        answers.add(done, since.elapsed());
    }
    // What arrived and was never sent has waited until now at least.
    if let Some(mut arrivals) = turns.arrivals {
        while let Ok(due) = arrivals.try_recv() {
            answers.add(0, due.elapsed());
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stall_is_charged_to_all_that_arrive_meanwhile() {
        let time = Duration::from_millis(400);
        let round = run(Load::open(1, time, 100.0), |_, turns| async {
            let mut first = true;
            let stall = Duration::from_millis(200);
            repeat(turns, || {
                let stalled = std::mem::take(&mut first);
                async move {
                    if stalled {
                        // tidy: allow sleep: a server that stalls
                        tokio::time::sleep(stall).await;
                    }
                    1
                }
            })
            .await
        })
        .await;
        assert_eq!(round.done + round.failed, 40);
        // Half of them arrived while it stalled, and waited for 100 ms on average.
        assert!(round.latency(0.75) > 80.0, "{round:?}");
        assert!(round.latency(1.0) >= 190.0, "{round:?}");
    }

    #[test]
    fn a_round_and_a_load_survive_their_lines() {
        let latencies = QUANTILES.to_vec();
        let round = Round { done: 7, failed: 1, took: Duration::from_secs(2), latencies };
        assert_eq!(Round::from_json(&round.to_json()), Some(round));
        for load in [Load::closed(3, Duration::from_secs(1)), Load::open(3, Duration::ZERO, 9.5)] {
            assert_eq!(Load::from_json(&load.to_json()), Some(load));
        }
    }
}
