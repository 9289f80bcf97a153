//! The command's gRPC adapter: fields in, receipt out.

use std::sync::Arc;

use headwater_chassis::Violations;
use headwater_command_svc::{Envelope, Executor};
use tonic::{Request, Response, Status};

use super::aggregate::{Counter, CounterCommand};
use super::v1::counter_command_service_server::CounterCommandService;
use super::v1::{IncrementRequest, IncrementResponse};

/// Hands commands on counters to the executor.
pub struct CounterCommands(pub Arc<Executor>);

#[tonic::async_trait]
impl CounterCommandService for CounterCommands {
    async fn increment(
        &self,
        request: Request<IncrementRequest>,
    ) -> Result<Response<IncrementResponse>, Status> {
        let (metadata, _, mut message) = request.into_parts();
        let options = message.options.take();
        let method = "counter.v1.CounterCommandService/Increment";
        let envelope = Envelope::read(&metadata, options, method, &message)?;

        let mut violations = Violations::new();
        let id = violations.uuid("counter_id", &message.counter_id);
        let by = violations.number("by", message.by, 1..=1_000_000);
        let (id, by) = violations.finish(id.zip(by))?;

        let call = envelope.call("counter", id);
        let done = self.0.execute::<Counter>(call, CounterCommand::Increment(by)).await?;
        Ok(done.reply(|receipt| IncrementResponse { receipt: Some(receipt) }))
    }
}
