//! Copies of the echo service that can be killed, restarted and sent away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::echo::{Echo, Seen};

/// A running copy. tonic's services on hyper's server, as the chassis runs them: without the
/// deadline that tonic's own server enforces, so that a test sees who does.
pub struct Copy {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    routes: Routes,
    health: HealthReporter,
    streams_max: u32,
    life: Life,
}

#[derive(Clone, Default)]
struct Life {
    tasks: TaskTracker,
    /// Cuts every connection.
    killed: CancellationToken,
    /// Asks every connection there is to go.
    leaving: Arc<Mutex<CancellationToken>>,
}

impl Life {
    fn leaving(&self) -> CancellationToken {
        self.leaving.lock().unwrap().clone()
    }
}

impl Copy {
    pub async fn start(name: &'static str) -> Copy {
        Copy::start_with(name, 200).await
    }

    /// With a bound on the streams of one connection.
    pub async fn start_with(name: &'static str, streams_max: u32) -> Copy {
        let seen = Arc::<Seen>::default();
        let (health, service) = tonic_health::server::health_reporter();
        let routes = Routes::new(service);
        let routes = routes.add_service(Echo { name, seen: seen.clone() }).prepare();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let life = Life::default();
        let copy = Copy { address, seen, routes, health, streams_max, life };
        copy.listen(listener);
        copy
    }

    fn listen(&self, listener: TcpListener) {
        let routes = self.routes.clone();
        let life = self.life.clone();
        let streams_max = self.streams_max;
        let seen = self.seen.clone();
        self.life.tasks.spawn(async move {
            let accepting = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let served = serve(stream, routes.clone(), life.leaving(), streams_max);
                    let (killed, mut deaths) = (life.killed.clone(), seen.deaths.subscribe());
                    life.tasks.spawn(async move {
                        tokio::select! {
                            () = served => {}
                            () = killed.cancelled() => {}
                            _ = deaths.changed() => {}
                        }
                    });
                }
            };
            life.killed.run_until_cancelled(accepting).await;
        });
    }

    /// The process dies: its connections break, its port is closed.
    pub async fn kill(&self) {
        self.life.killed.cancel();
        self.life.tasks.close();
        self.life.tasks.wait().await;
    }

    /// And another one takes its place.
    pub async fn restart(&mut self) {
        self.life = Life::default();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    /// Says goodbye on every connection there is, and goes on accepting new ones.
    pub fn send_away(&self) {
        std::mem::take(&mut *self.life.leaving.lock().unwrap()).cancel();
    }

    /// How many there are to it.
    pub fn connections(&self) -> usize {
        self.life.tasks.len() - 1
    }

    pub async fn set_serving(&self, serving: bool) {
        let status = match serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.health.set_service_status("", status).await;
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.life.killed.cancel();
    }
}

async fn serve(stream: TcpStream, routes: Routes, leaving: CancellationToken, streams_max: u32) {
    stream.set_nodelay(true).unwrap();
    let service = ServiceBuilder::new()
        .map_request(|request: http::Request<hyper::body::Incoming>| {
            request.map(tonic::body::Body::new)
        })
        .service(routes)
        .boxed_clone();
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol.max_concurrent_streams(streams_max);
    let service = TowerToHyperService::new(service);
    let mut connection = std::pin::pin!(protocol.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut connection => {}
        () = leaving.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
