//! Many commands in one message: each is read, carried out and answered by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater_edge::{
    BatchMetadata, Call, CommandBatch, CommandBatchReply, CommandReply, CommandRequest as _,
    ErrorReason, Failure, RpcStatus,
};
use headwater_kernel::{Aggregate, Token};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Commands, ReadFields, wire, with_token};
use crate::execute::Executor;
use crate::execute_many::{CommittedMany, CommittedOne};

/// Commands in one message.
pub(super) const COMMANDS_MAX: usize = 500;

/// A batch that has been carried out.
pub(super) struct CarriedOut<R> {
    /// The result of each command.
    pub results: Vec<Result<R, RpcStatus>>,
    /// Proof of all that was applied; none if nothing was.
    pub tokens: Vec<Token>,
}

/// Tokens as one text, of all that they prove.
pub(super) fn text(tokens: &[Token]) -> String {
    tokens.iter().map(Token::encode).collect::<Vec<_>>().join(",")
}

impl<A: Aggregate> Commands<A> {
    /// Carries out the commands of a request, each by itself. `F` reads the fields of each.
    ///
    /// # Errors
    /// None of them was looked at: there are none or too many, the metadata is wrong, or there is
    /// no room for them.
    pub async fn execute_many<F, M, R>(&self, request: Request<M>) -> Result<Response<R>, Status>
    where
        F: ReadFields<M::Command, A::Command>,
        M: CommandBatch,
        R: CommandBatchReply,
    {
        let left = headwater_edge::grpc_timeout(request.metadata().as_ref());
        let metadata = BatchMetadata::read(request.metadata(), left)?;
        let done = batch::<F, M, R, A>(&self.executor, &metadata, request.into_inner()).await?;
        let token = text(&done.tokens);
        let reply = R::of(done.results, token.clone());
        Ok(if token.is_empty() { Response::new(reply) } else { with_token(reply, &token) })
    }
}

/// Carries out the commands of a message.
pub(super) async fn batch<F, M, R, A>(
    executor: &Executor,
    metadata: &BatchMetadata,
    batch: M,
) -> Result<CarriedOut<R::Reply>, Failure>
where
    F: ReadFields<M::Command, A::Command>,
    M: CommandBatch,
    R: CommandBatchReply,
    A: Aggregate,
{
    let count = batch.requests().len();
    if !(1..=COMMANDS_MAX).contains(&count) {
        let must = format!("must be 1 to {COMMANDS_MAX}, not {count}");
        return Err(Failure::invalid("requests", &must));
    }
    let _places = executor.places.take(count, batch.encoded_len(), metadata.until()).await?;
    let bytes_max = executor.command_bytes_max;
    let commands = batch.into_requests().into_iter();
    let commands = commands.map(|command| read::<F, M, A>(metadata, command, bytes_max)).collect();
    let CommittedMany { results, tokens } = executor.execute_many::<A>(metadata, commands).await?;
    Ok(CarriedOut { results: results.into_iter().map(result::<R::Reply>).collect(), tokens })
}

/// Reads one command. A defect in the reading of one is no reason to fail the others.
fn read<F, M, A>(
    metadata: &BatchMetadata,
    command: M::Command,
    bytes_max: usize,
) -> Result<(Call, A::Command), Failure>
where
    F: ReadFields<M::Command, A::Command>,
    M: CommandBatch,
    A: Aggregate,
{
    let bytes = command.encoded_len();
    if bytes > bytes_max {
        let text = format!("the command has {bytes} bytes, and no more than {bytes_max} are taken");
        let failure = Failure::new(ErrorReason::InvalidRequest, text);
        return Err(failure.violation("requests", "must hold no larger command"));
    }
    let read = AssertUnwindSafe(|| metadata.command(command, F::read));
    catch_unwind(read).unwrap_or_else(|_| {
        let source = anyhow::anyhow!("reading a command of {} panicked", M::Command::METHOD);
        Err(Failure::new(ErrorReason::Internal, "internal error").because(source))
    })
}

fn result<R: CommandReply>(done: Result<CommittedOne, Failure>) -> Result<R, RpcStatus> {
    match done {
        Ok(CommittedOne { receipt, replayed, acked }) => {
            Ok(R::of(wire(&receipt, String::new(), replayed, acked), receipt.stream.0))
        }
        Err(failure) => Err(failure.into()),
    }
}
