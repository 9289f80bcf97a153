//! Panics of the domain's code.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use headwater_chassis::Shutdown;
use headwater_command_svc::{Executor, run};
use headwater_edge::KeyHashes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Code;
use tonic::service::Routes;
use uuid::Uuid;

use crate::probe::{self, Fuse, PATIENCE, ProbeCommand, Rig, version};

/// What becomes of a command that panics and of its neighbours, one before and one after it in the
/// batch, and of the next command of its stream.
async fn neighbours_of(command: ProbeCommand) -> [Result<u64, String>; 4] {
    let rig = Rig::start().await;
    let [before, it, after] = rig.known().await;
    let commands = [(before, ProbeCommand::Add), (it, command), (after, ProbeCommand::Add)];
    let sent = commands.map(|(id, command)| rig.send(id, command));
    let mut answers: Vec<_> = join_all(sent).await.into_iter().map(version).collect();
    answers.push(version(rig.send(it, ProbeCommand::Add).await));
    answers.try_into().expect("four")
}

fn alone() -> [Result<u64, String>; 4] {
    [Ok(2), Err("INTERNAL".to_owned()), Ok(2), Ok(2)]
}

#[tokio::test]
async fn a_panic_in_decide_fails_its_command_alone() {
    assert_eq!(neighbours_of(ProbeCommand::PanicInDecide).await, alone());
}

#[tokio::test]
async fn a_panic_in_evolve_fails_its_command_alone() {
    assert_eq!(neighbours_of(ProbeCommand::PanicInEvolve).await, alone());
}

#[tokio::test]
async fn a_panic_in_encode_fails_its_command_alone() {
    assert_eq!(neighbours_of(ProbeCommand::PanicInEncode).await, alone());
}

#[tokio::test]
async fn a_panic_in_snapshot_fails_no_command() {
    let rig = Rig::start().await;
    let [id, other] = rig.known().await;
    assert_eq!(version(rig.send(id, ProbeCommand::Embrittle).await), Ok(2));
    // The tenth event makes a snapshot due.
    let sent = [rig.send(id, ProbeCommand::Many(10)), rig.send(other, ProbeCommand::Add)];
    let answers: Vec<_> = join_all(sent).await.into_iter().map(version).collect();
    assert_eq!(answers, [Ok(12), Ok(2)]);
    assert_eq!(version(rig.send(id, ProbeCommand::Add).await), Ok(13));
}

/// The process, and the way into its executor.
async fn serve(url: &str) -> (JoinHandle<anyhow::Result<()>>, Arc<Executor>) {
    let (into, executor) = oneshot::channel();
    let routes = |executor: &Arc<Executor>| {
        let _ = into.send(Arc::clone(executor));
        Routes::default()
    };
    let served = run(probe::config(url), &[], Shutdown::new(), routes);
    let served = tokio::spawn(served);
    (served, executor.await.expect("it serves"))
}

#[tokio::test]
async fn a_process_whose_appender_dies_ends_with_an_error() {
    let postgres = probe::postgres().await;
    let (mut served, executor) = serve(&postgres.url()).await;
    let id = Uuid::now_v7();
    let added = probe::send(&executor, (id, None), ProbeCommand::Add).await;
    assert_eq!(version(added), Ok(1));
    // Its sender goes away while it waits, and so it is the appender that drops it.
    let fuse = ProbeCommand::PanicWhenDropped(Fuse);
    let sent = probe::send(&executor, (id, None), fuse).now_or_never();
    assert!(sent.is_none(), "it does not wait");
    // What waits behind it is lost, and nobody can say what has become of it: what has a key may be
    // sent again, and what has none has a code that no policy repeats.
    let key = KeyHashes {
        key: Uuid::from_u128(1),
        old_key: Uuid::from_u128(1),
        payload: Uuid::from_u128(2),
    };
    let lost = [None, Some(key)].map(|key| probe::send(&executor, (id, key), ProbeCommand::Add));
    let told = join_all(lost).await.into_iter().map(|lost| lost.expect_err("no appender"));
    let told: Vec<_> = told.map(|lost| (lost.reason(), lost.code())).collect();
    assert_eq!(told, [("OUTCOME_UNKNOWN", Code::Unknown), ("OUTCOME_UNKNOWN", Code::Unavailable)]);
    drop(executor);
    let ended = timeout(PATIENCE, &mut served).await.expect("the process ends").expect("no panic");
    let error = format!("{:#}", ended.expect_err("an error"));
    assert!(error.contains("an appender died"), "{error}");
}
