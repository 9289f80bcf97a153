//! Many commands in one call: what becomes of one says nothing of the others.

use std::time::Duration;

use headwater_command_svc::{CommittedMany, Executor};
use headwater_edge::{
    BatchMetadata, Call, CallOptions, ErrorReason, Failure, KeyHashes, reason_name,
};
use headwater_kernel::{PartitionKey, StreamId, StreamVersion};
use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use crate::loads::{long_stream, slow_down};
use crate::probe::{PATIENCE, Probe, ProbeCommand, Rig, version};

type Read = Result<(Call, ProbeCommand), Failure>;

fn read(id: Uuid, command: ProbeCommand, options: CallOptions) -> Read {
    let (stream, partition_key) = (StreamId(id), PartitionKey(id));
    Ok((Call { stream, partition_key, domain: "probe", options }, command))
}

fn add(id: Uuid) -> Read {
    read(id, ProbeCommand::Add, CallOptions::default())
}

fn with_key(id: Uuid, key: u128) -> Read {
    let hash = |number| Uuid::from_u128(number);
    let key = KeyHashes { key: hash(key), old_key: hash(key), payload: hash(id.as_u128()) };
    read(id, ProbeCommand::Add, CallOptions { key: Some(key), ..CallOptions::default() })
}

fn expecting(id: Uuid, version: u64) -> Read {
    let expected_version = Some(StreamVersion(version));
    read(id, ProbeCommand::Add, CallOptions { expected_version, ..CallOptions::default() })
}

async fn send(executor: &Executor, commands: Vec<Read>, left: Option<Duration>) -> CommittedMany {
    let metadata = BatchMetadata::read(&MetadataMap::new(), left).expect("empty");
    let answered = timeout(PATIENCE, executor.execute_many::<Probe>(&metadata, commands)).await;
    answered.expect("answered in time").expect("the call is well")
}

/// Versions, or the reasons why not.
fn versions(many: CommittedMany) -> Vec<Result<u64, String>> {
    let version = |failure: Failure| failure.reason().to_owned();
    let results = many.results.into_iter();
    results.map(|result| result.map(|one| one.receipt.version.0).map_err(version)).collect()
}

fn failed<T>(reason: &str) -> Result<T, String> {
    Err(reason.to_owned())
}

#[tokio::test]
async fn each_command_has_its_own_result_in_its_place() {
    let rig = Rig::start().await;
    let [a, b, c] = rig.known().await;
    let new = Uuid::now_v7();
    let first = send(&rig.executor, vec![with_key(a, 1), with_key(c, 2)], None).await;
    assert_eq!(versions(first), [Ok(2), Ok(2)]);
    let unread = Err(Failure::new(ErrorReason::InvalidRequest, "not readable"));
    let tell = read(b, ProbeCommand::Tell, CallOptions::default());
    let commands = vec![
        add(b),
        tell,
        unread,
        with_key(a, 1),
        expecting(c, 7),
        with_key(b, 2),
        add(new),
        add(a),
        add(new),
        expecting(a, 3),
    ];
    let many = send(&rig.executor, commands, None).await;
    let replayed: Vec<bool> =
        many.results.iter().map(|one| one.as_ref().is_ok_and(|one| one.replayed)).collect();
    assert_eq!(replayed.iter().position(|replayed| *replayed), Some(3));
    assert_eq!(replayed.iter().filter(|replayed| **replayed).count(), 1);
    // One token proves the last of them.
    let last = many.results.iter().flatten().map(|one| one.receipt.position).max();
    let [token] = &many.tokens[..] else { panic!("one token: {:?}", many.tokens) };
    assert!(last.is_some_and(|last| token.is_covered_by(&[last])));
    assert_eq!(token.positions().map(|(_, position)| position).max(), last);
    let expected = [
        Ok(2),
        failed("SOUND"),
        failed("INVALID_REQUEST"),
        Ok(2),
        failed("VERSION_CONFLICT"),
        failed("IDEMPOTENCY_KEY_REUSED"),
        Ok(1),
        Ok(3),
        Ok(2),
        Ok(4),
    ];
    assert_eq!(versions(many), expected);
}

#[tokio::test]
async fn commands_on_one_aggregate_keep_their_order() {
    let mut rig = Rig::start().await;
    let [id] = rig.known().await;
    // More than an append takes, on a state that has to be loaded first.
    rig.start_again().await;
    let many = send(&rig.executor, (1..=600).map(|version| expecting(id, version)).collect(), None);
    let expected: Vec<_> = (2..=601).map(Ok).collect();
    assert_eq!(versions(many.await), expected);
}

#[tokio::test]
async fn commands_lose_to_others_and_are_decided_again() {
    let rig = Rig::start().await;
    let [id] = rig.known().await;
    // Another process's executor, with states of its own.
    let mut other = Rig::start().await;
    other.postgres = rig.postgres;
    other.start_again().await;
    assert_eq!(version(other.send(id, ProbeCommand::Add).await), Ok(2));
    let many = send(&rig.executor, (0..50).map(|_| add(id)).collect(), None).await;
    let mut found: Vec<u64> = versions(many).into_iter().flatten().collect();
    found.sort_unstable();
    assert_eq!(found, (3..=52).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_command_that_panics_fails_alone() {
    let rig = Rig::start().await;
    let [a, b, c] = rig.known().await;
    let commands =
        [ProbeCommand::PanicInDecide, ProbeCommand::PanicInEvolve, ProbeCommand::PanicInEncode];
    for (round, command) in (2..).zip(commands) {
        let it = read(b, command, CallOptions::default());
        let many = send(&rig.executor, vec![add(a), it, add(c)], None).await;
        assert_eq!(versions(many), [Ok(round), failed("INTERNAL"), Ok(round)]);
    }
}

#[tokio::test]
async fn what_is_not_decided_in_time_is_told_and_the_rest_too() {
    let mut rig = Rig::start().await;
    let slow = long_stream(&mut rig, 50).await;
    // Five seconds of reading.
    slow_down(&mut rig, slow, 0.1).await;
    let [a, b] = rig.known().await;
    let begun = Instant::now();
    let commands = vec![add(a), add(slow), add(b)];
    let many = send(&rig.executor, commands, Some(Duration::from_secs(2))).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let late = reason_name(ErrorReason::DeadlineExceeded);
    assert_eq!(versions(many), [Ok(2), failed(late), Ok(2)]);
}
