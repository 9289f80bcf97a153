//! Places of the calls that wait for a state that is fresh enough: bounded, and apart from those of
//! calls that can be answered at once.

use headwater_chassis::Metrics;
use headwater_chassis::in_flight::waits;
use headwater_chassis::metrics::Gauge;

/// The places, one for each call that waits. The gauge is the counter, too.
pub struct WaitingPlaces {
    taken: Gauge,
    max: i64,
}

/// A place that is taken, until it is dropped.
struct TakenPlace<'p>(&'p Gauge);

impl WaitingPlaces {
    /// So many places; more calls are refused.
    pub fn new(max: u32, metrics: &Metrics) -> Self {
        let taken = metrics.gauge(
            "headwater_reads_waiting",
            "Calls that wait for a state of the read database that is fresh enough",
        );
        Self { taken, max: i64::from(max) }
    }

    /// Waits in a place, while the call's place among those under way is free; `None` at once if no
    /// place is left.
    pub async fn wait<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let _place = self.take()?;
        Some(waits(wait).await)
    }

    fn take(&self) -> Option<TakenPlace<'_>> {
        let before = self.taken.inc();
        let place = TakenPlace(&self.taken);
        (before < self.max).then_some(place)
    }
}

impl Drop for TakenPlace<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_finds_no_place_is_told_at_once() {
        let places = WaitingPlaces::new(2, &Metrics::new());
        let wait = || Box::pin(places.wait(std::future::pending::<()>()));
        let mut first = wait();
        let mut second = wait();
        assert_eq!(first.as_mut().now_or_never(), None);
        assert_eq!(second.as_mut().now_or_never(), None);
        assert_eq!(wait().now_or_never(), Some(None), "no place is left");
        drop(first);
        assert_eq!(places.wait(async { 7 }).await, Some(7));
        assert_eq!(places.taken.get(), 1);
    }
}
