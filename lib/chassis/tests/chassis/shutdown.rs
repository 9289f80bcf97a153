//! Signals and the last deadline. Both end a process, so each runs in a child: this test program,
//! started again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headwater_chassis::Shutdown;

const ROLE: &str = "CHASSIS_TEST_CHILD";
const READY: &str = "the child listens";

/// The child. Without a role it is no test at all.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().unwrap();
        let deadline = match role.as_str() {
            "hangs, short deadline" => Duration::from_millis(200),
            _ => Duration::from_secs(600),
        };
        shutdown.exit_after(deadline);
        println!("\n{READY}");
        shutdown.requested().await;
        println!("\n{READY}");
        while role.starts_with("hangs") {
            std::thread::park();
        }
    });
}

struct Parent {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Parent {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shutdown::child", "--nocapture"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn hear(&mut self) {
        self.lines.find(|line| line.as_ref().unwrap() == READY).expect("the child speaks").unwrap();
    }

    fn send(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        let bound = Instant::now() + Duration::from_secs(10);
        while Instant::now() < bound {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            #[expect(clippy::disallowed_methods, reason = "no runtime here")]
            // tidy: allow sleep: between two looks, within the bound
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("the child did not end");
    }
}

fn check(role: &str, signals: &[&str], code: i32) {
    let mut parent = Parent::start(role);
    for signal in signals {
        parent.hear();
        parent.send(signal);
    }
    assert_eq!(parent.exit_code(), Some(code), "{role}");
}

#[test]
fn a_signal_requests_shutdown() {
    check("ends", &["-TERM"], 0);
    check("ends", &["-INT"], 0);
}

#[test]
fn a_process_that_hangs_exits_at_the_deadline() {
    check("hangs, short deadline", &["-TERM"], 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    check("hangs", &["-INT", "-INT"], 1);
}

#[tokio::test]
async fn a_trigger_is_seen_by_every_clone() {
    let shutdown = Shutdown::new();
    let clone = shutdown.clone();
    assert!(!clone.is_requested());
    shutdown.trigger();
    clone.requested().await;
    assert!(clone.is_requested());
}
