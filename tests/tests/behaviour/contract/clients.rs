//! Clients of other makers: the examples, written with the official gRPC client of each language,
//! run their scenario against the router of real processes.
//!
//! A language whose tools are not on this machine is left out, and said so on stdout.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use headwater_tests::harness::{Cluster, Shared, binaries};
use tokio::process::Command;

/// Setting up downloads and compiles; on a busy machine with a slow network that takes minutes. The
/// scenario itself takes seconds, and every call in it has a deadline.
const SET_UP_AND_RUN: Duration = Duration::from_secs(600);
/// What `examples/run.sh` ends with when it finds no tools of the language.
const NO_TOOLS: i32 = 69;
/// The last line of every example.
const WELL: &str = "all as it should be";

#[tokio::test]
async fn python() {
    check("python").await;
}

#[tokio::test]
async fn node() {
    check("node").await;
}

#[tokio::test]
async fn go() {
    check("go").await;
}

#[tokio::test]
async fn java() {
    check("java").await;
}

async fn check(language: &str) {
    let cluster = Cluster::shared(Shared::FourPartitions).await;
    let output = run(language, &cluster.grpc("router").to_string()).await.expect("its end");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(NO_TOOLS) {
        // Past the capture of test output: what was not tested must be seen.
        let _ = writeln!(std::io::stdout(), "NOT TESTED: {}", complained.trim());
        return;
    }
    let well = output.status.success() && said.trim_end().ends_with(WELL);
    assert!(well, "{language}: {}\n{said}\n{complained}", output.status);
    println!("{language}:\n{said}");
    cluster.assert_quiet();
}

/// Runs an example to its end, or kills it with all that it started.
async fn run(language: &str, address: &str) -> anyhow::Result<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    let target = binaries()?.parent().context("target")?.to_owned();
    let mut command = Command::new(root.join("examples/run.sh"));
    command.args([language, address]).env("HEADWATER_CLIENTS", target.join("clients"));
    // A group of its own, so that all of it can be ended.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context("examples/run.sh cannot be run")?;
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    match tokio::time::timeout(SET_UP_AND_RUN, child.wait_with_output()).await {
        Ok(output) => Ok(output?),
        Err(_) => {
            if let Some(group) = group {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
            }
            anyhow::bail!("{language}: not at its end after {SET_UP_AND_RUN:?}")
        }
    }
}
