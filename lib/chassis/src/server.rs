//! The gRPC server: one stack of layers for every program, on hyper.
//!
//! ```text
//! accept -> connection -> [trace, metrics, panic, deadline, limit] -> health | reflection | the program's service
//! ```

mod body;
mod call;
mod connections;
mod deadline;
mod health;
mod limits;
mod methods;
mod stack;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::config::Common;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;
pub use deadline::grpc_timeout;
pub use limits::{Limits, PAYLOAD_BYTES_MAX};

/// What a server needs.
pub struct Server {
    /// The settings every program has.
    pub common: Common,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// What the gRPC health service follows.
    pub readiness: Readiness,
    /// What ends the server.
    pub shutdown: Shutdown,
    /// The bound socket.
    pub listener: TcpListener,
    /// What it accepts at most.
    pub limits: Limits,
    /// Descriptor sets of everything it serves: for reflection, and for the method names in metrics.
    pub descriptors: Vec<&'static [u8]>,
}

impl Server {
    /// With default limits and Headwater's descriptor set.
    pub fn new(
        common: Common,
        metrics: Metrics,
        readiness: Readiness,
        shutdown: Shutdown,
        listener: TcpListener,
    ) -> Self {
        let descriptors = vec![headwater_proto::FILE_DESCRIPTOR_SET];
        let limits = Limits::default();
        Self { common, metrics, readiness, shutdown, listener, limits, descriptors }
    }
}

/// A service that can stand behind the stack: [`Routes`], or one that answers every path itself.
pub trait Handler:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Serves until shutdown is requested, then drains: health turns NOT_SERVING, no connection is accepted, calls under
/// way finish. Streams that have not ended after half of the deadline are ended with UNAVAILABLE (SHUTTING_DOWN).
///
/// The health service (`grpc.health.v1`) and reflection (v1 and v1alpha) are added to the given service.
///
/// # Errors
/// If a descriptor set is malformed, or calls were still under way at the deadline (`common.shutdown`) and were cut.
pub async fn serve<S: Handler>(server: Server, service: S) -> anyhow::Result<()> {
    let built_in = built_in(&server)?;
    let stack = Arc::new(stack::Stack::new(&server, built_in, service)?);
    let readiness = server.readiness.clone();
    let draining = async {
        server.shutdown.requested().await;
        readiness.drain();
    };
    let connections = connections::Connections::new(server.limits, stack);
    connections.serve(server.listener, draining, server.common.shutdown).await
}

/// What every server answers itself, however loaded it is.
fn built_in(server: &Server) -> anyhow::Result<Routes> {
    let sets = || server.descriptors.iter().copied().chain([health::DESCRIPTORS]);
    let reflection = || {
        sets().fold(tonic_reflection::server::Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
    };
    let health = health::service(server.readiness.clone(), &methods::services(sets())?);
    Ok(Routes::new(health)
        .add_service(reflection().build_v1().context("a descriptor set is malformed")?)
        .add_service(reflection().build_v1alpha().context("a descriptor set is malformed")?)
        .prepare())
}

/// Binds a listening socket, on the tokio runtime.
///
/// # Errors
/// If the address is taken or not ours; the error names it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Tells whoever started the process, in one line on standard output, that its sockets are bound and where:
/// `headwater-ready {"program":"router","grpc":"127.0.0.1:50050","admin":"127.0.0.1:9050"}`.
pub fn announce(program: &str, grpc: Option<SocketAddr>, admin: SocketAddr) {
    // Nobody reading is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{}", announcement(program, grpc, admin));
}

fn announcement(program: &str, grpc: Option<SocketAddr>, admin: SocketAddr) -> String {
    let quoted = |address: SocketAddr| format!("\"{address}\"");
    let grpc = grpc.map_or_else(|| "null".to_owned(), quoted);
    format!("headwater-ready {{\"program\":\"{program}\",\"grpc\":{grpc},\"admin\":\"{admin}\"}}")
}
