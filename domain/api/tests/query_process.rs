//! The program itself: starts, says where it listens, answers, and ends in order.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::postgres::Postgres;
use common::service::{at_least, get, reason};
use common::{Projector, eventually, id, token};
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

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

/// Reads that want a state which does not come.
const FLOOD: usize = 6_000;
/// Reads that may wait at once, by default.
const WAITING_MAX: usize = 2_048;

/// More reads wait for what does not come than a server admits calls. Those for which there is no
/// place are told so at once; whoever asks for nothing is answered as before, also while the state
/// of the nodes changes all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_wait_take_nothing_from_those_that_do_not() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    projector.open(id(1), "Lakeside").await;
    let url = primary.url("query");
    let process =
        Process::start(&[("HEADWATER_READ_URLS", &url), ("HEADWATER_WAIT_MS_MAX", "60000")]);
    eventually("it is ready", async || process.admin("/readyz").contains("200 OK")).await;
    // As by commits all the while.
    let commits = async |projector: &mut Projector| loop {
        projector.open(id(2), "Hillside").await;
    };
    let client = async || {
        let endpoint = format!("http://{}", process.grpc);
        StoreQueryServiceClient::connect(endpoint).await.unwrap()
    };
    let reader = client().await;
    let measured = async |projector: &mut Projector| {
        tokio::select! {
            rate = best_rate(&reader) => rate,
            () = commits(projector) => unreachable!(),
        }
    };
    let alone = measured(&mut projector).await;

    let refused = Arc::new(AtomicUsize::new(0));
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..FLOOD / 1_500 {
        let client = client().await;
        for _ in 0..1_500 {
            let (mut client, refused) = (client.clone(), Arc::clone(&refused));
            flood.spawn(async move {
                let asked = get(id(1), at_least(&token(u64::MAX / 2)));
                let status = client.get_store(asked).await.unwrap_err();
                assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE", "{status:?}");
                let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
                assert!(retry.is_some_and(|delay| !delay.is_zero()), "{status:?}");
                refused.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
    eventually("those without a place have been told", async || {
        refused.load(Ordering::SeqCst) == FLOOD - WAITING_MAX
    })
    .await;
    assert!(process.admin("/metrics").contains(&format!("headwater_reads_waiting {WAITING_MAX}")));
    assert!(process.admin("/metrics").contains("headwater_grpc_in_flight 0"));
    let beside = measured(&mut projector).await;
    println!("{alone:.0} reads/s alone, {beside:.0} beside: {:.2}", beside / alone);
    assert!(beside >= 0.7 * alone, "{beside} reads/s beside those that wait, {alone} alone");
    assert_eq!(refused.load(Ordering::SeqCst), FLOOD - WAITING_MAX, "the others wait on");
}

/// The best of several seconds: what else runs on the machine makes single ones slow.
async fn best_rate(client: &StoreQueryServiceClient<Channel>) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..6 {
        best = best.max(rate(client).await);
    }
    best
}

/// Reads a second of eight clients that ask for nothing; each of them is answered.
async fn rate(client: &StoreQueryServiceClient<Channel>) -> f64 {
    let begun = Instant::now();
    let clients = (0..8).map(|_| async {
        let (mut client, mut count) = (client.clone(), 0_u32);
        while begun.elapsed() < Duration::from_secs(1) {
            client.get_store(get(id(1), None)).await.unwrap();
            count += 1;
        }
        count
    });
    let counts = futures_util::future::join_all(clients).await;
    f64::from(counts.iter().sum::<u32>()) / begun.elapsed().as_secs_f64()
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
