//! The body of an answer on its way to the client: passed on frame by frame as the client takes
//! them, with what has to be held and recorded until its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use headwater_chassis::in_flight::{EndedEarly, ended_early};
use headwater_edge::Failure;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::endpoint::Lease;
use crate::fault::Fault;
use crate::in_flight_request::InFlightRequest;
use crate::replay_body::ReplayBody;
use crate::respond;
use crate::routes::Route;

/// The body of an answer.
#[derive(Default)]
pub enum Reply {
    /// The headers say it all.
    #[default]
    Empty,
    /// From the router's own health or reflection service.
    Platform(Platform),
    /// From an upstream.
    Relay(Relay),
}

/// The router's own answer.
pub struct Platform {
    /// Body of health or reflection.
    pub body: tonic::body::Body,
    /// The request's body, held so that it ends with the answer: the reflection service would read
    /// on for as long as the client leaves it open.
    pub body_replay: ReplayBody<Incoming>,
    /// Record of the request.
    pub in_flight: InFlightRequest,
    /// Resolves at the end of a drain's patience.
    pub cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set once the trailers have been sent.
    pub done: bool,
}

impl Platform {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let polled = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self.cut.as_mut().poll(cx).map(|()| {
                let trailers = respond::trailers(respond::shutting_down());
                Some(Ok(Frame::trailers(trailers)))
            }),
            ready => ready,
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.done = true;
            self.in_flight.learn(trailers);
        }
        polled
    }
}

/// An upstream's answer. Dropping it, however far it got, ends the request on both sides.
pub struct Relay {
    /// The upstream's body.
    pub incoming: Incoming,
    /// The request's body, which may still be on its way.
    pub body_replay: ReplayBody<Incoming>,
    /// The hold on the endpoint.
    pub lease: Lease,
    /// Record of the request.
    pub in_flight: InFlightRequest,
    /// The method.
    pub route: Route,
    /// True if the request is known to have an idempotency key.
    pub has_key: bool,
    /// Event that ends it early.
    pub end: End,
    /// Made when there is first nothing to pass on: a single reply rarely gets here.
    pub ending: Option<Pin<Box<dyn Future<Output = Failure> + Send>>>,
    /// Set once the trailers have been passed on.
    pub done: bool,
}

/// Events that end an answer early.
#[derive(Clone)]
pub struct End {
    /// The deadline.
    pub deadline: Option<Instant>,
    /// True if the client has stated the deadline.
    pub stated: bool,
    /// The end of a drain's patience.
    pub cut: CancellationToken,
    /// Answers that may wait at the same time.
    pub waiting_max: usize,
}

impl End {
    async fn wait(self, route: Route) -> Failure {
        match ended_early(self.deadline, &self.cut).await {
            EndedEarly::Deadline => respond::deadline_exceeded(route.upstream, self.stated),
            EndedEarly::ShuttingDown => respond::shutting_down(),
        }
    }
}

/// True if a healthy copy would have answered otherwise.
pub fn speaks_against_endpoint(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => false,
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.done {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.learn(trailers);
                }
                Poll::Ready(Some(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                let fault = Fault::of(&error);
                self.lease.lost(fault);
                Poll::Ready(Some(self.end_with(fault.failure(self.route, self.has_key))))
            }
            Poll::Ready(None) => {
                // Without trailers: the client will not make sense of it either.
                self.done = true;
                self.in_flight.close(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_ending(cx),
        }
    }

    fn learn(&mut self, trailers: &HeaderMap) {
        self.done = true;
        let code = self.in_flight.learn(trailers);
        if code.is_some_and(speaks_against_endpoint) {
            self.lease.penalise();
        }
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let (end, route) = (&self.end, self.route);
        if self.ending.is_none() {
            self.lease.rest();
            if !self.in_flight.wait(end.waiting_max) {
                return Poll::Ready(Some(self.end_with(respond::overloaded())));
            }
        }
        let ending = self.ending.get_or_insert_with(|| Box::pin(end.clone().wait(route)));
        ending.as_mut().poll(cx).map(|failure| Some(self.end_with(failure)))
    }

    fn end_with(&mut self, failure: Failure) -> Frame<Bytes> {
        self.done = true;
        self.in_flight.close(failure.code());
        Frame::trailers(respond::trailers(failure))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Reply::Empty => Poll::Ready(None),
            Reply::Relay(relay) => relay.poll(cx).map(|frame| frame.map(Ok)),
            Reply::Platform(platform) => platform.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Empty => true,
            Reply::Platform(platform) => platform.done || platform.body.is_end_stream(),
            Reply::Relay(relay) => relay.done || relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Empty => SizeHint::with_exact(0),
            Reply::Platform(platform) => platform.body.size_hint(),
            Reply::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}
