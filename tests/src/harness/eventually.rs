//! Waiting for a condition, with a bound.

use std::fmt::Display;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Tries until it succeeds and gives the result; panics with the last error after the deadline. An
/// attempt that hangs counts as failed at the deadline.
pub async fn eventually<T, E, F>(deadline: Duration, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let until = Instant::now() + deadline;
    let mut last = "the first attempt did not end".to_owned();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => {}
        }
        assert!(Instant::now() < until, "not within {deadline:?}: {last}");
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_first_success() {
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            let outcome = if tries < 3 { Err("not yet") } else { Ok(tries) };
            async move { outcome }
        };
        assert_eq!(eventually(Duration::from_secs(5), attempt).await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 50ms: never")]
    async fn it_gives_up() {
        eventually(Duration::from_millis(50), || async { Err::<(), _>("never") }).await;
    }
}
