//! One call under way, as a server and the router count it: its place among the bounded number of
//! them, its status, and what ends it early.

use std::cell::Cell;
use std::time::Instant;

use headwater_edge::grpc_status;
use http::HeaderMap;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::Span;

use crate::metrics::Gauge;

/// Places that calls take. Each gauge is the counter of its limit, too: one atomic operation serves
/// both.
#[derive(Clone, Debug)]
pub struct Places {
    /// Calls under way.
    pub calls: Gauge,
    /// Streams that wait for something to send.
    pub waiting: Gauge,
}

/// A call under way. Whoever owns it calls [`InFlight::end`] when it is dropped, however far the
/// call got.
#[derive(Debug)]
pub struct InFlight {
    begun: Instant,
    /// Status, once known. A call that is dropped before has been cancelled.
    code: Option<Code>,
    place: Place,
    span: Span,
}

/// Limit that a call counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    None,
    Call,
    Waiting,
}

impl InFlight {
    /// A call that begins now, and has no place yet.
    pub fn begin() -> Self {
        Self { begun: Instant::now(), code: None, place: Place::None, span: Span::none() }
    }

    /// Time at which it began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Span that it is traced by.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Traces it by this span.
    pub fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// Takes a place among the calls; false if none is free.
    pub fn enter(&mut self, places: &Places, calls_max: usize) -> bool {
        self.take(places, Place::Call, calls_max)
    }

    /// Changes over to a place among the streams that wait; false if none is free. A watcher that
    /// waits for something to happen must not take the place of calls that could be answered.
    pub fn wait(&mut self, places: &Places, waiting_max: usize) -> bool {
        self.place == Place::Waiting || self.take(places, Place::Waiting, waiting_max)
    }

    fn take(&mut self, places: &Places, place: Place, places_max: usize) -> bool {
        self.leave(places);
        if let Some(taken) = gauge(places, place)
            && taken.inc() >= i64::try_from(places_max).unwrap_or(i64::MAX)
        {
            taken.dec();
            return false;
        }
        self.place = place;
        true
    }

    fn leave(&mut self, places: &Places) {
        if let Some(taken) = gauge(places, self.place) {
            taken.dec();
        }
        self.place = Place::None;
    }

    /// Learns the status from headers or trailers, if they carry one.
    pub fn learn(&mut self, headers: &HeaderMap) -> Option<Code> {
        let code = grpc_status(headers);
        self.code = code.or(self.code);
        code
    }

    /// Sets the status that it is answered with.
    pub fn close(&mut self, code: Code) {
        self.code = Some(code);
    }

    /// Ends it: `record` is given its status and its duration in seconds, and its place is free.
    pub fn end(&mut self, places: &Places, record: impl FnOnce(Code, f64)) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.span.record("rpc.grpc.status_code", code as i32);
        record(code, self.begun.elapsed().as_secs_f64());
        self.leave(places);
    }
}

fn gauge(places: &Places, place: Place) -> Option<&Gauge> {
    match place {
        Place::None => None,
        Place::Call => Some(&places.calls),
        Place::Waiting => Some(&places.waiting),
    }
}

tokio::task_local! {
    /// The call that the handler of this task answers, while the handler runs.
    static HANDLED: Handled;
}

/// The call of a handler, as [`waits`] finds it.
struct Handled {
    calls: Gauge,
    /// Waits under way: a handler may do several things at once.
    waits: Cell<u32>,
}

/// Runs the handler of a call that has entered these places.
pub async fn handled<T>(places: &Places, handler: impl Future<Output = T>) -> T {
    let call = Handled { calls: places.calls.clone(), waits: Cell::new(0) };
    HANDLED.scope(call, handler).await
}

/// Waits for something on behalf of the call that the current handler answers. Its place among the
/// calls is free meanwhile: a call that waits must not take the place of one that could be
/// answered. So whoever calls this sets a bound of its own for what waits. Afterwards the call has
/// its place again, even if all are taken by then: it was admitted. Outside of a handler this only
/// waits.
pub async fn waits<T>(wait: impl Future<Output = T>) -> T {
    let _given_up = PlaceGivenUp::new();
    wait.await
}

/// The place of the current handler's call, given up until this is dropped.
struct PlaceGivenUp;

impl PlaceGivenUp {
    fn new() -> Self {
        // Fails outside of a handler: there is no place then.
        let _ = HANDLED.try_with(|call| {
            if call.waits.replace(call.waits.get() + 1) == 0 {
                call.calls.dec();
            }
        });
        Self
    }
}

impl Drop for PlaceGivenUp {
    fn drop(&mut self) {
        let _ = HANDLED.try_with(|call| {
            call.waits.set(call.waits.get().saturating_sub(1));
            if call.waits.get() == 0 {
                call.calls.inc();
            }
        });
    }
}

/// Event that ends a stream that has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// The deadline has passed.
    Deadline,
    /// A drain's patience is over.
    ShuttingDown,
}

/// Waits for the first of these events; without a deadline for the second alone.
pub async fn ended_early(deadline: Option<Instant>, cut: &CancellationToken) -> EndedEarly {
    let passed = async {
        match deadline {
            Some(deadline) => sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passed => EndedEarly::Deadline,
        () = cut.cancelled() => EndedEarly::ShuttingDown,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_that_waits_gives_its_place_up_once_and_has_it_back() {
        let places = Places { calls: Gauge::default(), waiting: Gauge::default() };
        let taken = || places.calls.get();
        places.calls.inc();
        let (first_over, first) = oneshot::channel::<()>();
        let (second_over, second) = oneshot::channel::<()>();
        let handler = async {
            let (first, second) = tokio::join!(waits(first), waits(second));
            first.and(second).map(|()| taken()).ok()
        };
        let mut handler = Box::pin(handled(&places, handler));
        assert!(handler.as_mut().now_or_never().is_none());
        assert_eq!(taken(), 0, "two waits, one place");
        first_over.send(()).expect("it waits");
        assert!(handler.as_mut().now_or_never().is_none());
        assert_eq!(taken(), 0, "one of them is left");
        second_over.send(()).expect("it waits");
        assert_eq!(handler.now_or_never(), Some(Some(1)));
        // One that is dropped while it waits has its place again, for its call to leave.
        let mut dropped = Box::pin(handled(&places, waits(std::future::pending::<()>())));
        assert!(dropped.as_mut().now_or_never().is_none());
        assert_eq!(taken(), 0);
        drop(dropped);
        assert_eq!(taken(), 1);
        // Nobody's call.
        waits(async {}).await;
        assert_eq!(taken(), 1);
    }
}
