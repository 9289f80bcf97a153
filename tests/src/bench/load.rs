//! A closed loop of clients: each sends its next request when the last one is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Result of a round of load.
#[derive(Clone, Debug)]
pub struct Round {
    /// Requests answered.
    pub done: u64,
    /// Duration of the round.
    pub took: Duration,
    /// Latency below which half of the requests stayed.
    pub p50: Duration,
    /// Latency below which 99 % of the requests stayed.
    pub p99: Duration,
}

impl Round {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// Runs one task per client until the time is over. `client` is called with the client's number and
/// the flag that ends it, and gives the latencies of its requests in microseconds.
pub async fn run<F, C>(clients: usize, time: Duration, client: C) -> Round
where
    C: Fn(usize, Arc<AtomicBool>) -> F,
    F: Future<Output = Vec<u32>> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients).map(|n| tokio::spawn(client(n, Arc::clone(&over)))).collect();
    // tidy: allow sleep: the time of a measurement
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a client panicked"));
    }
    let took = started.elapsed();
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        let micros = latencies.get(index.min(latencies.len().saturating_sub(1))).copied();
        Duration::from_micros(u64::from(micros.unwrap_or_default()))
    };
    Round { done: latencies.len() as u64, took, p50: at(0.5), p99: at(0.99) }
}

/// Repeats a request until the flag says stop, timing each.
pub async fn repeat<F, R>(over: Arc<AtomicBool>, mut request: R) -> Vec<u32>
where
    R: FnMut() -> F,
    F: Future<Output = ()>,
{
    let mut latencies = Vec::with_capacity(16_384);
    while !over.load(Ordering::Relaxed) {
        let started = Instant::now();
        request().await;
        latencies.push(started.elapsed().as_micros() as u32);
    }
    latencies
}
