//! One trace leads from a client's call through the router and the command service to the
//! projection that applied its event, and from a query to the service that answered it: seen by a
//! real OTLP collector in this process. Without a collector configured nothing is exported, and the
//! client's own trace still reaches the event.

mod collector;

use std::time::Duration;

use headwater_cli::local::connect;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_domain_proto::stores::v1::{GetStoreRequest, OpenStoreRequest, OpenStoreResponse};
use headwater_proto::headwater::v1::Consistency;
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_tests::harness::{Cluster, Kind, Options, eventually};
use tonic::Request;

use collector::{Collector, Span};

/// Spans are sent in batches, every tenth of a second here.
const SOON: Duration = Duration::from_secs(20);
const PROGRAMS: [Kind; 4] = [Kind::Router, Kind::CommandSvc, Kind::QuerySvc, Kind::Projector];

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CLIENT_SPAN}-{flags}")
}

async fn cluster(variables: &[(&str, &str)]) -> Cluster {
    let options = Options { replicas: 0, ..Options::default() };
    let options = PROGRAMS.into_iter().fold(options, |options, program| {
        variables.iter().fold(options, |options, (name, value)| options.set(program, name, value))
    });
    Cluster::start(options).await.expect("a cluster")
}

fn traced<T>(message: T, traceparent: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", traceparent.parse().expect("ascii"));
    request
}

/// Opens a store through the router.
async fn open(cluster: &Cluster, traceparent: &str) -> OpenStoreResponse {
    let request = OpenStoreRequest {
        name: "Corner".to_owned(),
        city: "Kiel".to_owned(),
        currency: "EUR".to_owned(),
        ..Default::default()
    };
    let mut client = StoreCommandServiceClient::new(cluster.router());
    client.open_store(traced(request, traceparent)).await.expect("it opens").into_inner()
}

/// Reads it once it has been projected, through the router.
async fn get(cluster: &Cluster, opened: &OpenStoreResponse, traceparent: &str) {
    let token = opened.receipt.as_ref().expect("a receipt").token.clone();
    let consistency =
        Consistency { requirement: Some(Requirement::AtLeast(token)), ..Default::default() };
    let store_id = opened.store_id.clone();
    let request = GetStoreRequest { store_id, consistency: Some(consistency) };
    let mut client = StoreQueryServiceClient::new(cluster.router());
    client.get_store(traced(request, traceparent)).await.expect("it is there");
}

/// The traces that the log's events carry.
async fn stored(cluster: &Cluster) -> Vec<Option<String>> {
    let client = connect(&cluster.write_owner_url()).await.expect("the log");
    let sql = "SELECT traceparent FROM headwater_log.event ORDER BY position";
    let rows = client.query(sql, &[]).await.expect("events");
    rows.iter().map(|row| row.get(0)).collect()
}

/// The one span of a service in the trace whose parent is this span.
fn child_of<'a>(spans: &'a [Span], service: &str, parent: &str) -> Result<&'a Span, String> {
    let mut of_service = spans.iter().filter(|span| span.service == service);
    let child = of_service.find(|span| span.trace == TRACE && span.parent == parent);
    child.ok_or_else(|| format!("{service} has no span below {parent}: {spans:#?}"))
}

#[tokio::test]
async fn one_trace_goes_from_the_router_to_the_projection() {
    let collector = Collector::start().await;
    let cluster = cluster(&[
        ("HEADWATER_OTLP_ENDPOINT", &collector.endpoint),
        ("HEADWATER_TRACE_RATIO", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await;
    let opened = open(&cluster, &traceparent("01")).await;
    get(&cluster, &opened, &traceparent("01")).await;

    eventually(SOON, || async {
        let spans = collector.spans();
        let (commands, queries): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|span| !span.name.contains("GetStore"));
        let routed = child_of(&commands, "router", CLIENT_SPAN)?;
        let executed = child_of(&commands, "command-svc", &routed.id)?;
        child_of(&commands, "projector", &executed.id)?;
        let routed = child_of(&queries, "router", CLIENT_SPAN)?;
        child_of(&queries, "query-svc", &routed.id).map(|_| ())
    })
    .await;
    let stored = stored(&cluster).await;
    let [Some(stored)] = stored.as_slice() else { panic!("one traced event: {stored:?}") };
    assert!(stored.starts_with(&format!("00-{TRACE}-")) && !stored.contains(CLIENT_SPAN));
}

#[tokio::test]
async fn a_client_that_does_not_record_is_followed() {
    let collector = Collector::start().await;
    let cluster = cluster(&[
        ("HEADWATER_OTLP_ENDPOINT", &collector.endpoint),
        ("HEADWATER_TRACE_RATIO", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await;
    let opened = open(&cluster, &traceparent("00")).await;
    get(&cluster, &opened, &traceparent("00")).await;
    stop(&cluster).await;
    let ours: Vec<_> = collector.spans().into_iter().filter(|span| span.trace == TRACE).collect();
    assert!(ours.is_empty(), "recorded all the same: {ours:#?}");
}

#[tokio::test]
async fn without_a_collector_nothing_is_sent_and_the_clients_trace_is_kept() {
    let collector = Collector::start().await;
    // What other programs on the same machine may have been told must not wake our exporter.
    let cluster = cluster(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)]).await;
    let opened = open(&cluster, &traceparent("01")).await;
    get(&cluster, &opened, &traceparent("01")).await;
    assert_eq!(stored(&cluster).await, [Some(traceparent("01"))]);
    stop(&cluster).await;
    let sent = collector.spans();
    assert!(sent.is_empty(), "sent: {sent:#?}");
}

/// Ends all programs, each of which sends the spans that it still holds.
async fn stop(cluster: &Cluster) {
    for program in ["router", "query-svc", "projector", "command-svc"] {
        assert!(cluster.stop(program).await, "{program} did not end by itself");
    }
}
