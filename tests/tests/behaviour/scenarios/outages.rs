//! What every consistency is worth while parts of the system stand still or are gone. One story on
//! a stack of its own.

use std::time::Duration;

use headwater_cli::local::{Kind, connect};
use headwater_domain_proto::stores::v1::ListStoresRequest;
use headwater_proto::headwater::v1::{Clock, NodeRole};
use headwater_tests::harness::{Cluster, Options, eventually};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::client::{Client, TOKEN};
use super::consistency::says;
use super::queries::{Answer, Ask, QUERIES, Query, Shows, Subject};
use super::refusal::{fact, must_be};

const SOON: Duration = Duration::from_secs(60);
const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];
/// By what programs log while the write database is unavailable.
const WRITE_DATABASE_AWAY: [&str; 5] = [
    r#""target":"headwater_command_svc"#,
    r#""message":"the projection starts anew""#,
    r#""target":"sqlx"#,
    r#""message":"endpoint","upstream":"#,
    "the lag cannot be measured",
];
/// Lists are strong unless a client says otherwise, and items may be kept for a while.
const POLICIES: [(&str, &str); 2] = [
    ("HEADWATER_DEFAULT_CONSISTENCY", "stores.v1.StoreQueryService/ListStores=strong; or_stale"),
    ("HEADWATER_MAX_AGE", "stores.v1.StoreQueryService/GetStore=7s"),
];

fn get_store() -> &'static Query {
    let mut queries = QUERIES.iter();
    queries.find(|query| query.name.ends_with("/GetStore")).expect("it is there")
}

fn words(words: &str) -> Ask {
    says(&[("headwater-consistency", words)])
}

struct Scene {
    client: Client,
    subject: Subject,
}

impl Scene {
    async fn ask(&self, ask: Ask) -> Result<Answer, Status> {
        (get_store().ask)(&self.client, &self.subject, ask).await
    }

    async fn shown(&self, asked: &str) -> Answer {
        self.ask(words(asked)).await.unwrap_or_else(|status| panic!("{asked}: {status:?}"))
    }

    /// Renames the store; gives the name that is to be seen, and the token.
    async fn write(&self, number: u32) -> (String, String) {
        let (mark, receipt) = self.subject.write(&self.client, Shows::Store, number).await;
        (mark, receipt.token)
    }

    /// A list, with the method's own default.
    async fn listed(&self) -> bool {
        let request = ListStoresRequest { city: self.subject.city.clone(), ..Default::default() };
        let reply = self.client.store_queries().list_stores(Request::new(request)).await;
        reply.expect("listed").into_inner().freshness.expect("dated").stale
    }

    async fn replay(&self, replica: &str, call: &str) {
        let client = connect(&self.client.cluster.superuser_url(replica)).await.expect("a login");
        client.batch_execute(&format!("SELECT {call}()")).await.expect("done");
    }
}

/// Refused for want of freshness: says what there is, and when to come again.
#[track_caller]
fn is_refused(answer: Result<Answer, Status>, reason: &str) -> Status {
    let status = answer.expect_err(reason);
    must_be(&status, reason);
    assert!(status.get_details_retry_info().and_then(|retry| retry.retry_delay).is_some());
    for known in ["best_token", "best_as_of", "best_staleness_ms", "best_node_role"] {
        assert!(fact(&status, known).is_some(), "{known}: {status:?}");
    }
    status
}

#[tokio::test]
async fn every_consistency_holds_or_says_that_it_does_not() {
    let options = POLICIES.iter().fold(Options::default(), |options, (name, value)| {
        options.set(Kind::QuerySvc, name, value)
    });
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.expect_logs(&super::SLOW);
    cluster.expect_logs(&WRITE_DATABASE_AWAY);
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    let client = Client::of(cluster);
    let (subject, _) = Subject::make(&client).await;
    let scene = Scene { client, subject };
    set_by_method(&scene).await;
    replicas_stand_still(&scene).await;
    the_projector_stands_still(&scene).await;
    the_write_database_is_gone(&scene).await;
    cluster.assert_quiet();
}

async fn set_by_method(scene: &Scene) {
    assert!(!scene.listed().await);
    let answer = scene.shown("strong").await;
    let kept = answer.metadata.get("cache-control").and_then(|kept| kept.to_str().ok());
    assert_eq!(kept, Some("max-age=7"));
}

/// One replica stands still: another node is fresher. Both do: the primary is left.
async fn replicas_stand_still(scene: &Scene) {
    scene.replay(REPLICAS[0], "pg_wal_replay_pause").await;
    for number in 0..10 {
        let (mark, token) = scene.write(number).await;
        let strong = scene.shown("strong").await;
        assert!(strong.text.contains(&mark), "{mark}: {strong:?}");
        let answer = scene.ask(says(&[(TOKEN, &token)])).await.expect("another node");
        assert!(answer.text.contains(&mark), "{mark}: {answer:?}");
    }
    scene.replay(REPLICAS[1], "pg_wal_replay_pause").await;
    let (mark, _) = scene.write(10).await;
    let strong = scene.shown("strong").await;
    assert!(strong.text.contains(&mark), "{mark}: {strong:?}");
    assert_eq!(strong.freshness.node_role(), NodeRole::Primary);
    // Older than a second soon: then only the primary will do.
    eventually(SOON, || async {
        let answer = scene.shown("max_staleness=1s").await;
        let is_primary = answer.freshness.node_role() == NodeRole::Primary;
        if is_primary { Ok(()) } else { Err("a replica answers") }
    })
    .await;
    for replica in REPLICAS {
        scene.replay(replica, "pg_wal_replay_resume").await;
    }
}

/// Nothing gets any fresher: who needs more is told so, who takes less gets it, marked.
async fn the_projector_stands_still(scene: &Scene) {
    let cluster = scene.client.cluster;
    let (_, before) = scene.write(20).await;
    scene.ask(says(&[(TOKEN, &before)])).await.expect("projected");
    cluster.pause("projector").await;
    let (mark, _) = scene.write(21).await;
    is_refused(scene.ask(words("strong")).await, "FRESHNESS_UNAVAILABLE");
    // The log is idle, and time goes on all the same.
    is_refused(scene.ask(words("max_staleness=1s")).await, "FRESHNESS_UNAVAILABLE");
    for asked in ["strong; or_stale", "max_staleness=1s; or_stale"] {
        let old = scene.shown(asked).await;
        assert!(old.freshness.stale && !old.text.contains(&mark), "{asked}: {old:?}");
        assert!(old.freshness.staleness.is_some_and(|age| age.seconds >= 1), "{old:?}");
    }
    assert!(scene.listed().await, "as set for the method");
    let any = scene.shown("any").await;
    assert!(!any.freshness.stale);
    scene.ask(says(&[(TOKEN, &before)])).await.expect("it was seen before");
    cluster.resume("projector").await;
    eventually(SOON, || scene.ask(words("strong"))).await;
    assert!(scene.shown("strong").await.text.contains(&mark));
}

/// Only `strong` needs the write database. Ages are still measured by its clock.
async fn the_write_database_is_gone(scene: &Scene) {
    let cluster = scene.client.cluster;
    let (mark, token) = scene.write(30).await;
    scene.ask(says(&[(TOKEN, &token)])).await.expect("projected");
    cluster.kill("write").await;
    is_refused(scene.ask(words("strong")).await, "LOG_END_UNKNOWN");
    assert!(scene.shown("strong; or_stale").await.freshness.stale);
    assert!(scene.listed().await, "as set for the method");
    for ask in [words("any"), words("max_staleness=1h"), says(&[(TOKEN, &token)])] {
        let answer = scene.ask(ask).await.expect("it needs no write database");
        assert!(!answer.freshness.stale, "{answer:?}");
        assert_eq!(answer.freshness.staleness_clock(), Clock::WriteDatabase, "{answer:?}");
    }
    let seen = scene.ask(says(&[(TOKEN, &token)])).await.expect("it was seen before");
    assert!(seen.text.contains(&mark));
    // It does not get any fresher, and shows it.
    eventually(SOON, || async {
        let age = scene.shown("any").await.freshness.staleness.unwrap_or_default();
        if age.seconds >= 2 { Ok(()) } else { Err(format!("{age:?}")) }
    })
    .await;
    is_refused(scene.ask(words("max_staleness=1s")).await, "FRESHNESS_UNAVAILABLE");
    cluster.start_again("write").await.expect("it starts again");
    eventually(SOON, || scene.ask(words("strong"))).await;
}
