//! An OTLP collector that keeps what it is sent.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span that has arrived; ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    /// `service.name` of its process.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace it belongs to.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span that caused it; empty for a root.
    pub parent: String,
}

/// Listens on a free port until the runtime ends.
#[derive(Clone, Default)]
pub struct Collector {
    /// Where to send spans to.
    pub endpoint: String,
    received: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let endpoint = format!("http://{address}");
        let collector = Self { endpoint, received: Arc::default() };
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        collector
    }

    /// Everything that has arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(spans);
        self.received.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(sent: ResourceSpans) -> impl Iterator<Item = Span> {
    let attributes = sent.resource.into_iter().flat_map(|resource| resource.attributes);
    let mut names = attributes.filter(|attribute| attribute.key == "service.name");
    let service = match names.next().and_then(|name| name.value?.value) {
        Some(Value::StringValue(name)) => name,
        other => panic!("a process without a name: {other:?}"),
    };
    sent.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| Span {
        service: service.clone(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
