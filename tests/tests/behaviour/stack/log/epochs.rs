//! Epochs: a promotion, a restore, and a log of the version before them.

use std::time::Duration;

use headwater_eventlog::{Appender, EventLog, Heads, LogError, Outcome, Receipt};
use headwater_kernel::{Epoch, Lineage, Partition, Position, Token, TokenMismatch, Tokens};
use headwater_tests::harness::{Cluster, Options, Standby, eventually};
use sqlx::{Connection as _, PgConnection};

use super::{P0, append, command, connect, fresh_database, fresh_log, stream, with_key};

const P1: Partition = Partition(1);
/// Connections that broke are made anew at once; this allows for a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn positions(lineage: &Lineage) -> Vec<(Epoch, Vec<u64>)> {
    let start = |start: &headwater_kernel::EpochStart| {
        (start.epoch, start.positions.iter().map(|position| position.0).collect())
    };
    lineage.starts().iter().map(start).collect()
}

/// Appends one event to a new stream, and is told of the new epoch first.
async fn append_after_a_fork(appender: &mut Appender) -> Receipt {
    let commands = [command(stream(), 0, 1)];
    let refused = appender.append(&commands).await.expect_err("of another epoch");
    assert!(matches!(refused, LogError::NewEpoch), "{refused}");
    committed(appender.append(&commands).await.expect("appended"))
}

fn committed(outcomes: Vec<Outcome>) -> Receipt {
    match outcomes[..] {
        [Outcome::Committed(receipt)] => receipt,
        _ => panic!("{outcomes:?}"),
    }
}

fn token(log: &EventLog, epoch: Epoch, positions: &[u64]) -> Tokens {
    let positions: Vec<Position> = positions.iter().copied().map(Position).collect();
    Tokens::from(Token::of_positions(log.info().id, epoch, &positions))
}

async fn node() -> (Cluster, String) {
    let options =
        Options { single_database: true, replicas: 0, partitions: 2, ..Options::databases_only() };
    let cluster = Cluster::start(options).await.expect("a node");
    let name = cluster.log_node().to_owned();
    (cluster, name)
}

/// The log of a node that was just started again: the first connections may find the old ones'
/// server gone.
async fn heads(log: &EventLog) -> Heads {
    eventually(SOON, || log.heads()).await
}

/// A write database fails over to a standby that lacks its last events. Nobody has to say so: the
/// first who appends begins a new epoch, exactly one of all that do so at once, and it forks off
/// where the standby ended. A standby that nobody has promoted says nothing of the log's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_begins_an_epoch() {
    let (cluster, name) = node().await;
    let url = cluster.command_url();
    let open = || async { EventLog::connect(&url, 2).await.expect("connected") };
    let before = open().await;
    let mut old = before.appender(P0);
    let kept = [with_key(command(stream(), 0, 3), 1, 1)];
    assert_eq!(append(&mut old, &kept).await, ["committed v3 at 3"]);
    assert_eq!(
        append(&mut before.appender(P1), &[command(stream(), 0, 1)]).await,
        ["committed v1 at 1"]
    );
    let first = before.lineage().epoch();
    let (standby, other) = (cluster.standby_of(&name).await, cluster.standby_of(&name).await);
    let (standby, other) = (standby.expect("a standby"), other.expect("another one"));
    assert_eq!(append(&mut old, &[command(stream(), 0, 2)]).await, ["committed v2 at 5"]);
    let lost = before.end().await.expect("the end").token;

    // Appenders of several programs, made before and not connected yet.
    let mut programs = Vec::new();
    for _ in 0..4 {
        programs.push(open().await);
    }
    let appenders = programs.iter().flat_map(|log| [log.appender(P0), log.appender(P1)]);
    let mut appenders: Vec<Appender> = appenders.collect();
    cluster.put_in_place(standby).await.expect("in its place");
    let log = &programs[0];
    for _ in 0..3 {
        let told = log.heads().await.expect_err("a standby");
        assert!(matches!(told, LogError::Unavailable(_)), "{told}");
    }
    let told = log.read(P0, &headwater_eventlog::Head::START, 10).await.expect_err("a standby");
    assert!(matches!(told, LogError::Unavailable(_)), "{told}");
    assert!(log.follow_epoch().await.is_err() && log.read_lineage().await.is_err());
    cluster.promote(&name).await.expect("promoted");

    // Promoted, and no epoch begun: the end is not known, since its positions would be of the old.
    for log in &programs {
        assert_eq!(heads(log).await.epoch, first);
    }
    assert!(log.end().await.is_err());
    let appended = appenders.iter_mut().map(append_after_a_fork);
    let receipts = futures_util::future::join_all(appended).await;
    let lineage = log.read_lineage().await.expect("read");
    let epoch = lineage.epoch();
    assert_eq!(positions(&lineage), [(first, vec![0, 0]), (epoch, vec![3, 1])]);
    assert!(epoch > first && receipts.iter().all(|receipt| receipt.epoch == epoch));
    let mut places: Vec<(u16, u64)> =
        receipts.iter().map(|r| (r.partition.0, r.position.0)).collect();
    places.sort_unstable();
    assert_eq!(places, [(0, 4), (0, 5), (0, 6), (0, 7), (1, 2), (1, 3), (1, 4), (1, 5)]);
    let end = log.end().await.expect("the end");
    assert_eq!((end.token.epoch, end.epochs), (epoch, vec![first, epoch]));
    assert_eq!(heads(log).await.epoch, epoch);

    // What was lost is refused, what was kept is not; a key found again is of the log as it is now.
    assert_eq!(lineage.settle(&Tokens::from(lost)), Err(TokenMismatch::Lost));
    assert!(lineage.settle(&token(log, first, &[3, 1])).is_ok());
    let replayed = appenders[0].append(&kept).await.expect("appended");
    let [Outcome::Replayed(receipt)] = replayed[..] else { panic!("{replayed:?}") };
    assert_eq!((receipt.epoch, receipt.position), (epoch, Position(3)));
    assert_eq!(timeline(&cluster).await, "00000002");

    another_copy(&cluster, other, (first, epoch)).await;
}

/// Another standby of the first one is promoted, which has never seen this one: its timeline has
/// the same number. Its epoch must not, or tokens of two histories would be taken for one.
async fn another_copy(cluster: &Cluster, other: Standby, (first, epoch): (Epoch, Epoch)) {
    cluster.put_in_place(other).await.expect("in its place");
    cluster.promote(cluster.log_node()).await.expect("promoted");
    let log = EventLog::connect(&cluster.command_url(), 2).await.expect("connected");
    let another = log.follow_epoch().await.expect("begun");
    assert_eq!(timeline(cluster).await, "00000002");
    assert_eq!(positions(&another), [(first, vec![0, 0]), (another.epoch(), vec![3, 1])]);
    assert_ne!(another.epoch(), epoch);
    assert!(another.settle(&token(&log, epoch, &[4])).is_err());
    assert_eq!(log.follow_epoch().await.expect("done"), another, "once");
}

async fn timeline(cluster: &Cluster) -> String {
    let mut connection = connect(&cluster.superuser_url(cluster.log_node())).await;
    let query = "SELECT timeline FROM headwater_log.log";
    sqlx::query_scalar(query).fetch_one(&mut connection).await.expect(query)
}

/// An operator restored the log: tokens count up to where it ends at that moment.
#[tokio::test]
async fn an_operator_begins_an_epoch() {
    let log = fresh_log(2).await;
    let mut appender = log.appender(P0);
    append(&mut appender, &[command(stream(), 0, 2)]).await;
    let before = log.info().epoch;
    let after = EventLog::start_epoch(&log.url).await.expect("begun").epoch;
    let receipt = append_after_a_fork(&mut appender).await;
    assert_eq!((receipt.epoch, receipt.position), (after, Position(3)));
    let again = EventLog::start_epoch(&log.url).await.expect("begun").epoch;
    assert!(before < after && after < again);
    let lineage = log.read_lineage().await.expect("read");
    let starts = vec![(before, vec![0, 0]), (after, vec![2, 0]), (again, vec![3, 0])];
    assert_eq!(positions(&lineage), starts);
    let worth = |epoch, positions: &[u64]| lineage.settle(&token(&log, epoch, positions)).is_ok();
    assert!(worth(before, &[2]) && worth(after, &[3]) && worth(again, &[9]));
    assert!(!worth(before, &[3]) && !worth(after, &[4]) && !worth(before, &[0, 1]));
}

/// A program appends while another one begins the epoch, again and again: no receipt ever carries
/// an epoch that its position is not of, and nobody waits for the other in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_begins_between_appends() {
    let log = fresh_log(2).await;
    let writers = [P0, P1, P0].map(|partition| {
        let log = log.log.clone();
        tokio::spawn(async move {
            let (mut appender, mut receipts) = (log.appender(partition), Vec::new());
            while receipts.len() < 60 {
                match appender.append(&[command(stream(), 0, 1)]).await {
                    Ok(outcomes) => receipts.push(committed(outcomes)),
                    Err(error) => assert!(matches!(error, LogError::NewEpoch), "{error}"),
                }
            }
            receipts
        })
    });
    let starter = async {
        for _ in 0..8 {
            EventLog::start_epoch(&log.url).await.expect("begun");
        }
    };
    let (receipts, ()) = tokio::join!(futures_util::future::join_all(writers), starter);
    let lineage = log.read_lineage().await.expect("read");
    for receipt in receipts.into_iter().flat_map(|written| written.expect("no panic")) {
        let index = usize::from(receipt.partition.0);
        let begun = |at: &&headwater_kernel::EpochStart| at.positions[index] < receipt.position;
        let of = lineage.starts().iter().filter(begun).map(|start| start.epoch).max();
        assert_eq!(of, Some(receipt.epoch), "{receipt:?}");
    }
}

/// A log of version 1, in its third epoch, is brought up to date: it goes on where it was, and
/// tokens of the epochs before, of which nothing is known, stay refused.
#[tokio::test]
async fn a_log_of_the_version_before_goes_on() {
    let url = fresh_database().await;
    let mut connection: PgConnection = connect(&url).await;
    let old = concat!(
        include_str!("../../../../../lib/eventlog/sql/schema_1.sql"),
        "INSERT INTO headwater_log.log (id, epoch, partitions, schema_version)
         VALUES ('00000000-0000-0000-0000-000000000007', 3, 2, 1);
         INSERT INTO headwater_log.head (partition, position) VALUES (0, 0), (1, 0);
         CREATE FUNCTION headwater_log.append(
             smallint, uuid[], bigint[], integer[], uuid[], uuid[], boolean[], uuid[], bigint[],
             uuid[], bigint[], text[], smallint[], bytea[], uuid[], text[], text[], bytea,
             integer[], text[], text[], boolean, OUT first bigint, OUT recorded bigint)
         LANGUAGE sql AS 'SELECT 0::bigint, 0::bigint'"
    );
    sqlx::raw_sql(old).execute(&mut connection).await.expect("an old log");
    let refused = EventLog::connect(&url, 1).await.expect_err("an old log");
    assert!(refused.to_string().contains("headwater migrate"), "{refused}");

    EventLog::migrate(&url, 2).await.expect("migrated");
    EventLog::migrate(&url, 2).await.expect("migrated again");
    let log = EventLog::connect(&url, 2).await.expect("connected");
    let commands = [command(stream(), 0, 2)];
    let receipt = committed(log.appender(P0).append(&commands).await.expect("appended"));
    assert_eq!((receipt.epoch, receipt.position), (Epoch(3), Position(2)));
    let lineage = log.read_lineage().await.expect("read");
    assert_eq!(positions(&lineage), [(Epoch(3), vec![0, 0])]);
    assert!(lineage.settle(&token(&log, Epoch(3), &[2])).is_ok());
    assert_eq!(lineage.settle(&token(&log, Epoch(2), &[1])), Err(TokenMismatch::Lost));
    connection.close().await.expect("closed");
}
