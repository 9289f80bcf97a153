//! The projector as a process: its settings, what it announces, its health, its end.

#[path = "../../../projector/tests/common_pg/mod.rs"]
mod common_pg;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headwater_chassis::Invocation;
use headwater_eventlog::EventLog;
use headwater_projector::config::Config;
use headwater_projector::migrate::migrate;
use rustix::process::{Pid, Signal, kill_process};

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn readyz(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin port");
    let request = "GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

async fn eventually_ready(admin: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !readyz(admin).starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "{}", readyz(admin));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_announces_itself_gets_ready_and_ends_in_order() {
    let server = common_pg::shared();
    let (write_url, read_url) = (server.database().await, server.database().await);
    EventLog::migrate(&write_url, 2).await.expect("a log");
    migrate(&read_url, &headwater_domain_api::projections()).await.expect("a read database");
    let child = Command::new(env!("CARGO_BIN_EXE_projector"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("HEADWATER_WRITE_URL", &write_url)
        .env("HEADWATER_READ_URL", &read_url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = Process(child.expect("started"));
    let mut line = String::new();
    let stdout = process.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let (_, admin) = line.split_once(r#""admin":""#).expect("the announcement");
    let admin = admin.split('"').next().expect("an address").to_owned();
    assert!(line.starts_with(r#"headwater-ready {"program":"projector","grpc":"127.0.0.1:"#));

    eventually_ready(&admin).await;
    assert!(readyz(&admin).contains("sync: ok"));

    kill_process(Pid::from_child(&process.0), Signal::TERM).expect("it runs");
    let status = process.0.wait().expect("ended");
    let mut log = String::new();
    process.0.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    assert!(status.success(), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let vars = [("HEADWATER_POLL_MS", "1"), ("HEADWATER_BATCH_MAX", "many")];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let invocation = Invocation::from_parts("projector", vars, []);
    let mistakes = Config::read(invocation).expect_err("mistakes").to_string();
    for name in
        ["HEADWATER_WRITE_URL", "HEADWATER_READ_URL", "HEADWATER_POLL_MS", "HEADWATER_BATCH_MAX"]
    {
        assert!(mistakes.contains(name), "{mistakes}");
    }
}
