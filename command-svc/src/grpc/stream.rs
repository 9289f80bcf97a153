//! A stream of batches, each answered by one message, in order.
//!
//! The stream of answers drives everything, in the task that sends them: while the client does not
//! take answers nothing more of its stream is read, and while the window is full neither. So HTTP/2
//! makes the client wait, and a stream holds no more than a window of commands and their answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesOrdered, Stream, StreamExt as _};
use headwater_edge::{BatchMetadata, CommandBatch, CommandBatchReply, Failure, grpc_timeout};
use headwater_kernel::{Aggregate, Token};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::many::{COMMANDS_MAX, CarriedOut, batch, text};
use super::{Commands, ReadFields};

/// Commands of a stream that are under way before no more of it is read: with the message that goes
/// beyond it no more than twice a batch.
const WINDOW_COMMANDS: usize = COMMANDS_MAX;

/// The answers of a stream.
pub type ReplyStream<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

type Answering<R> = Pin<Box<dyn Future<Output = Result<R, Failure>> + Send>>;

impl<A: Aggregate> Commands<A> {
    /// Carries out the batches of a stream. `F` reads the fields of each command.
    ///
    /// # Errors
    /// The metadata is wrong.
    pub fn execute_stream<F, M, R>(
        &self,
        request: Request<Streaming<M>>,
    ) -> Result<Response<ReplyStream<R>>, Status>
    where
        F: ReadFields<M::Command, A::Command>,
        M: CommandBatch,
        R: CommandBatchReply,
    {
        let (metadata, _, requests) = request.into_parts();
        let timeout = grpc_timeout(metadata.as_ref());
        BatchMetadata::read(&metadata, timeout)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (executor, metadata) = (Arc::clone(&self.executor), Arc::new(metadata));
        let answer = move |message: M| -> Answering<CarriedOut<R::Reply>> {
            let (executor, metadata) = (Arc::clone(&executor), Arc::clone(&metadata));
            Box::pin(async move {
                let left =
                    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let metadata = BatchMetadata::read(&metadata, left)?;
                batch::<F, M, R, A>(&executor, &metadata, message).await
            })
        };
        let answers = Answers {
            requests: Some(requests),
            ending: None,
            answer,
            under_way: FuturesOrdered::new(),
            counts: VecDeque::new(),
            commands: 0,
        };
        let mut proven = Vec::new();
        let replies = answers.map(move |done| {
            let CarriedOut { results, tokens } = done?;
            tokens.into_iter().for_each(|token| prove(&mut proven, token));
            Ok(R::of(results, text(&proven)))
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// Adds a token to those of the messages before: commands of different messages may be appended in
/// another order than theirs, if they had to be decided again.
fn prove(proven: &mut Vec<Token>, token: Token) {
    if !proven.iter_mut().any(|known| known.merge(&token).is_ok()) {
        proven.push(token);
    }
}

/// The answers, as they come.
struct Answers<S, F, R> {
    /// `None` once no more is read of it.
    requests: Option<S>,
    /// The error that the requests ended with: told after the answers to those before it.
    ending: Option<Status>,
    answer: F,
    under_way: FuturesOrdered<Answering<R>>,
    /// Commands of each message under way, and of all.
    counts: VecDeque<usize>,
    commands: usize,
}

impl<M, S, F, R> Answers<S, F, R>
where
    M: CommandBatch,
    S: Stream<Item = Result<M, Status>> + Unpin,
    F: Fn(M) -> Answering<R>,
{
    /// Takes in what has come, as far as the window goes.
    fn take_in(&mut self, cx: &mut Context<'_>) {
        while let Some(requests) = &mut self.requests {
            if self.commands >= WINDOW_COMMANDS {
                return;
            }
            match requests.poll_next_unpin(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(message))) => {
                    let count = message.requests().len();
                    self.counts.push_back(count);
                    self.commands += count;
                    self.under_way.push_back((self.answer)(message));
                }
                Poll::Ready(ended) => {
                    self.ending = ended.and_then(Result::err);
                    self.requests = None;
                }
            }
        }
    }
}

impl<M, S, F, R> Stream for Answers<S, F, R>
where
    M: CommandBatch,
    S: Stream<Item = Result<M, Status>> + Unpin,
    F: Fn(M) -> Answering<R> + Unpin,
{
    type Item = Result<R, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.take_in(cx);
        match this.under_way.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(reply))) => {
                this.commands -= this.counts.pop_front().unwrap_or_default();
                Poll::Ready(Some(Ok(reply)))
            }
            Poll::Ready(Some(Err(failure))) => {
                this.requests = None;
                this.ending = None;
                this.under_way = FuturesOrdered::new();
                Poll::Ready(Some(Err(failure.into())))
            }
            Poll::Ready(None) if this.requests.is_none() => {
                Poll::Ready(this.ending.take().map(Err))
            }
            Poll::Pending | Poll::Ready(None) => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::stream;
    use headwater_edge::{CommandRequest, ErrorReason};
    use headwater_proto::headwater::v1::CommandOptions;
    use tokio::sync::Semaphore;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct One {}

    impl CommandRequest for One {
        const METHOD: &'static str = "test.v1.TestCommandService/One";

        fn take_options(&mut self) -> Option<CommandOptions> {
            None
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Many {
        #[prost(message, repeated, tag = "1")]
        requests: Vec<One>,
    }

    impl CommandBatch for Many {
        type Command = One;

        fn requests(&self) -> &[One] {
            &self.requests
        }

        fn into_requests(self) -> Vec<One> {
            self.requests
        }
    }

    /// Answers to messages of a hundred commands each, by their number, and what has been read of
    /// them. The first one waits for the gate; the others are answered at once.
    fn answers(
        messages: usize,
        gate: &Arc<Semaphore>,
        answer: fn(usize) -> Result<usize, Failure>,
    ) -> (impl Stream<Item = Result<usize, Status>> + Unpin, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let requests = (0..messages).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Many { requests: vec![One {}; 100] })
        });
        let next = AtomicUsize::new(0);
        let gate = Arc::clone(gate);
        let answer = move |_: Many| -> Answering<usize> {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let gate = Arc::clone(&gate);
            Box::pin(async move {
                if number == 0 {
                    drop(gate.acquire().await);
                }
                answer(number)
            })
        };
        let answers = Answers {
            requests: Some(stream::iter(requests)),
            ending: None,
            answer,
            under_way: FuturesOrdered::new(),
            counts: VecDeque::new(),
            commands: 0,
        };
        (answers, read)
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_window_and_answers_keep_their_order() {
        let gate = Arc::new(Semaphore::new(0));
        let (mut answers, read) = answers(40, &gate, Ok);
        for _ in 0..3 {
            assert!(answers.next().now_or_never().is_none(), "the first one waits");
            assert_eq!(read.load(Ordering::Relaxed), WINDOW_COMMANDS / 100);
        }
        gate.add_permits(1);
        for number in 0..40 {
            let answer = answers.next().await.and_then(Result::ok);
            assert_eq!(answer, Some(number));
            // A client that does not take answers keeps the rest from being read.
            assert!(read.load(Ordering::Relaxed) <= number + WINDOW_COMMANDS / 100);
        }
        assert!(answers.next().await.is_none());
    }

    #[test]
    fn a_token_proves_what_the_messages_before_did() {
        use headwater_kernel::{Epoch, LogId, Position};
        let token = |epoch, positions: [u64; 2]| {
            let positions = positions.map(Position);
            Token::of_positions(LogId(uuid::Uuid::nil()), Epoch(epoch), &positions)
        };
        let mut proven = Vec::new();
        for next in [token(1, [7, 0]), token(1, [5, 2]), token(2, [8, 0]), token(1, [1, 1])] {
            prove(&mut proven, next);
        }
        assert_eq!(proven, [token(1, [7, 2]), token(2, [8, 0])]);
    }

    #[tokio::test]
    async fn a_refused_message_ends_the_stream_after_those_before_it() {
        let gate = Arc::new(Semaphore::new(1));
        let (mut answers, read) = answers(40, &gate, |number| match number {
            2 => Err(Failure::new(ErrorReason::InvalidRequest, "no")),
            number => Ok(number),
        });
        assert_eq!(answers.next().await.and_then(Result::ok), Some(0));
        assert_eq!(answers.next().await.and_then(Result::ok), Some(1));
        assert!(answers.next().await.is_some_and(|ended| ended.is_err()));
        assert!(answers.next().await.is_none());
        assert!(read.load(Ordering::Relaxed) < 10, "the rest is not read");
    }
}
