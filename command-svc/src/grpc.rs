//! What every command has in common on the wire: its request is read, carried out, and answered
//! with a receipt. A domain's adapters are written on it.

mod many;
mod stream;

use std::marker::PhantomData;
use std::sync::Arc;

use headwater_edge::{CommandReply, CommandRequest, TOKEN, Target, Violations, read_command};
use headwater_eventlog::Receipt;
use headwater_kernel::{Aggregate, DecisionModel};
use headwater_proto::headwater::v1;
use prost_types::Timestamp;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::acks::Acked;
use crate::execute::{Committed, Executor};
pub use stream::ReplyStream;

/// The commands of an aggregate.
pub type CommandOf<A> = <A as Aggregate>::Command;

/// Carries out commands on one kind of aggregate.
pub struct Commands<A> {
    executor: Arc<Executor>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Commands<A> {
    /// On this executor.
    pub fn new(executor: &Arc<Executor>) -> Self {
        Self { executor: Arc::clone(executor), aggregate: PhantomData }
    }

    /// Carries out a request. `fields` makes of its fields the aggregate that it is about and the
    /// command, or records what is wrong with them.
    ///
    /// # Errors
    /// Every violation that `fields` recorded, malformed options, or as [`Executor::execute`].
    pub async fn execute<M: CommandRequest, R: CommandReply, T: Into<Target>>(
        &self,
        request: Request<M>,
        fields: impl FnOnce(&M, &mut Violations) -> Option<(T, A::Command)>,
    ) -> Result<Response<R>, Status> {
        let (envelope, (target, command)) = read_command(request, fields)?;
        let call = envelope.call(M::domain(), target.into());
        let done = self.executor.execute::<A>(call, command).await?;
        Ok(done.reply())
    }

    /// Carries out a request that is decided across aggregates, as [`Commands::execute`] does. The
    /// target's stream is the one whose version the client may expect.
    ///
    /// # Errors
    /// Those of [`Commands::execute`].
    pub async fn execute_across<M: DecisionModel, Q: CommandRequest, R: CommandReply, T>(
        &self,
        request: Request<Q>,
        fields: impl FnOnce(&Q, &mut Violations) -> Option<(T, M::Command)>,
    ) -> Result<Response<R>, Status>
    where
        T: Into<Target>,
    {
        let (envelope, (target, command)) = read_command(request, fields)?;
        let call = envelope.call(Q::domain(), target.into());
        let done = self.executor.execute_across::<M>(call, command).await?;
        Ok(done.reply())
    }
}

/// Fields of a request, read as the aggregate that it is about and the command: one reading for the
/// single call and for those with many. [`command_service!`] implements it.
pub trait ReadFields<M, C> {
    /// Reads them, or records what is wrong with them.
    fn read(message: &M, violations: &mut Violations) -> Option<(Target, C)>;
}

/// The receipt as clients get it.
fn wire(receipt: &Receipt, token: String, replayed: bool, acked: Acked) -> v1::Receipt {
    let recorded = receipt.recorded_at;
    v1::Receipt {
        token,
        version: receipt.version.0,
        recorded_time: Some(Timestamp {
            seconds: recorded.unix_timestamp(),
            nanos: recorded.nanosecond() as i32,
        }),
        replayed,
        acknowledged: acked.level.into(),
        replicas: acked.replicas,
    }
}

/// A reply with its token in the metadata, too.
fn with_token<R>(reply: R, token: &str) -> Response<R> {
    let mut response = Response::new(reply);
    // Tokens are base64: always a valid header value.
    if let Ok(token) = MetadataValue::try_from(token) {
        response.metadata_mut().insert(TOKEN, token);
    }
    response
}

impl Committed {
    /// The reply to a command.
    fn reply<R: CommandReply>(&self) -> Response<R> {
        let token = self.token.encode();
        let receipt = wire(&self.receipt, token.clone(), self.replayed, self.acked);
        with_token(R::of(receipt, self.receipt.stream.0), &token)
    }
}

/// Implements a command service on one aggregate: for each method the field with the aggregate's
/// id, and the command that the others make, or what they record as wrong. Without such a field
/// (`by`), it is the aggregate and the command. The service is named by the module that
/// `headwater_codegen` makes for it. Whatever else it offers is written by hand, on [`Commands`].
///
/// ```text
/// command_service! {
///     counter_command_service for CounterCommands on Counter;
///
///     increment(IncrementRequest) -> IncrementResponse, by counter_id = |r, v| {
///         let by = v.number("by", r.by, 1..=100);
///         Some(CounterCommand::Increment(by?))
///     };
/// }
/// ```
/// Methods with many commands in one call follow, a line each: their requests are read as those of
/// the single method are. A stream names the associated type that tonic gives it.
///
/// ```text
///     #[batch] batch_increment(BatchIncrementRequest) -> BatchIncrementResponse;
///     #[stream] stream_increment(StreamIncrementRequest) -> StreamIncrementResponse
///         as StreamIncrementStream;
/// ```
#[macro_export]
macro_rules! command_service {
    (
        $($service:ident)::+ for $name:ident on $aggregate:ty;
        $($method:ident($request:ty) -> $reply:ty $(, by $key:ident)?
            = |$r:ident, $v:ident| $fields:expr;)*
        $(#[across($model:ty)] $across:ident($asked:ty) -> $told:ty
            = |$ar:ident, $av:ident| $across_fields:expr;)*
        $(#[batch] $batch:ident($requests:ty) -> $replies:ty;)*
        $(#[stream] $stream:ident($sent:ty) -> $answered:ty as $stream_type:ident;)*
    ) => {
        #[doc = concat!("`", stringify!($($service)::+), "`, carried out on its aggregate.")]
        pub struct $name($crate::Commands<$aggregate>);

        impl $name {
            /// On this executor.
            pub fn new(executor: &::std::sync::Arc<$crate::Executor>) -> Self {
                Self($crate::Commands::new(executor))
            }

            /// The aggregate that its commands are about.
            pub fn aggregate() -> $crate::AggregateType {
                $crate::AggregateType::of::<$aggregate>()
            }

            /// The server of the service, on this executor.
            pub fn server(
                executor: &::std::sync::Arc<$crate::Executor>,
            ) -> $($service)::+::Server<Self> {
                $($service)::+::Server::new(Self::new(executor))
            }
        }

        $(impl $crate::ReadFields<$request, $crate::CommandOf<$aggregate>> for $name {
            fn read(
                $r: &$request,
                $v: &mut ::headwater_edge::Violations,
            ) -> Option<(::headwater_edge::Target, $crate::CommandOf<$aggregate>)> {
                let read = $crate::command_service!(@fields $r, $v, $fields $(, $key)?);
                read.map(|(target, command)| (target.into(), command))
            }
        })*

        #[::tonic::async_trait]
        impl $($service)::+::Service for $name {
            $(async fn $method(
                &self,
                request: ::tonic::Request<$request>,
            ) -> Result<::tonic::Response<$reply>, ::tonic::Status> {
                self.0.execute(request, <Self as $crate::ReadFields<$request, _>>::read).await
            })*

            $(async fn $across(
                &self,
                request: ::tonic::Request<$asked>,
            ) -> Result<::tonic::Response<$told>, ::tonic::Status> {
                let fields = |$ar: &$asked, $av: &mut ::headwater_edge::Violations| $across_fields;
                self.0.execute_across::<$model, _, _, _>(request, fields).await
            })*

            $(async fn $batch(
                &self,
                request: ::tonic::Request<$requests>,
            ) -> Result<::tonic::Response<$replies>, ::tonic::Status> {
                self.0.execute_many::<Self, _, _>(request).await
            })*

            $(type $stream_type = $crate::ReplyStream<$answered>;

            async fn $stream(
                &self,
                request: ::tonic::Request<::tonic::Streaming<$sent>>,
            ) -> Result<::tonic::Response<Self::$stream_type>, ::tonic::Status> {
                self.0.execute_stream::<Self, _, _>(request)
            })*
        }
    };
    (@fields $r:ident, $v:ident, $fields:expr) => { (|| $fields)() };
    (@fields $r:ident, $v:ident, $fields:expr, $key:ident) => {{
        // Both are read before one is missed: a client is told everything that is wrong.
        let id = $v.uuid(stringify!($key), &$r.$key);
        let command = (|| $fields)();
        (|| Some((id?, command?)))()
    }};
}
