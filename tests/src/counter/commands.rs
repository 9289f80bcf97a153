//! The command's gRPC adapter: fields in, receipt out.

use std::sync::Arc;

use headwater_command_svc::Executor;
use headwater_edge::read_command;
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
        let (envelope, (id, by)) = read_command(request, |r: &IncrementRequest, v| {
            let id = v.uuid("counter_id", &r.counter_id);
            let by = v.number("by", r.by, 1..=1_000_000);
            Some((id?, by?))
        })?;
        let call = envelope.call("counter", id);
        let done = self.0.execute::<Counter>(call, CounterCommand::Increment(by)).await?;
        Ok(done.reply(|receipt| IncrementResponse { receipt: Some(receipt) }))
    }
}
