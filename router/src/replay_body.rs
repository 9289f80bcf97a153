//! A request's body on its way to an upstream: passed on frame by frame as it comes, and
//! remembered up to a bound until the answer begins, so that the request can be sent again.
//!
//! Remembering copies nothing: frames are reference-counted slices of what was received.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

/// More than this is not remembered: commands and queries are small, and the memory is held once
/// for every request under way.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Frames have a cost of their own.
const KEPT_FRAMES_MAX: usize = 64;

type BoxError = Box<dyn Error + Send + Sync>;

/// The pipeline's hold on the body. Dropping it ends the transfer, also while the upstream still
/// reads.
pub struct ReplayBody<B>(Arc<Mutex<State<B>>>);

/// The body as one attempt sends it.
pub struct Replay<B> {
    body_replay: Arc<Mutex<State<B>>>,
    attempt: u32,
}

struct State<B> {
    /// None once it failed, or the transfer was ended.
    source: Option<B>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Frames of `kept` that the current attempt has sent.
    played: usize,
    /// True if `kept` holds all that was ever read.
    whole: bool,
    /// The source has nothing more.
    ended: bool,
    /// Only the latest attempt may read: an old one may linger for a moment in its connection.
    attempt: u32,
    waiting: Option<Waker>,
}

impl<B> ReplayBody<B> {
    /// Nothing of it has been read yet.
    pub fn new(source: B) -> ReplayBody<B> {
        ReplayBody(Arc::new(Mutex::new(State {
            source: Some(source),
            kept: Vec::new(),
            kept_bytes: 0,
            played: 0,
            whole: true,
            ended: false,
            attempt: 0,
            waiting: None,
        })))
    }

    /// The body from its beginning, for the next attempt. Cuts off the attempt before.
    pub fn play(&self) -> Replay<B> {
        let mut state = lock(&self.0);
        state.attempt += 1;
        state.played = 0;
        let attempt = state.attempt;
        drop(state);
        Replay { body_replay: self.0.clone(), attempt }
    }

    /// True if the body can be played from its beginning.
    pub fn replayable(&self) -> bool {
        let state = lock(&self.0);
        state.whole && state.source.is_some()
    }

    /// Commits to the present attempt: what has been sent is forgotten.
    pub fn commit(&self) {
        lock(&self.0).forget();
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // Dropping the source tells the client to stop; waking tells the upstream.
        let source = state.source.take();
        let waiting = state.waiting.take();
        drop(state);
        drop(source);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<B> State<B> {
    fn forget(&mut self) {
        self.whole = false;
        self.kept.drain(..self.played);
        self.played = 0;
    }

    fn keep(&mut self, frame: &Bytes) {
        if !self.whole {
            return;
        }
        self.kept_bytes += frame.len();
        if self.kept_bytes > KEPT_BYTES_MAX || self.kept.len() == KEPT_FRAMES_MAX {
            // All that is kept has been played, or the source would not have been read.
            self.forget();
            return;
        }
        self.kept.push(frame.clone());
        self.played += 1;
    }
}

impl<B> State<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.kept.get(self.played) {
            let frame = frame.clone();
            self.played += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(Some(Err(cut())));
        };
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut *source).poll_frame(cx);
        match &polled {
            Poll::Pending => self.waiting = Some(cx.waker().clone()),
            Poll::Ready(Some(Ok(frame))) => {
                self.ended = source.is_end_stream();
                match frame.data_ref() {
                    Some(data) => self.keep(data),
                    // gRPC clients send no trailers; one that does is not sent again.
                    None => self.forget(),
                }
            }
            Poll::Ready(Some(Err(_))) => self.whole = false,
            Poll::Ready(None) => self.ended = true,
        }
        polled.map_err(Into::into)
    }
}

impl<B> Body for Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = lock(&self.body_replay);
        match state.attempt == self.attempt {
            true => state.next(cx),
            false => Poll::Ready(Some(Err(cut()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.body_replay);
        let read = state.ended || state.source.as_ref().is_some_and(Body::is_end_stream);
        state.attempt == self.attempt && read && state.played == state.kept.len()
    }
}

/// Read by hyper, which resets the stream with this code: the upstream sees a cancelled request.
fn cut() -> BoxError {
    h2::Error::from(h2::Reason::CANCEL).into()
}

fn lock<B>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    /// Gives its frames, then waits for ever unless it was closed.
    struct Source {
        frames: VecDeque<Bytes>,
        closed: bool,
    }

    impl Source {
        fn new(sizes: &[usize], closed: bool) -> Source {
            let frames = sizes.iter().enumerate();
            let frames = frames.map(|(i, size)| Bytes::from(vec![i as u8; *size])).collect();
            Source { frames, closed }
        }
    }

    impl Body for Source {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
                None if self.closed => Poll::Ready(None),
                None => Poll::Pending,
            }
        }

        fn is_end_stream(&self) -> bool {
            self.closed && self.frames.is_empty()
        }
    }

    #[derive(Debug, PartialEq)]
    enum Seen {
        Data(usize),
        End,
        Cut,
        Waits,
    }

    fn read(replay: &mut Replay<Source>) -> Seen {
        match replay.frame().now_or_never() {
            None => Seen::Waits,
            Some(None) => Seen::End,
            Some(Some(Err(_))) => Seen::Cut,
            Some(Some(Ok(frame))) => Seen::Data(frame.into_data().unwrap().len()),
        }
    }

    #[test]
    fn a_body_is_played_again_from_its_beginning() {
        let body_replay = ReplayBody::new(Source::new(&[3, 5], true));
        let mut first = body_replay.play();
        assert_eq!(read(&mut first), Seen::Data(3));
        assert!(body_replay.replayable());
        let mut second = body_replay.play();
        assert_eq!(read(&mut first), Seen::Cut, "only the latest attempt reads");
        assert_eq!(read(&mut second), Seen::Data(3));
        assert!(!second.is_end_stream());
        assert_eq!(read(&mut second), Seen::Data(5));
        assert!(second.is_end_stream());
        assert_eq!(read(&mut second), Seen::End);
        let mut third = body_replay.play();
        assert!(!third.is_end_stream());
        assert_eq!(read(&mut third), Seen::Data(3));
        assert_eq!(read(&mut third), Seen::Data(5));
        assert!(third.is_end_stream());
    }

    #[test]
    fn an_empty_body_ends_at_once() {
        let body_replay = ReplayBody::new(Source::new(&[], true));
        assert!(body_replay.play().is_end_stream());
        assert!(body_replay.replayable());
    }

    #[test]
    fn a_large_body_flows_and_is_not_remembered() {
        let size = KEPT_BYTES_MAX / 2;
        let body_replay = ReplayBody::new(Source::new(&[size, size, 1, 2], true));
        let mut replay = body_replay.play();
        assert_eq!(read(&mut replay), Seen::Data(size));
        assert_eq!(read(&mut replay), Seen::Data(size));
        assert!(body_replay.replayable());
        assert_eq!(read(&mut replay), Seen::Data(1));
        assert!(!body_replay.replayable());
        assert_eq!(read(&mut replay), Seen::Data(2));
        assert_eq!(read(&mut replay), Seen::End);
    }

    #[test]
    fn many_frames_are_not_remembered() {
        let body_replay = ReplayBody::new(Source::new(&[1; KEPT_FRAMES_MAX + 1], true));
        let mut replay = body_replay.play();
        while read(&mut replay) != Seen::End {}
        assert!(!body_replay.replayable());
    }

    #[test]
    fn what_was_not_yet_sent_again_survives_the_commit() {
        let body_replay = ReplayBody::new(Source::new(&[3, 5, 7], false));
        let mut first = body_replay.play();
        assert_eq!(read(&mut first), Seen::Data(3));
        assert_eq!(read(&mut first), Seen::Data(5));
        let mut second = body_replay.play();
        assert_eq!(read(&mut second), Seen::Data(3));
        body_replay.commit();
        assert!(!body_replay.replayable());
        assert_eq!(read(&mut second), Seen::Data(5));
        assert_eq!(read(&mut second), Seen::Data(7));
        assert_eq!(read(&mut second), Seen::Waits);
    }

    #[test]
    fn dropping_the_replay_body_cuts_the_transfer() {
        let body_replay = ReplayBody::new(Source::new(&[3], false));
        let mut replay = body_replay.play();
        assert_eq!(read(&mut replay), Seen::Data(3));
        assert_eq!(read(&mut replay), Seen::Waits);
        drop(body_replay);
        assert_eq!(read(&mut replay), Seen::Cut);
    }
}
