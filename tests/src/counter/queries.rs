//! The query's gRPC adapter: an id in, the row and its freshness out.

use headwater_chassis::Violations;
use headwater_query_svc::coalesce::PointReader;
use headwater_query_svc::grpc::asked::asked;
use headwater_query_svc::grpc::call::{failure, found};
use headwater_query_svc::read::Reads;
use headwater_query_svc::statement::Statement;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::v1::counter_query_service_server::CounterQueryService;
use super::v1::{GetCounterRequest, GetCounterResponse};

static BY_ID: Statement<(Uuid, i64)> = Statement {
    name: "counters_by_id",
    sql: include_str!("counters_by_id.sql"),
    decode: |columns| Ok((columns.take()?, columns.take()?)),
};

/// Answers from the view `counter`.
pub struct CounterQueries {
    reads: Reads,
    by_id: PointReader<Uuid, i64>,
}

impl CounterQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        Self { reads: reads.clone(), by_id: reads.reader(&BY_ID) }
    }
}

#[tonic::async_trait]
impl CounterQueryService for CounterQueries {
    async fn get_counter(
        &self,
        request: Request<GetCounterRequest>,
    ) -> Result<Response<GetCounterResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("counter_id", &request.counter_id);
        let (id, asked) = violations.finish(id.zip(asked))?;

        let answer = self.reads.point(&self.by_id, id, &asked.need).await.map_err(failure)?;
        let (total, shown) = found(answer, "counter", &request.counter_id)?;
        let counter_id = id.to_string();
        Ok(asked.reply(&shown, |freshness| GetCounterResponse { counter_id, total, freshness }))
    }
}
