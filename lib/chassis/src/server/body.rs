//! The reply's body: knows when a call really ends, and ends streams that must.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use super::call::Call;
use super::stack;
use crate::failure::{ErrorReason, Failure};

/// A reply's body, with the call it belongs to: the call ends when the body is dropped.
pub(super) struct ReplyBody {
    inner: Body,
    call: Call,
    end: End,
    /// Made when the stream first has nothing to send. A single reply never gets here.
    ending: Option<Pin<Box<dyn Future<Output = Failure> + Send>>>,
    done: bool,
}

/// What ends a stream early.
pub(super) struct End {
    /// The caller's deadline.
    pub deadline: Option<Instant>,
    /// The process's shutdown.
    pub cut: CancellationToken,
}

impl ReplyBody {
    pub(super) fn new(inner: Body, call: Call, end: End) -> Self {
        Self { inner, call, end, ending: None, done: false }
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.call.span.clone();
        let _entered = span.enter();
        let inner = Pin::new(&mut self.inner);
        // The body is not polled again after a panic, so nobody sees what the panic left behind.
        catch_unwind(AssertUnwindSafe(|| http_body::Body::poll_frame(inner, cx))).unwrap_or_else(
            |_| {
                let failure = stack::panicked(self.call.method());
                Poll::Ready(Some(Ok(self.end_with(failure))))
            },
        )
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let End { deadline, cut } = &self.end;
        let ending = self.ending.get_or_insert_with(|| {
            let (deadline, cut) = (*deadline, cut.clone());
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
        self.call.learn(&trailers);
        Frame::trailers(trailers)
    }
}

async fn ending(deadline: Option<Instant>, cut: CancellationToken) -> Failure {
    let passed = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = passed => stack::deadline_exceeded(),
        () = cut.cancelled() => {
            Failure::new(ErrorReason::ShuttingDown, "the process is shutting down; call again")
        }
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
        let frame = std::task::ready!(match this.poll_inner(cx) {
            Poll::Pending => this.poll_ending(cx).map(|failure| Some(Ok(this.end_with(failure)))),
            ready => ready,
        });
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
