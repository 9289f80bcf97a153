//! Loads of streams that are long, slow or damaged.

use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use headwater_edge::{Call, CallOptions};
use headwater_eventlog::SavedSnapshot;
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{PartitionKey, StreamId, StreamVersion};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::probe::{FOLDED, Probe, ProbeCommand, Rig, Stranger, send, send_as, version};

/// A stream of this many events without a snapshot, and an executor that does not know it.
pub async fn long_stream(rig: &mut Rig, events: u64) -> Uuid {
    let id = Uuid::now_v7();
    assert_eq!(version(rig.send(id, ProbeCommand::Embrittle).await), Ok(1));
    let rest = ProbeCommand::Many(events as usize - 1);
    assert_eq!(version(rig.send(id, rest).await), Ok(events));
    rig.start_again().await;
    id
}

/// Makes every event of a stream take so long to read, also one that is not looked for unless it is
/// reached by the index.
pub async fn slow_down(rig: &mut Rig, stream: Uuid, seconds: f64) {
    let sql = format!(
        "ALTER ROLE postgres SET enable_seqscan = off; ALTER ROLE postgres SET enable_sort = off; \
         ALTER ROLE postgres SET enable_bitmapscan = off; ALTER ROLE postgres SET jit = off; ALTER TABLE headwater_log.event RENAME TO stored; \
         CREATE FUNCTION headwater_log.read(stream uuid) RETURNS boolean LANGUAGE plpgsql AS $$ \
         BEGIN IF stream = '{stream}' THEN PERFORM pg_sleep({seconds}); END IF; RETURN true; END $$; \
         CREATE VIEW headwater_log.event AS \
         SELECT * FROM headwater_log.stored WHERE headwater_log.read(stream)"
    );
    rig.postgres.run(&sql).await;
    rig.start_again().await;
}

#[tokio::test]
async fn a_slow_stream_blocks_no_other_and_is_loaded_in_the_end() {
    let mut rig = Rig::start().await;
    let others = rig.known::<20>().await;
    // Five seconds of reading, two thirds more than a step may take.
    let slow = long_stream(&mut rig, 50).await;
    slow_down(&mut rig, slow, 0.1).await;
    let told = Box::pin(rig.send(slow, ProbeCommand::Tell));
    let meanwhile = async {
        let begun = Instant::now();
        let mut longest = Duration::ZERO;
        for id in others {
            let asked = Instant::now();
            assert_eq!(version(rig.send(id, ProbeCommand::Add).await), Ok(2));
            longest = longest.max(asked.elapsed());
            // tidy: allow sleep: spreads the others over the time that the slow one takes
            tokio::time::sleep_until(asked + Duration::from_millis(200)).await;
        }
        (begun.elapsed(), longest)
    };
    let ((took, longest), told) = match select(told, Box::pin(meanwhile)).await {
        Either::Right(others_first) => others_first,
        Either::Left((told, _)) => panic!("the slow one was first: {:?}", version(told)),
    };
    // Longer than one load may take: whatever that does to others has been done by now.
    assert!(took > Duration::from_millis(3_500), "{took:?}");
    assert!(longest < Duration::from_secs(3), "less than a slow step: {longest:?}");
    assert_eq!(version(told.await), Err("BRITTLE".to_owned()));
}

#[tokio::test]
async fn a_sender_that_gives_up_leaves_a_load_that_goes_on() {
    let mut rig = Rig::start().await;
    let slow = long_stream(&mut rig, 50).await;
    slow_down(&mut rig, slow, 0.1).await;
    let mut attempts = 0;
    let told = loop {
        attempts += 1;
        assert!(attempts < 20, "never loaded");
        let sent = rig.send(slow, ProbeCommand::Tell);
        if let Ok(told) = timeout(Duration::from_secs(2), sent).await {
            break told;
        }
    };
    assert!(attempts > 1, "it is not slow");
    assert_eq!(version(told), Err("BRITTLE".to_owned()));
}

#[tokio::test]
async fn a_stream_that_many_wait_for_is_folded_once() {
    let mut rig = Rig::start().await;
    let id = long_stream(&mut rig, 250).await;
    let before = FOLDED.get();
    let sent = (0..100).map(|_| rig.send(id, ProbeCommand::Tell));
    for told in join_all(sent).await {
        assert_eq!(version(told), Err("BRITTLE".to_owned()));
    }
    assert_eq!(FOLDED.get() - before, 250);
}

#[tokio::test]
async fn a_snapshot_counts_if_its_format_is_known() {
    let mut rig = Rig::start().await;
    let id = long_stream(&mut rig, 250).await;
    let events = rig.log.load(&[StreamId(id)], false).await.expect("loaded").remove(0).events;
    for (format, version_of, told) in [(9, 200_u64, "BRITTLE"), (1, 201, "SOUND")] {
        let event = &events[version_of as usize - 1];
        let saved = SavedSnapshot {
            stream: StreamId(id),
            version: event.version,
            position: event.position,
            epoch: rig.log.info().epoch,
            command_id: event.command_id,
            aggregate: "probe".to_owned(),
            snapshot: Snapshot { format, state: version_of.to_be_bytes().to_vec() },
        };
        rig.log.save_snapshots(&[saved]).await.expect("saved");
        rig.start_again().await;
        assert_eq!(version(rig.send(id, ProbeCommand::Tell).await), Err(told.to_owned()));
    }
    assert_eq!(version(rig.send(id, ProbeCommand::Add).await), Ok(251));
}

#[tokio::test]
async fn a_stream_is_loaded_for_commands_of_two_types_at_a_time() {
    let mut rig = Rig::start().await;
    let id = long_stream(&mut rig, 200).await;
    for stranger_first in [true, false] {
        rig.start_again().await;
        let told = async || version(rig.send(id, ProbeCommand::Tell).await);
        let foreign = async || version(send_as::<Stranger>(&rig.executor, (id, None), ()).await);
        let (told, foreign) = match stranger_first {
            true => {
                let (foreign, told) = tokio::join!(foreign(), told());
                (told, foreign)
            }
            false => tokio::join!(told(), foreign()),
        };
        assert_eq!(told, Err("BRITTLE".to_owned()));
        assert_eq!(foreign, Err("INVALID_REQUEST".to_owned()));
    }
}

#[tokio::test]
async fn a_stream_with_a_gap_is_not_decided_on() {
    let mut rig = Rig::start().await;
    let [other] = rig.known().await;
    let id = long_stream(&mut rig, 5).await;
    let delete = format!("DELETE FROM headwater_log.event WHERE stream = '{id}' AND version = 3");
    rig.postgres.run(&delete).await;
    let sent = [rig.send(id, ProbeCommand::Add), rig.send(other, ProbeCommand::Add)];
    let answers: Vec<_> = join_all(sent).await.into_iter().map(version).collect();
    assert_eq!(answers, [Err("DATA_CORRUPT".to_owned()), Ok(2)]);
}

#[tokio::test]
async fn what_another_process_appended_is_read_on_from_what_is_known() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    // Brittle, so that no snapshot makes it short.
    let id = Uuid::now_v7();
    assert_eq!(version(rig.send(id, ProbeCommand::Embrittle).await), Ok(1));
    assert_eq!(version(rig.send(id, ProbeCommand::Many(99)).await), Ok(100));
    let told = send(&other, (id, None), ProbeCommand::Tell).await;
    assert_eq!(version(told), Err("BRITTLE".to_owned()));

    assert_eq!(version(rig.send(id, ProbeCommand::Add).await), Ok(101));
    FOLDED.set(0);
    // Decided on version 100 in vain, and again.
    assert_eq!(version(send(&other, (id, None), ProbeCommand::Add).await), Ok(102));
    assert_eq!(FOLDED.get(), 3, "what it decided twice, and version 101");

    assert_eq!(version(rig.send(id, ProbeCommand::Add).await), Ok(103));
    FOLDED.set(0);
    // The client has seen that there is more.
    let added = other.execute::<Probe>(seen(id, 103), ProbeCommand::Add).await;
    assert_eq!(version(added), Ok(104));
    assert_eq!(FOLDED.get(), 2, "what it decided once, and version 103");
}

#[tokio::test]
async fn what_another_process_appended_to_many_streams_is_read_by_one_statement() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    let streams = rig.known::<30>().await;
    for id in streams {
        assert_eq!(version(send(&other, (id, None), ProbeCommand::Add).await), Ok(2));
    }
    let added = join_all(streams.map(|id| rig.send(id, ProbeCommand::Add))).await;
    assert!(added.into_iter().all(|added| version(added) == Ok(3)));
    // No stream can be loaded by itself.
    rig.postgres.run("ALTER TABLE headwater_log.stream_snapshot RENAME TO away").await;
    let call = |id| other.execute::<Probe>(seen(id, 3), ProbeCommand::Add);
    for added in join_all(streams.map(call)).await {
        assert_eq!(version(added), Ok(4));
    }
    rig.postgres.run("ALTER TABLE headwater_log.away RENAME TO stream_snapshot").await;
    // A version that nobody has come to is looked for, and in conflict.
    let refused = other.execute::<Probe>(seen(streams[0], 9), ProbeCommand::Add).await;
    assert_eq!(version(refused), Err("VERSION_CONFLICT".to_owned()));
}

/// A command on a stream whose sender has seen this version of it.
fn seen(id: Uuid, version: u64) -> Call {
    let expected_version = Some(StreamVersion(version));
    Call {
        stream: StreamId(id),
        partition_key: PartitionKey(id),
        domain: "probe",
        options: CallOptions { expected_version, ..CallOptions::default() },
    }
}
