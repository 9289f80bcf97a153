//! The program itself: starts, says where it listens, answers, and ends in order.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use common::postgres::Postgres;
use common::service::{at_least, get};
use common::{Projector, eventually, id};
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use rustix::process::{Pid, Signal, kill_process};

struct Process {
    child: Child,
    grpc: String,
    admin: String,
}

impl Process {
    fn start(settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_query-svc"))
            .env_clear()
            .envs(settings.iter().copied())
            .env("HEADWATER_LISTEN", "127.0.0.1:0")
            .env("HEADWATER_ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("headwater-ready {\"program\":\"query-svc\""), "{line:?}");
        let field = |name: &str| {
            let rest = line.split_once(&format!("\"{name}\":\"")).unwrap().1;
            rest.split_once('"').unwrap().0.to_owned()
        };
        let (grpc, admin) = (field("grpc"), field("admin"));
        Self { child, grpc, admin }
    }

    /// What the admin port answers.
    fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_starts_answers_and_ends_in_order() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    let written = projector.open(id(1), "Lakeside").await;
    let url = primary.url("query");
    let mut process = Process::start(&[("HEADWATER_READ_URLS", &url)]);
    eventually("it is ready", async || process.admin("/readyz").contains("200 OK")).await;

    let endpoint = format!("http://{}", process.grpc);
    let mut client = StoreQueryServiceClient::connect(endpoint).await.unwrap();
    let found = client.get_store(get(id(1), at_least(&written))).await.unwrap();
    assert_eq!(found.into_inner().store.unwrap().name, "Lakeside");
    let metrics = process.admin("/metrics");
    for name in ["reads_total", "node_staleness_seconds", "node_breaker_state", "read_batch_keys"] {
        assert!(metrics.contains(&format!("headwater_{name}")), "{name}: {metrics}");
    }

    kill_process(Pid::from_child(&process.child), Signal::TERM).unwrap();
    let mut status = None;
    eventually("it ends", async || {
        status = process.child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success(), "{status:?}");
}

#[test]
fn mistakes_in_the_settings_end_it_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_query-svc"))
        .env_clear()
        .envs([("HEADWATER_READ_URLS", "postgres://q:hunter2@"), ("HEADWATER_PROBE_MS", "x")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("HEADWATER_READ_URLS") && text.contains("HEADWATER_PROBE_MS"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
