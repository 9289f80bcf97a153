//! The gRPC server: one stack of layers for every program, on hyper.
//!
//! ```text
//! accept -> connection -> metrics, trace, limit, panic, deadline -> health | reflection | service
//! ```

mod limits;

mod handler;

mod refusals;

mod methods;

mod call;

mod unread;

mod body;

mod request_body;

pub mod health;
mod stack;

mod connections;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::Common;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;
use connections::Connections;
pub use handler::Handler;
pub use limits::{Limits, PAYLOAD_BYTES_MAX};
use methods::Methods;
pub use methods::code_name;
use stack::Stack;

/// Parts of a server.
pub struct Server {
    /// The settings every program has.
    pub common: Common,
    /// Metrics that calls are counted in.
    pub metrics: Metrics,
    /// Readiness that the gRPC health service follows.
    pub readiness: Readiness,
    /// Shutdown that ends the server.
    pub shutdown: Shutdown,
    /// The bound socket.
    pub listener: TcpListener,
    /// Bounds of what it accepts.
    pub limits: Limits,
    /// Descriptor sets of everything it serves: for reflection, and for the method names in
    /// metrics.
    pub descriptors: Vec<&'static [u8]>,
}

impl Server {
    /// With default limits and without descriptor sets.
    pub fn new(
        common: Common,
        metrics: Metrics,
        readiness: Readiness,
        shutdown: Shutdown,
        listener: TcpListener,
    ) -> Self {
        let limits = Limits::default();
        Self { common, metrics, readiness, shutdown, listener, limits, descriptors: Vec::new() }
    }
}

/// Serves until shutdown is requested, then drains: health turns NOT_SERVING, no connection is
/// accepted, calls under way finish. Streams that have not ended after half of the deadline
/// (`common.shutdown`) are ended with UNAVAILABLE (SHUTTING_DOWN); handlers of endless streams
/// should end them sooner, when shutdown is requested.
///
/// The health service (`grpc.health.v1`) and reflection (v1 and v1alpha) are added to the given
/// service, which is `tonic::service::Routes` or any other [`Handler`]. Nothing in it is per
/// process: a program may serve one listener on each of several runtimes, with clones of the same
/// parts.
///
/// # Errors
/// If a descriptor set is malformed, or calls were still under way at nine tenths of the deadline
/// and were cut.
pub async fn serve<S: Handler>(server: Server, service: S) -> anyhow::Result<()> {
    let sets = || server.descriptors.iter().copied().chain([health::DESCRIPTORS]);
    let stack = Stack {
        methods: Arc::new(Methods::new(sets(), &server.metrics)?),
        limits: server.limits,
        traced: server.common.otlp_endpoint.is_some(),
        cut: Arc::new(CancellationToken::new()),
        built_in: built_in(&server.readiness, sets)?,
        service,
    };
    let draining = async {
        server.shutdown.requested().await;
        // First, so that nobody is sent here any more who asks before calling.
        server.readiness.drain();
    };
    let connections = Connections::new(server.limits, Arc::new(stack));
    connections.serve(server.listener, draining, server.common.shutdown).await
}

/// Services that every server answers itself, however loaded it is.
fn built_in<'a, I: Iterator<Item = &'a [u8]>>(
    readiness: &Readiness,
    sets: impl Fn() -> I,
) -> anyhow::Result<Routes> {
    let reflection = || {
        sets().fold(tonic_reflection::server::Builder::configure(), |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
    };
    let services = methods::services(sets())?.into_iter();
    let services = services.map(|name| (name, health::Needs::Everything)).collect();
    let health = health::service(readiness.clone(), services);
    Ok(Routes::new(health)
        .add_service(reflection().build_v1().context("a descriptor set is malformed")?)
        .add_service(reflection().build_v1alpha().context("a descriptor set is malformed")?)
        .prepare())
}

/// Binds a listening socket.
///
/// # Errors
/// If the address is taken or not ours; the error names it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Tells whoever started the process, in one line on standard output, that its sockets are bound
/// and where: `headwater-ready
/// {"program":"router","grpc":"127.0.0.1:50050","admin":"127.0.0.1:9050"}`.
pub fn announce(program: &str, grpc: Option<SocketAddr>, admin: SocketAddr) {
    // Nobody reading is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{}", announcement(program, grpc, admin));
}

#[derive(Serialize)]
struct Sockets<'a> {
    program: &'a str,
    grpc: Option<SocketAddr>,
    admin: SocketAddr,
}

fn announcement(program: &str, grpc: Option<SocketAddr>, admin: SocketAddr) -> String {
    let sockets = serde_json::to_string(&Sockets { program, grpc, admin });
    format!("headwater-ready {}", sockets.expect("names and addresses are JSON"))
}

#[cfg(test)]
mod tests {
    use super::announcement;

    #[test]
    fn announcements_are_one_line_of_json_after_a_word() {
        let (grpc, admin) = (([127, 0, 0, 1], 50050).into(), ([127, 0, 0, 1], 9050).into());
        assert_eq!(
            announcement("router", Some(grpc), admin),
            "headwater-ready \
             {\"program\":\"router\",\"grpc\":\"127.0.0.1:50050\",\"admin\":\"127.0.0.1:9050\"}"
        );
        assert!(announcement("a \"tool\"", None, admin).contains(r#""a \"tool\"""#));
        assert!(announcement("tool", None, admin).contains(r#""grpc":null"#));
    }
}
