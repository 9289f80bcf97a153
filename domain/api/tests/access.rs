//! Every access to the read databases is opened with one flag, which alone chooses the node; what
//! is read in one transaction is of one snapshot, and dated by the checkpoint in it.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::postgres::{Postgres, url};
use common::proxy::Proxy;
use common::service::Service;
use common::{Cluster, EPOCH, LOG, Projector, eventually, id};
use headwater_domain_api::PROJECTION;
use headwater_edge::{Need, Required};
use headwater_kernel::{Access, Consistency, NodeRole, Position, Token};
use headwater_query_svc::{CONNECTED_MAX, NodeError, ReadError, Statement, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};

const SELDOM: Duration = Duration::from_secs(3_600);

/// Whether the node is a replica, and the position of its checkpoint: not by the header.
static WHERE: Statement<(bool, i64)> = Statement {
    name: "where",
    projection: PROJECTION,
    sql: "SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, \
          pg_is_in_recovery(), c.positions[1] \
          FROM headwater_read.checkpoint AS c WHERE c.projection = $1",
    decode: |columns| Ok((columns.take()?, columns.take()?)),
};

static NAMES: Statement<String> = Statement {
    name: "names",
    projection: PROJECTION,
    sql: "SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, s.name \
          FROM headwater_read.checkpoint AS c LEFT JOIN headwater_read.store AS s ON true \
          WHERE c.projection = $1 ORDER BY s.store_id",
    decode: |columns| columns.take(),
};

static RENAME: Statement<bool> = Statement {
    name: "rename",
    projection: PROJECTION,
    sql: "WITH renamed AS (UPDATE headwater_read.store_v1 SET name = 'Other' RETURNING name) \
          SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, true \
          FROM headwater_read.checkpoint AS c, renamed WHERE c.projection = $1",
    decode: |columns| columns.take(),
};

fn need(required: Consistency) -> Need {
    Need { required: Required::State(required), or_stale: false, time_left: None }
}

fn at_least(position: u64) -> Need {
    need(Consistency::AtLeast(Token::of_positions(LOG, EPOCH, &[Position(position)])))
}

/// Runs the statement in a transaction that is opened with this flag.
async fn found(service: &Service, access: Access, need: &Need) -> Result<(bool, i64), ReadError> {
    let work =
        |transaction: Transaction| async move { Ok(transaction.rows(&WHERE, &[]).await?[0]) };
    let answer = service.reads.transaction(access, PROJECTION, need, work).await?;
    let is_replica = answer.node_state.role == NodeRole::Replica;
    assert_eq!(is_replica, answer.value.0, "dated by another node");
    let dated = answer.node_state.checkpoint.freshness.positions[0].0;
    assert_eq!(dated as i64, answer.value.1, "dated by another snapshot");
    Ok(answer.value)
}

#[tokio::test]
async fn the_flag_alone_chooses_the_node() {
    let (cluster, mut projector) = Cluster::start().await;
    projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    let nodes = [cluster.primary.url("query"), cluster.replica.url("query")];
    let service = Service::ready(&nodes, 2_000).await;
    let any = need(Consistency::Any);
    for _ in 0..10 {
        let (replica, _) = found(&service, Access::ReadOnly, &any).await.unwrap();
        assert!(replica, "read-only, and on the primary");
        let (replica, _) = found(&service, Access::ReadWrite, &any).await.unwrap();
        assert!(!replica, "read-write, and on a replica");
    }
    // As with any other read: what the replica does not have yet is read from the primary.
    cluster.pause().await;
    projector.open(id(1), "After").await;
    let read = found(&service, Access::ReadOnly, &at_least(2)).await.unwrap();
    assert_eq!(read, (false, 2));
    assert_eq!(found(&service, Access::ReadOnly, &any).await.unwrap(), (true, 1));
    assert!(service.metric("headwater_reads_total", "outcome=\"fresh\"") >= 22.0);
    // Nor is a write sent to the only node that can be reached, if that is a replica.
    let alone = Service::ready(&[cluster.replica.url("query")], 200).await;
    let error = found(&alone, Access::ReadWrite, &any).await.unwrap_err();
    assert!(matches!(error, ReadError::NotFreshEnough(_)), "{error:?}");
}

/// Nothing commits between the statements of a transaction, as far as it can see.
#[tokio::test]
async fn the_statements_of_a_transaction_see_one_snapshot() {
    let (cluster, mut projector) = Cluster::start().await;
    projector.open(id(1), "Name 1").await;
    cluster.caught_up(&projector).await;
    for nodes in [[cluster.replica.url("query")], [cluster.primary.url("query")]] {
        let service = Service::ready(&nodes, 2_000).await;
        let before = projector.position;
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
        let work = |transaction: Transaction| {
            let ask = ask.clone();
            async move {
                let mut seen = Vec::new();
                for _ in 0..3 {
                    let (done, written) = oneshot::channel();
                    ask.send(done).await.unwrap();
                    written.await.unwrap();
                    let (_, position) = transaction.rows(&WHERE, &[]).await?[0];
                    let name = transaction.rows(&NAMES, &[]).await?.remove(0);
                    seen.push((position, name));
                }
                Ok(seen)
            }
        };
        // Commits another name everywhere, whenever it is asked to.
        let write = async {
            for _ in 0..3 {
                let done = asked.recv().await.unwrap();
                let name = format!("Name {}", projector.position + 1);
                projector.open(id(1), &name).await;
                cluster.caught_up(&projector).await;
                done.send(()).unwrap();
            }
        };
        let any = need(Consistency::Any);
        let read = service.reads.transaction(Access::ReadOnly, PROJECTION, &any, work);
        let (answer, ()) = tokio::join!(read, write);
        let expected = (before as i64, format!("Name {before}"));
        assert_eq!(answer.unwrap().value, vec![expected; 3]);
    }
}

/// The text of a defect.
fn defect(outcome: Result<Vec<bool>, ReadError>) -> String {
    match outcome {
        Err(ReadError::Defect(NodeError::Defect(text))) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Postgres itself refuses to write: read-only to whoever logs in, by the transaction's mode; and
/// read-write to the role that queries log in with, by its rights. A client is told of a defect.
#[tokio::test]
async fn a_query_cannot_write() {
    let (cluster, mut projector) = Cluster::start().await;
    projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let refused = async |user: &str, access: Access| {
        let nodes = [cluster.primary.url(user), cluster.replica.url(user)];
        let service = Service::ready(&nodes, 2_000).await;
        let rename = |transaction: Transaction| async move { transaction.rows(&RENAME, &[]).await };
        let any = need(Consistency::Any);
        let outcome = service.reads.transaction(access, PROJECTION, &any, rename).await;
        let breaker = service.metric("headwater_node_breaker_state", "node");
        assert_eq!(breaker, 0.0, "a node is blamed for it");
        outcome.map(|answer| answer.value)
    };
    for (user, access, expected) in [
        ("postgres", Access::ReadOnly, "(25006)"),
        ("query", Access::ReadOnly, "(25006)"),
        ("query", Access::ReadWrite, "(42501)"),
    ] {
        let text = defect(refused(user, access).await);
        assert!(text.ends_with(expected), "{user} {access:?}: {text}");
    }
    // A single statement is a read-only transaction, too, by the connection's default.
    let any = need(Consistency::Any);
    let owner = Service::ready(&[cluster.primary.url("postgres")], 2_000).await;
    let outcome = owner.reads.rows(&RENAME, &[], &any).await;
    let text = defect(outcome.map(|answer| answer.value));
    assert!(text.ends_with("(25006)"), "{text}");
    let service = Service::ready(&[cluster.primary.url("query")], 2_000).await;
    assert_eq!(service.get(id(1), None).await.unwrap().0.name, "Lakeside");
    // Whoever has the rights does write: the flag reaches Postgres.
    assert_eq!(refused("postgres", Access::ReadWrite).await.unwrap(), [true]);
    eventually("it is committed", async || {
        service.get(id(1), None).await.unwrap().0.name == "Other"
    })
    .await;
}

/// The transaction of a work that fails is undone, and its connection is not lent again.
#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing_behind() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    projector.open(id(1), "Lakeside").await;
    let service = Service::ready(&[primary.url("postgres")], 2_000).await;
    let fail = |transaction: Transaction| async move {
        assert_eq!(transaction.rows(&RENAME, &[]).await?, [true]);
        Err::<(), _>(NodeError::TooSlow)
    };
    let any = need(Consistency::Any);
    for _ in 0..10 {
        let failed = service.reads.transaction(Access::ReadWrite, PROJECTION, &any, fail).await;
        assert!(failed.is_err());
    }
    assert_eq!(service.get(id(1), None).await.unwrap().0.name, "Lakeside");
    assert_eq!(found(&service, Access::ReadWrite, &any).await.unwrap(), (false, 1));
    // One that is kept beyond its end is not committed.
    let kept = &Mutex::new(Vec::new());
    let keep = |transaction: Transaction| async move {
        kept.lock().await.push(transaction.clone());
        transaction.rows(&RENAME, &[]).await
    };
    let outcome = service.reads.transaction(Access::ReadWrite, PROJECTION, &any, keep).await;
    assert!(matches!(outcome, Err(ReadError::Defect(_))), "{outcome:?}");
    kept.lock().await.clear();
    assert_eq!(service.get(id(1), None).await.unwrap().0.name, "Lakeside");
}

/// The checkpoint costs no round trip of its own: not with a point read or a list, whose one
/// statement reads it, and not with a transaction, which begins with it.
#[tokio::test]
async fn a_read_costs_as_many_round_trips_as_it_has_statements() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    projector.open(id(1), "Lakeside").await;
    let proxy = Proxy::to(primary.port()).await;
    let nodes = [url("query", proxy.port)];
    let (waits, limits) = ((2_000, SELDOM), (50, CONNECTED_MAX));
    let service = Service::serving(&[PROJECTION], &nodes, waits, limits);
    let any = need(Consistency::Any);
    let three = |transaction: Transaction| async move {
        for _ in 0..3 {
            transaction.rows(&WHERE, &[]).await?;
        }
        Ok(())
    };
    let point = async || drop(service.get(id(1), None).await.unwrap());
    let list = async || drop(service.reads.rows(&NAMES, &[], &any).await.unwrap());
    let several = async || {
        service.reads.transaction(Access::ReadOnly, PROJECTION, &any, three).await.unwrap();
    };
    // Connected, and all statements prepared.
    for _ in 0..3 {
        point().await;
        list().await;
        several().await;
    }
    let mut counted = proxy.round_trips();
    let mut since = || proxy.round_trips() - std::mem::replace(&mut counted, proxy.round_trips());
    for _ in 0..20 {
        point().await;
    }
    assert_eq!(since(), 20);
    for _ in 0..20 {
        list().await;
    }
    assert_eq!(since(), 20);
    for _ in 0..20 {
        several().await;
    }
    // The beginning with the checkpoint, three statements, and the end.
    assert_eq!(since(), 20 * 5);
}
