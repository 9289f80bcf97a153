//! The domain on the real executor, log, projector and query server, on a Postgres of its own.

use counter::v1::counter_command_service_client::CounterCommandServiceClient;
use counter::v1::counter_query_service_client::CounterQueryServiceClient;
use counter::v1::{GetCounterRequest, IncrementRequest, ListCountersRequest};
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_proto::headwater::v1::{CommandOptions, Consistency};
use headwater_testkit::{Domain, Running};
use tonic::Code;
use uuid::Uuid;

const DOMAIN: Domain = Domain {
    projections: counter::projections,
    commands: counter::commands,
    queries: counter::queries,
};

/// At least the state that the token proves.
fn at_least(token: &str) -> Option<Consistency> {
    let requirement = Some(Requirement::AtLeast(token.to_owned()));
    Some(Consistency { requirement, ..Default::default() })
}

#[tokio::test]
async fn a_command_becomes_an_event_becomes_a_row() {
    let running = Running::start(DOMAIN).await;
    let mut commands =
        CounterCommandServiceClient::connect(running.commands.clone()).await.expect("commands");
    let mut queries =
        CounterQueryServiceClient::connect(running.queries.clone()).await.expect("queries");
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let mut token = String::new();
    // The third has the key of the first: it is applied once.
    for (id, by, key) in [(ids[0], 3, "a"), (ids[1], 7, "b"), (ids[0], 3, "a"), (ids[0], 1, "c")] {
        let options = CommandOptions {
            idempotency_key: key.to_owned(),
            token: token.clone(),
            ..Default::default()
        };
        let counter_id = id.to_string();
        let request = IncrementRequest { counter_id, by, options: Some(options) };
        let reply = commands.increment(request).await.expect("counted").into_inner();
        token = reply.receipt.expect("a receipt").token;
    }

    let get =
        |id: Uuid| GetCounterRequest { counter_id: id.to_string(), consistency: at_least(&token) };
    let reply = queries.get_counter(get(ids[0])).await.expect("read").into_inner();
    assert_eq!(reply.counter.expect("a counter").total, 4);
    let missing = queries.get_counter(get(Uuid::now_v7())).await.expect_err("never counted");
    assert_eq!(missing.code(), Code::NotFound);

    let list = |page_token| ListCountersRequest {
        page_size: 1,
        page_token,
        consistency: at_least(&token),
    };
    let first = queries.list_counters(list(String::new())).await.expect("read").into_inner();
    assert_eq!(first.counters[0].total, 7);
    let second = queries.list_counters(list(first.next_page_token)).await.expect("read");
    let second = second.into_inner();
    assert_eq!((second.counters[0].total, second.next_page_token.as_str()), (4, ""));

    let options = None;
    let request = IncrementRequest { counter_id: ids[0].to_string(), by: 999_999, options };
    let full = commands.increment(request).await.expect_err("too much");
    assert_eq!(full.code(), Code::FailedPrecondition);
}
