//! One call under way, as a server and the router count it: its place among the bounded number of
//! them, its status, and what ends it early.

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
