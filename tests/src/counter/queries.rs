//! The query's gRPC adapter: an id in, the row and its freshness out.

use headwater_query_svc::{PointReader, Reads, Statement, failure, found};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::v1::counter_query_service_server::CounterQueryService;
use super::v1::{GetCounterRequest, GetCounterResponse};

static BY_ID: Statement<(Uuid, i64)> = Statement {
    name: "counters_by_id",
    projection: "counting",
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
        let (query, id) = self.reads.query(request, |r, v| v.uuid("counter_id", &r.counter_id))?;
        let answer = self.reads.point(&self.by_id, id, query.need()).await.map_err(failure)?;
        let (total, shown) = found(answer, "counter", id)?;
        let counter_id = id.to_string();
        Ok(query.reply(&shown, |freshness| GetCounterResponse { counter_id, total, freshness }))
    }
}
