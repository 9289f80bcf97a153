//! The projector against a real Postgres: what it writes, what it parks, what it tells.

mod common_pg;
mod counters;
mod projector_rig;

use std::time::Duration;

use counters::Event;
use headwater_eventlog::Servers;
use headwater_projector::health::Health;
use headwater_projector::lag::LagLimits;
use headwater_projector::watchdog::{LagGauges, Watchdog};
use projector_rig::{OWNERS, Rig, eventually};
use time::OffsetDateTime;
use uuid::Uuid;

async fn projects(partitions: u16) {
    let rig = Rig::new(partitions).await;
    let mut writer = rig.writer().await;
    // A backlog first, then events that come while it runs.
    writer.append_many(400, 30).await;
    let running = rig.run();
    rig.wait_applied(400).await;
    rig.assert_rows(&writer.facts).await;
    for n in 0..20 {
        let facts = [(7, Event::Added(n)), (OWNERS, Event::Named(format!("later {n}")))];
        writer.append(&facts).await;
    }
    rig.wait_applied(440).await;
    rig.assert_rows(&writer.facts).await;
    assert!(rig.sync().0, "{}", rig.sync().1);
    let metrics = rig.metrics.encode();
    assert!(metrics.contains(r#"headwater_applied_events_total{projection="counters"} 440"#));
    assert!(metrics.contains(r#"headwater_projection_leader{projection="counters"} 1"#));
    running.stop().await;
}

#[tokio::test]
async fn rows_are_the_fold_of_the_log_with_one_partition() {
    projects(1).await;
}

#[tokio::test]
async fn rows_are_the_fold_of_the_log_with_four_partitions() {
    projects(4).await;
}

#[tokio::test]
async fn one_database_holds_both_sides() {
    let rig = Rig::new(2).await;
    let url = rig.server.database().await;
    headwater_eventlog::EventLog::migrate(&url, 2).await.expect("a log");
    let projections = std::slice::from_ref(&rig.projection);
    let migrated = headwater_projector::migrate::migrate(&url, projections).await;
    migrated.expect("the read side");
    let rig = Rig { write_url: url.clone(), read_url: url, ..rig };
    let mut writer = rig.writer().await;
    writer.append_many(100, 10).await;
    let running = rig.run();
    rig.wait_applied(100).await;
    rig.assert_rows(&writer.facts).await;
    running.stop().await;
}

#[tokio::test]
async fn rows_are_deleted_and_come_again() {
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    let _running = rig.run();
    writer.append(&[(7, Event::Added(1)), (8, Event::Added(1))]).await;
    rig.wait_applied(2).await;
    writer.append(&[(7, Event::Dropped)]).await;
    rig.wait_applied(3).await;
    let ids = "SELECT counter_id FROM headwater_read.counter";
    let left: Vec<Uuid> = rig.read(ids).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, [Uuid::from_u128(8)]);
    writer.append(&[(7, Event::Added(5))]).await;
    rig.wait_applied(4).await;
    assert_eq!(rig.read(ids).await.len(), 2);
}

async fn as_of(rig: &Rig) -> Option<OffsetDateTime> {
    let rows = rig.read("SELECT as_of FROM headwater_read.checkpoint").await;
    rows.first().map(|row| row.get(0))
}

#[tokio::test]
async fn an_idle_projection_renews_its_time_and_never_sets_it_back() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    let _running = rig.run();
    let mut last = OffsetDateTime::UNIX_EPOCH;
    for round in 0..5 {
        if round == 3 {
            writer.append(&[(7, Event::Added(1))]).await;
            rig.wait_applied(1).await;
        }
        eventually("the time is renewed", async || as_of(&rig).await > Some(last)).await;
        last = as_of(&rig).await.expect("a checkpoint");
    }
    // It is the write database's clock, which on this machine is this one.
    let age = OffsetDateTime::now_utc() - last;
    assert!(age.abs() < time::Duration::seconds(30), "{age}");
}

#[tokio::test]
async fn what_cannot_be_applied_is_parked_and_the_rest_goes_on() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    let running = rig.run();
    let facts = [
        (7, Event::Added(1)),
        (7, Event::Poison),
        (8, Event::Added(1)),
        (9, Event::Garbled),
        (7, Event::Added(2)),
    ];
    writer.append(&facts).await;
    rig.wait_applied(5).await;
    running.stop().await;
    // What is blocked is remembered by the database, not by the process.
    let running = rig.run();
    writer.append(&[(7, Event::Added(4)), (9, Event::Added(1)), (11, Event::Added(1))]).await;
    rig.wait_applied(8).await;
    running.stop().await;

    let query = "SELECT view, row_key, partition, position, error, type_name, folded, stream \
                 FROM headwater_read.parked ORDER BY number";
    let parked: Vec<(String, u128, i64, String)> = rig
        .read(query)
        .await
        .iter()
        .map(|row| {
            assert_eq!(row.get::<_, String>("row_key"), row.get::<_, Uuid>("stream").to_string());
            let stream = row.get::<_, Uuid>("stream").as_u128();
            // Of what it has seen in its own partition, nothing lies between it and the event.
            let partition = row.get::<_, i32>("partition") as usize;
            let position: i64 = row.get("position");
            assert_eq!(row.get::<_, Vec<i64>>("folded")[partition], position - 1);
            (row.get("view"), stream, position, row.get("type_name"))
        })
        .collect();
    let expected = [("counter", 7, 2, "test.Poison"), ("", 9, 3, "test.Garbled")];
    assert_eq!(parked, expected.map(|(v, s, p, t)| (v.to_owned(), s, p, t.to_owned())));
    let totals = "SELECT total FROM headwater_read.counter ORDER BY counter_id";
    let totals: Vec<i64> = rig.read(totals).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(totals, [1, 1, 1], "of 7 as before the poison, of 8 and of 11");
    let bucket = "SELECT total FROM headwater_read.bucket WHERE bucket = 'bucket 1'";
    assert_eq!(rig.read(bucket).await[0].get::<_, i64>(0), 7, "another view goes on with 7");
    let metrics = rig.metrics.encode();
    assert!(metrics.contains(r#"headwater_blocked_rows{projection="counters"} 2"#), "{metrics}");
}

/// The watchdog alone, as if every projector were dead.
#[tokio::test]
async fn a_lag_is_seen_without_a_projector() {
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    writer.append_many(10, 10).await;
    let running = rig.run();
    rig.wait_applied(10).await;
    running.stop().await;
    writer.append_many(20, 10).await;
    let watchdog = |events, age| Watchdog {
        write: Servers::parse(&rig.write_url).expect("a URL"),
        read: Servers::parse(&rig.read_url).expect("a URL"),
        projection: "counters",
        limits: LagLimits { events, age },
        health: Health::new(rig.readiness.clone()),
        gauges: LagGauges::new(&rig.metrics),
    };
    let hour = Duration::from_secs(3_600);
    let cases = [
        (5, hour, Some("20 events behind, over the limit of 5 (HEADWATER_LAG_EVENTS_MAX)")),
        (20, hour, None),
        (20, Duration::ZERO, Some("over the limit of 0.0 s (HEADWATER_LAG_MS_MAX)")),
    ];
    for (events, age, alarm) in cases {
        let watching = tokio::spawn(watchdog(events, age).run());
        eventually("the watchdog says so", async || match (rig.sync(), alarm) {
            ((false, text), Some(alarm)) => text.contains(alarm),
            ((holds, _), None) => holds,
            _ => false,
        })
        .await;
        watching.abort();
    }
    let metrics = rig.metrics.encode();
    let labels = r#"headwater_lag_events{projection="counters",partition="1"}"#;
    let line = metrics.lines().find(|line| line.starts_with(labels)).expect("exported");
    assert_ne!(line.rsplit(' ').next(), Some("0"));
    assert!(metrics.contains(r#"headwater_lag_seconds{projection="counters"}"#));
}
