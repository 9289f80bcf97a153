//! The reply's body: knows when a call really ends, and ends streams that must.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use headwater_edge::Failure;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use super::call::Call;
use super::{refusals, unread};
use crate::in_flight::{EndedEarly, ended_early};

/// A reply's body, with the call it belongs to: the call ends when the body is dropped.
pub(super) struct ReplyBody {
    inner: Body,
    call: Call,
    end: End,
    /// Made when the stream first has nothing to send. A single reply never gets here.
    ending: Option<Pin<Box<dyn Future<Output = Failure> + Send>>>,
    done: bool,
}

/// Event that ends a stream early.
pub(super) struct End {
    /// The caller's deadline.
    pub deadline: Option<Instant>,
    /// The process's shutdown. Behind a pointer, since cloning the token itself takes a lock.
    pub cut: Arc<CancellationToken>,
    /// Streams that may wait at the same time.
    pub streams_max: u32,
}

impl ReplyBody {
    pub(super) fn new(inner: Body, call: Call, end: End) -> Self {
        Self { inner, call, end, ending: None, done: false }
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let inner = Pin::new(&mut self.inner);
        let polled = self.call.span().in_scope(|| {
            // The body is not polled again after a panic, so nobody sees what the panic left
            // behind.
            catch_unwind(AssertUnwindSafe(|| http_body::Body::poll_frame(inner, cx)))
        });
        match polled {
            Ok(polled) => polled,
            Err(_) => {
                let failure = refusals::panicked(&self.call.method().name);
                Poll::Ready(Some(Ok(self.end_with(failure))))
            }
        }
    }

    /// The stream has nothing to send now: the reason to end it, once there is one.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if !self.call.method().built_in && !self.call.wait(self.end.streams_max) {
            return Poll::Ready(refusals::overloaded());
        }
        let ending = self.ending.get_or_insert_with(|| {
            let (deadline, cut) = (self.end.deadline, self.end.cut.clone());
            Box::pin(ending(deadline, cut))
        });
        ending.as_mut().poll(cx)
    }

    /// The trailers that end the stream with a failure.
    fn end_with(&mut self, failure: Failure) -> Frame<Bytes> {
        self.done = true;
        let mut trailers = HeaderMap::new();
        // Fails only for a text that is no header; ours are.
        let _ = Status::from(failure).add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

/// Failure in place of trailers that say that the request cannot be read.
fn unread(frame: &Result<Frame<Bytes>, Status>) -> Option<Failure> {
    unread::failure(frame.as_ref().ok()?.trailers_ref()?)
}

async fn ending(deadline: Option<Instant>, cut: Arc<CancellationToken>) -> Failure {
    match ended_early(deadline, &cut).await {
        EndedEarly::Deadline => refusals::deadline_exceeded(),
        EndedEarly::ShuttingDown => refusals::shutting_down(),
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let polled = match this.poll_inner(cx) {
            Poll::Pending => this.poll_ending(cx).map(|failure| Some(Ok(this.end_with(failure)))),
            ready => ready,
        };
        let mut frame = ready!(polled);
        if let Some(failure) = frame.as_ref().and_then(unread) {
            frame = Some(Ok(this.end_with(failure)));
        }
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.learn(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
