//! What a reader is promised, while a replica lags, fails and comes back.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::postgres::{Postgres, free_port, url};
use common::proxy::Proxy;
use common::service::{Service, at_least, detail, get, reason, within};
use common::{Cluster, Projector, eventually, id, store, token};
use headwater_domain_api::PROJECTION;
use headwater_domain_proto::stores::v1::{ListStoresRequest, Store};
use headwater_edge::{Need, Required};
use headwater_kernel::{Consistency, Token};
use headwater_proto::headwater::v1::{
    self, AckLevel, Acknowledgement, AwaitRequest, Clock, Freshness, NodeRole,
};
use headwater_query_svc::{CONNECTED_MAX, RECOVERY, ReadError, Statement};
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

fn urls(cluster: &Cluster) -> [String; 2] {
    [cluster.primary.url("query"), cluster.replica.url("query")]
}

/// A client renames a store and looks at once, while the replica stands still: from the replica it
/// would be shown the old name.
#[tokio::test]
async fn a_client_reads_its_own_write_while_the_replica_is_paused() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 2_000).await;
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    let (_, freshness) = service.get(id(1), at_least(&first)).await.unwrap();
    assert_eq!(freshness.node_role(), NodeRole::Replica);

    cluster.pause().await;
    let second = projector.open(id(1), "After").await;
    for _ in 0..20 {
        let (store, freshness) = service.get(id(1), at_least(&second)).await.unwrap();
        assert_eq!((store.name.as_str(), store.version), ("After", 2));
        assert_eq!(freshness.node_role(), NodeRole::Primary);
        assert_eq!(freshness.token, second);
    }
    // Who asks for nothing still gets the replica's answer, which says how old it is.
    let (store, freshness) = service.get(id(1), None).await.unwrap();
    assert_eq!((store.name.as_str(), freshness.node_role()), ("Before", NodeRole::Replica));
    assert_eq!(freshness.token, first);

    cluster.resume().await;
    eventually("the replica answers again", async || {
        let (store, freshness) = service.get(id(1), at_least(&second)).await.unwrap();
        assert_eq!(store.name, "After");
        freshness.node_role() == NodeRole::Replica
    })
    .await;
}

/// The same with nothing but the replica: the read waits, and is answered as soon as the write is
/// there.
#[tokio::test]
async fn a_read_waits_for_the_replica() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&[cluster.replica.url("query")], 20_000).await;
    cluster.pause().await;
    let written = projector.open(id(1), "Lakeside").await;

    let read = service.get(id(1), at_least(&written));
    tokio::pin!(read);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut read).await;
    assert!(early.is_err(), "answered while the replica is paused: {early:?}");
    cluster.resume().await;
    let (store, freshness) = read.await.unwrap();
    assert_eq!((store.name.as_str(), freshness.node_role()), ("Lakeside", NodeRole::Replica));
    assert_eq!(service.metric("headwater_read_waits_total", "satisfied"), 1.0);
}

#[tokio::test]
async fn a_read_that_cannot_be_satisfied_says_what_is_on_offer() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&[cluster.replica.url("query")], 300).await;
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let second = projector.open(id(1), "After").await;

    let status = service.get(id(1), at_least(&second)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    assert_eq!(detail(&status, "best_token"), first);
    assert_eq!(detail(&status, "best_node_role"), "replica");
    assert!(!detail(&status, "best_as_of").is_empty());
    // The client's own deadline is shorter than the longest wait: it gets the answer all the same.
    let patient = Service::ready(&[cluster.replica.url("query")], 60_000).await;
    let mut request = Request::new(get(id(1), at_least(&second)));
    request.set_timeout(Duration::from_millis(400));
    let begun = Instant::now();
    let status = patient.get_store(request).await.unwrap_err();
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// The replica stands still, and what a client wants to see does not come. It takes what there is,
/// and that is the primary's state, though replicas have answered all the reads before. What is not
/// there is marked like what is: nobody may take it for the answer to what was asked.
#[tokio::test]
async fn whoever_takes_an_older_answer_is_given_the_freshest_and_is_told() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 300).await;
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let second = projector.open(id(1), "After").await;
    let future = token(99);
    let or_stale = at_least(&future).map(|asked| v1::Consistency { or_stale: true, ..asked });
    for _ in 0..3 {
        let status = service.get(id(1), at_least(&future)).await.unwrap_err();
        assert_eq!(detail(&status, "best_token"), second, "on offer");
        let (store, freshness) = service.get(id(1), or_stale.clone()).await.unwrap();
        assert_eq!((store.name.as_str(), freshness.node_role()), ("After", NodeRole::Primary));
        assert!(freshness.stale);
    }
    let status = service.get(id(9), or_stale).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert!(status.message().contains("older than asked for"), "{status:?}");
    assert_eq!(detail(&status, "stale"), "true");
    let status = service.get(id(9), at_least(&first)).await.unwrap_err();
    assert!(status.message().contains("at the freshness that was asked for"), "{status:?}");
    assert_eq!(detail(&status, "stale"), "false");
}

/// The replica stands still, and more clients than the read primary has room for want to read what
/// was written since. So many a second are answered, in turn; the others wait, and are told when to
/// try again. The past is there for whoever takes it.
#[tokio::test]
async fn the_primary_takes_over_its_share_and_no_more() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::sharing(&urls(&cluster), 500, 50).await;
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let second = projector.open(id(1), "After").await;
    let begun = Instant::now();
    let reads = (0..400).map(|_| service.get(id(1), at_least(&second)));
    let outcomes = futures_util::future::join_all(reads).await;
    let took = begun.elapsed();
    let (answered, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    for answer in answered.iter().flatten() {
        assert_eq!((answer.0.name.as_str(), answer.1.node_role()), ("After", NodeRole::Primary));
    }
    // 100 a second, and what was saved up in the second before: so many fit into half a second.
    assert!((40..=200).contains(&answered.len()), "{} in {took:?}", answered.len());
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(reason(&status), "PRIMARY_SHARE_SPENT");
        assert_eq!(detail(&status, "best_token"), first);
        assert_eq!(detail(&status, "best_node_role"), "replica");
        let retry = status.get_details_retry_info().and_then(|retry| retry.retry_delay).unwrap();
        assert!((200..=5_000).contains(&retry.as_millis()), "{retry:?}");
    }
    let refusals = service.metric("headwater_primary_turns_total", "refused");
    assert_eq!(refusals, 400.0 - answered.len() as f64);
    assert!(service.metric("headwater_primary_turns_total", "queued") > 0.0);
    assert!(service.metric("headwater_read_waits_total", "expired") >= refusals);

    // Who can do with less is served by the replica, however many they are.
    let others = (0..400).map(|_| service.get(id(1), at_least(&first)));
    for (store, freshness) in futures_util::future::try_join_all(others).await.unwrap() {
        assert_eq!((store.name.as_str(), freshness.node_role()), ("Before", NodeRole::Replica));
    }
    let consistency = at_least(&second).map(|asked| v1::Consistency { or_stale: true, ..asked });
    let others = (0..400).map(|_| service.get(id(1), consistency.clone()));
    let answers = futures_util::future::try_join_all(others).await.unwrap();
    let stale = answers.iter().filter(|(_, freshness)| freshness.stale).count();
    assert!(stale >= 50, "{stale}");

    // Those that wait are answered as soon as the replica has caught up.
    let reads = async {
        let reads = (0..400).map(|_| service.get(id(1), at_least(&second)));
        futures_util::future::try_join_all(reads).await.unwrap()
    };
    let (answers, ()) = tokio::join!(reads, cluster.resume());
    let by_replica = |answer: &&(_, Freshness)| answer.1.node_role() == NodeRole::Replica;
    assert!(answers.iter().filter(by_replica).count() >= 100);
}

/// All replicas are gone: the primary serves its share, and the others are refused at once, since
/// there is nothing to wait for. With a share of 0 it serves nobody, and of 100 all.
#[tokio::test]
async fn without_its_replicas_the_primary_keeps_to_its_share() {
    let (mut cluster, mut projector) = Cluster::start().await;
    let none = Service::sharing(&urls(&cluster), 2_000, 0).await;
    let half = Service::sharing(&urls(&cluster), 20_000, 50).await;
    let all = Service::sharing(&urls(&cluster), 2_000, 100).await;
    let alone = Service::sharing(&[cluster.primary.url("query")], 2_000, 0).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    cluster.replica.kill();
    for service in [&none, &half, &all] {
        service.seen("the replica is gone", |roles| roles[1].is_none()).await;
    }
    for consistency in [None, at_least(&written)] {
        let begun = Instant::now();
        let status = none.get(id(1), consistency.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "PRIMARY_SHARE_SPENT");
        assert!(begun.elapsed() < Duration::from_secs(1), "it waited: {:?}", begun.elapsed());
        // A pool of one node, or one without a limit, serves whoever comes.
        for service in [&alone, &all] {
            let reads = (0..600).map(|_| service.get(id(1), consistency.clone()));
            let answers = futures_util::future::try_join_all(reads).await.unwrap();
            assert!(answers.iter().all(|(_, shown)| shown.node_role() == NodeRole::Primary));
        }
        // In turn, if there is time for all.
        let reads = (0..200).map(|_| half.get(id(1), consistency.clone()));
        futures_util::future::try_join_all(reads).await.unwrap();
    }
}

#[tokio::test]
async fn staleness_is_bounded_on_request() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 300).await;
    projector.apply_as_of(&store(id(1), "Lakeside", "Bern", "open"), 5.0).await;
    cluster.caught_up(&projector).await;
    let (_, freshness) = service.get(id(1), within(Duration::from_secs(60))).await.unwrap();
    let staleness = freshness.staleness.unwrap().seconds;
    assert!((5..60).contains(&staleness), "{staleness}");
    // Nobody has told this server the write database's time, and it says so.
    assert_eq!(freshness.staleness_clock(), Clock::Own);
    let status = service.get(id(1), within(Duration::from_secs(2))).await.unwrap_err();
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    // An idle projector's heartbeat is enough.
    let heartbeat = async {
        eventually("a heartbeat helps", async || {
            projector.heartbeat().await;
            service.get(id(1), within(Duration::from_secs(2))).await.is_ok()
        })
        .await;
    };
    heartbeat.await;
}

/// A replica dies under load and comes back. Nobody notices, but for the role of the node that
/// answers.
#[tokio::test]
async fn a_replica_that_dies_leaves_the_choice_and_comes_back() {
    let (mut cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 5_000).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let role = async || service.get(id(1), at_least(&written)).await.unwrap().1.node_role();
    assert_eq!(role().await, NodeRole::Replica);

    cluster.replica.kill();
    for _ in 0..50 {
        assert_eq!(role().await, NodeRole::Primary);
    }
    service.seen("the replica is out of the choice", |roles| roles[1].is_none()).await;
    let breaker = || service.metric("headwater_node_breaker_state", &cluster.replica.name());
    assert!(breaker() > 0.0);
    assert!(service.readiness.is_ready());

    let mut replica = cluster.replica;
    replica.start();
    eventually("the replica answers again", async || role().await == NodeRole::Replica).await;
    assert_eq!(service.metric("headwater_node_breaker_state", &replica.name()), 0.0);
    cluster.primary.kill();
    assert_eq!(role().await, NodeRole::Replica);
    replica.kill();
    let status = service.get(id(1), None).await.unwrap_err();
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    eventually("not ready without nodes", async || !service.readiness.is_ready()).await;
}

/// The network swallows everything on the way to the replica: connections stay open, and nothing
/// comes back.
#[tokio::test]
async fn a_replica_that_falls_silent_is_left() {
    let (cluster, mut projector) = Cluster::start().await;
    let proxy = Proxy::to(cluster.replica.port()).await;
    let nodes = [cluster.primary.url("query"), url("query", proxy.port)];
    let service = Service::ready(&nodes, 5_000).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let role = async || service.get(id(1), at_least(&written)).await.unwrap().1.node_role();
    assert_eq!(role().await, NodeRole::Replica);

    proxy.block(true);
    let begun = Instant::now();
    assert_eq!(role().await, NodeRole::Primary);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    service.seen("the replica is out of the choice", |roles| roles[1].is_none()).await;
    proxy.block(false);
    eventually("the replica answers again", async || role().await == NodeRole::Replica).await;
}

/// Reads that each node has answered, in the order of their names.
fn answered(service: &Service, names: &[&str]) -> Vec<f64> {
    let fresh = |name: &&str| {
        let lines = service.metrics.encode();
        let lines = lines.lines().filter(|line| {
            line.starts_with("headwater_reads_total")
                && line.contains(*name)
                && line.contains("outcome=\"fresh\"")
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    names.iter().map(fresh).collect()
}

/// One of two replicas answers, but takes long. Reads go to the other one; when it is quick again,
/// to both.
#[tokio::test]
async fn a_slow_replica_loses_its_reads_to_a_quick_one() {
    let (cluster, mut projector) = Cluster::start().await;
    let other = cluster.primary.replicate();
    let proxy = Proxy::to(cluster.replica.port()).await;
    let quick = Proxy::to(other.port()).await;
    let nodes = [cluster.primary.url("query"), url("query", proxy.port), url("query", quick.port)];
    let service = Service::ready(&nodes, 5_000).await;
    let names = [&proxy, &quick].map(|proxy| format!("127.0.0.1:{}", proxy.port));
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    // The part of so many reads that the replica behind the proxy answers.
    let part = async |reads: u32| {
        let names = [names[0].as_str(), names[1].as_str()];
        let before = answered(&service, &names);
        for _ in 0..reads {
            service.get(id(1), at_least(&written)).await.unwrap();
        }
        let after = answered(&service, &names);
        (after[0] - before[0]) / ((after[0] - before[0]) + (after[1] - before[1]))
    };
    eventually("it is read from", async || part(60).await > 0.1).await;
    proxy.delay(Duration::from_millis(100));
    let begun = Instant::now();
    eventually("it loses its reads", async || part(30).await < 0.05).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(part(100).await < 0.05);
    assert_eq!(service.metric("headwater_node_breaker_state", &names[0]), 0.0);
    proxy.delay(Duration::ZERO);
    eventually("it is read from again", async || part(60).await > 0.1).await;
}

/// One of two replicas dies and comes back. It does not get its whole part of the reads at once.
#[tokio::test]
async fn a_replica_that_comes_back_gets_its_reads_little_by_little() {
    let (mut cluster, mut projector) = Cluster::start().await;
    let other = cluster.primary.replicate();
    let nodes = [cluster.primary.url("query"), cluster.replica.url("query"), other.url("query")];
    let service = Service::ready(&nodes, 5_000).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let names = [cluster.replica.name(), other.name()];
    let names = [names[0].as_str(), names[1].as_str()];
    // What each has answered while both had the chance, for so long or so many reads.
    let parts = async |time: Duration| {
        let (before, begun) = (answered(&service, &names), Instant::now());
        while begun.elapsed() < time {
            service.get(id(1), at_least(&written)).await.unwrap();
        }
        let after = answered(&service, &names);
        (after[0] - before[0]) / ((after[0] - before[0]) + (after[1] - before[1]))
    };
    let begun = Instant::now();
    eventually("neither is new", async || begun.elapsed() > RECOVERY).await;
    cluster.replica.kill();
    service.seen("it is gone", |roles| roles[1].is_none()).await;
    cluster.replica.start();
    service.seen("it is back", |roles| roles[1].is_some()).await;
    // 10 to 28 % of the choices in the first second, and half of those at most.
    let first = parts(Duration::from_secs(1)).await;
    assert!(first < 0.3, "{first}");
    eventually("it has its part again", async || parts(Duration::from_millis(500)).await > 0.35)
        .await;
}

/// A node's name leads to a server that holds another log, with changes that are newer than all of
/// ours. Nothing of it is shown, and the tokens of our log stay what they are.
#[tokio::test]
async fn a_replica_that_is_replaced_by_one_of_another_log_is_left() {
    let (cluster, mut projector) = Cluster::start().await;
    let stranger = Postgres::init();
    let mut other = Projector::start(&stranger).await;
    stranger.run("UPDATE headwater_read.checkpoint SET log_id = gen_random_uuid()").await;
    other.open(id(1), "Stranger").await;
    let proxy = Proxy::to(cluster.replica.port()).await;
    let nodes = [cluster.primary.url("query"), url("query", proxy.port)];
    let service = Service::ready(&nodes, 2_000).await;
    // As the write database says.
    service.pool.tables().log_is(common::LOG);
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let (_, freshness) = service.get(id(1), at_least(&written)).await.unwrap();
    assert_eq!(freshness.node_role(), NodeRole::Replica);

    other.heartbeat().await;
    proxy.redirect(stranger.port());
    let ours = |answer: &Result<(Store, Freshness), Status>| {
        let (store, freshness) = answer.as_ref().unwrap();
        assert_eq!((store.name.as_str(), freshness.token.as_str()), ("Lakeside", written.as_str()));
        freshness.node_role() == NodeRole::Primary
    };
    eventually("it is left", async || {
        ours(&service.get(id(1), None).await) && ours(&service.get(id(1), at_least(&written)).await)
    })
    .await;
    for _ in 0..20 {
        assert!(ours(&service.get(id(1), at_least(&written)).await));
    }
    proxy.redirect(cluster.replica.port());
    eventually("the replica answers again", async || {
        !ours(&service.get(id(1), at_least(&written)).await)
    })
    .await;
}

/// A node's name leads to another server, and the old one, which no change reaches any more,
/// answers on. Within the time that connections are used the new one is read from, and lists on
/// connections of their own, too. A name that leads nowhere is no reason to give up what works.
#[tokio::test]
async fn a_name_that_leads_to_another_server_is_followed() {
    let (cluster, mut projector) = Cluster::start().await;
    let other = cluster.primary.replicate();
    let proxy = Proxy::to(cluster.replica.port()).await;
    let nodes = [cluster.primary.url("query"), url("query", proxy.port)];
    let service = Service::reconnecting(&nodes, 2_000, Duration::from_millis(500)).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let list = async || {
        let consistency = at_least(&written);
        let request = ListStoresRequest { consistency, ..Default::default() };
        service.stores().list_stores(request).await.unwrap().into_inner().stores.len()
    };
    assert_eq!(list().await, 1);
    service.get(id(1), at_least(&written)).await.unwrap();
    let nowhere = free_port();
    proxy.lead(nowhere);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        let (_, freshness) = service.get(id(1), at_least(&written)).await.unwrap();
        assert_eq!(freshness.node_role(), NodeRole::Replica);
        assert_eq!(list().await, 1);
    }
    assert_eq!(service.metric("headwater_node_breaker_state", "node"), 0.0);

    proxy.lead(other.port());
    let connections = async |server: &Postgres| -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = 'headwater-query-svc'";
        server.admin().await.query_one(sql, &[]).await.unwrap().get(0)
    };
    eventually("the new server is read from, and the old one is not", async || {
        service.get(id(1), at_least(&written)).await.unwrap();
        assert_eq!(list().await, 1);
        connections(&other).await >= 2 && connections(&cluster.replica).await == 0
    })
    .await;
}

/// What the primary does to a table needs a lock that a read on the replica is in the way of:
/// replay cancels the read. It is answered by another node, and nobody is told.
#[tokio::test]
async fn a_read_that_replay_cancels_is_answered_by_another_node() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 5_000).await;
    projector.open(id(1), "Lakeside").await;
    // On a replica this view takes long enough to be in the way.
    let slow_on_replicas = "CREATE OR REPLACE VIEW headwater_read.store AS SELECT * FROM \
        headwater_read.store_v1 WHERE \
        CASE WHEN pg_is_in_recovery() THEN pg_sleep(0.8)::text ELSE '' END = ''";
    let written = projector.apply(slow_on_replicas).await;
    cluster.caught_up(&projector).await;
    let replica = cluster.replica.admin().await;
    let read = service.get(id(1), at_least(&written));
    let lock = async {
        eventually("the read is under way on the replica", async || {
            let sleeping = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            replica.query_one(sleeping, &[]).await.unwrap().get(0)
        })
        .await;
        projector.apply("LOCK TABLE headwater_read.store_v1 IN ACCESS EXCLUSIVE MODE").await;
    };
    let (answer, ()) = tokio::join!(read, lock);
    let (store, freshness) = answer.unwrap();
    assert_eq!((store.name.as_str(), freshness.node_role()), ("Lakeside", NodeRole::Primary));
    assert_eq!(service.metric("headwater_reads_total", "outcome=\"conflict\""), 1.0);
    // The node is not to blame.
    assert_eq!(service.metric("headwater_node_breaker_state", &cluster.replica.name()), 0.0);
}

/// Clients search while they type: each key cancels the list before. What nobody waits for any more
/// ends on the server, and neither the connections nor the node suffer from it.
#[tokio::test]
async fn a_list_that_is_cancelled_is_cancelled_on_the_server() {
    const SLOW: Duration = Duration::from_millis(1_900);
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    projector.open(id(1), "Lakeside").await;
    let slow = format!(
        "CREATE TABLE headwater_read.slow ();          CREATE OR REPLACE VIEW headwater_read.store AS SELECT * FROM headwater_read.store_v1          WHERE CASE WHEN (SELECT count(*) FROM headwater_read.slow) > 0          THEN pg_sleep({})::text ELSE '' END = ''",
        SLOW.as_secs_f64()
    );
    projector.apply(&slow).await;
    let service = Service::ready(&[primary.url("query")], 2_000).await;
    let list = async || {
        let request = ListStoresRequest::default();
        service.stores().list_stores(request).await.map(|reply| reply.into_inner().stores.len())
    };
    assert_eq!(list().await.unwrap(), 1);
    projector.apply("INSERT INTO headwater_read.slow DEFAULT VALUES").await;
    let admin = primary.admin().await;
    let sleeping = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        admin.query_one(sql, &[]).await.unwrap().get(0)
    };
    // Twice as many as there are connections.
    for _ in 0..8 {
        let begun = Instant::now();
        let is_under_way = async {
            eventually("the list is under way", async || sleeping().await > 0).await;
        };
        tokio::select! {
            answer = list() => panic!("it was not slow: {answer:?}"),
            () = is_under_way => {}
        }
        eventually("it has ended", async || sleeping().await == 0).await;
        assert!(begun.elapsed() < SLOW, "it was not cancelled: {:?}", begun.elapsed());
    }
    projector.apply("DELETE FROM headwater_read.slow").await;
    let begun = Instant::now();
    for answer in futures_util::future::join_all((0..8).map(|_| list())).await {
        assert_eq!(answer.unwrap(), 1);
    }
    assert!(begun.elapsed() < SLOW, "they waited for what was cancelled: {:?}", begun.elapsed());
    assert_eq!(service.metric("headwater_reads_total", "outcome=\"silent\""), 0.0);
    assert_eq!(service.metric("headwater_node_breaker_state", "node"), 0.0);
}

/// A row that cannot be read.
static POISONED: Statement<(Uuid, String)> = Statement {
    name: "poisoned",
    projection: PROJECTION,
    sql: "SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, \
          s.store_id, s.name \
          FROM headwater_read.checkpoint AS c \
          LEFT JOIN headwater_read.store AS s ON s.store_id = ANY ($2) WHERE c.projection = $1",
    decode: |columns| {
        let id = columns.take()?;
        let name: String = columns.take()?;
        assert_ne!(name, "Poison", "a defect of the domain's code");
        Ok((id, name))
    },
};

/// The domain's code panics at one row. The read of that row fails, and no other: neither those
/// that went out in one statement with it, nor those that come later.
#[tokio::test]
async fn a_row_that_cannot_be_read_fails_nobody_elses_read() {
    let primary = Postgres::init();
    let mut projector = Projector::start(&primary).await;
    let name = |n: u128| if n == 13 { "Poison".to_owned() } else { format!("Store {n}") };
    let rows: Vec<_> = (1..=40).map(|n| store(id(n), &name(n), "Bern", "open")).collect();
    projector.apply(&rows.join("; ")).await;
    let service = Service::ready(&[primary.url("query")], 2_000).await;
    let reader = service.reads.reader(&POISONED);
    let any = need(Consistency::Any);
    for _ in 0..3 {
        let reads = (1..=40).map(|n| service.reads.point(&reader, id(n), &any));
        let outcomes = futures_util::future::join_all(reads).await;
        for (n, outcome) in (1..).zip(outcomes) {
            match outcome {
                Ok(answer) => assert_eq!(answer.value, Some(name(n))),
                Err(error) => {
                    assert!(n == 13 && matches!(error, ReadError::Defect(_)), "{n}: {error:?}");
                }
            }
        }
    }
}

/// A node's name leads to a server that accepts connections and says nothing. The connection that
/// works is used on, and nobody who reads over it waits for the new one.
#[tokio::test]
async fn a_connection_that_is_renewed_holds_nobody_up() {
    let (cluster, mut projector) = Cluster::start().await;
    let proxy = Proxy::to(cluster.replica.port()).await;
    let nodes = [cluster.primary.url("query"), url("query", proxy.port)];
    let service = Service::reconnecting(&nodes, 2_000, Duration::from_millis(300)).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    service.get(id(1), at_least(&written)).await.unwrap();
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.lead(mute.local_addr().unwrap().port());
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_millis(1_500) {
        let asked = Instant::now();
        let (_, freshness) = service.get(id(1), at_least(&written)).await.unwrap();
        assert_eq!(freshness.node_role(), NodeRole::Replica);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(400), "{slowest:?}");
}

/// The read primary dies, and with it everything newer than what replicas have.
#[tokio::test]
async fn without_the_primary_replicas_serve_what_they_have() {
    let (mut cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 300).await;
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let second = projector.open(id(1), "After").await;
    cluster.primary.kill();
    service.seen("the primary is gone", |roles| roles[0].is_none()).await;
    for consistency in [None, at_least(&first), within(Duration::from_secs(60))] {
        let (store, freshness) = service.get(id(1), consistency).await.unwrap();
        assert_eq!((store.name.as_str(), freshness.node_role()), ("Before", NodeRole::Replica));
    }
    let begun = Instant::now();
    let status = service.get(id(1), at_least(&second)).await.unwrap_err();
    assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
    assert_eq!(detail(&status, "best_token"), first);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The server behind a node's name is replaced by one that lacks the last changes, between two
/// looks at it. What was seen of it before says that it is fresh enough; its rows say otherwise.
#[tokio::test]
async fn a_node_that_went_back_is_not_believed() {
    let (cluster, mut projector) = Cluster::start().await;
    let proxy = Proxy::to(cluster.primary.port()).await;
    let seldom = Duration::from_secs(3_600);
    let service = Service::probing(&[url("query", proxy.port)], 500, seldom);
    let first = projector.open(id(1), "Before").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let second = projector.open(id(1), "After").await;
    let (store, _) = service.get(id(1), at_least(&second)).await.unwrap();
    assert_eq!(store.name, "After");

    proxy.redirect(cluster.replica.port());
    for _ in 0..3 {
        let status = service.get(id(1), at_least(&second)).await.unwrap_err();
        assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE");
        assert_eq!(detail(&status, "best_token"), first);
    }
    let (store, freshness) = service.get(id(1), at_least(&first)).await.unwrap();
    assert_eq!((store.name.as_str(), freshness.node_role()), ("Before", NodeRole::Replica));
}

/// The read primary dies and the replica is promoted. Nobody tells the query server.
#[tokio::test]
async fn a_promotion_is_noticed() {
    let (mut cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 2_000).await;
    assert_eq!(service.roles(), [Some(NodeRole::Primary), Some(NodeRole::Replica)]);
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;

    cluster.primary.kill();
    service.seen("the primary is gone", |roles| roles[0].is_none()).await;
    cluster.replica.promote().await;
    service.seen("the promotion", |roles| *roles == [None, Some(NodeRole::Primary)]).await;
    let (_, freshness) = service.get(id(1), at_least(&written)).await.unwrap();
    assert_eq!(freshness.node_role(), NodeRole::Primary);
}

#[tokio::test]
async fn nodes_need_not_be_there_at_the_start() {
    let mut late = Postgres::init();
    late.kill();
    let service = Service::start(&[late.url("query")], 200);
    let status = service.get(id(1), None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    assert!(!service.readiness.is_ready());

    // There, but not migrated: nothing can be read yet.
    late.start();
    late.run("CREATE ROLE headwater_query").await;
    late.run("CREATE ROLE early LOGIN IN ROLE headwater_query").await;
    let early = Service::start(&[late.url("early")], 200);
    let status = early.get(id(1), None).await.unwrap_err();
    assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
    assert!(!early.readiness.is_ready());

    let mut projector = Projector::start(&late).await;
    projector.open(id(1), "Lakeside").await;
    for service in [&early, &service] {
        eventually("it becomes ready", async || service.readiness.is_ready()).await;
        eventually("it answers", async || service.get(id(1), None).await.is_ok()).await;
    }
}

/// A rebuild puts another table under the name that queries read, with a column of another type:
/// plans that were made before must not be used again, nor fail for ever.
#[tokio::test]
async fn a_changed_view_is_prepared_again() {
    let (cluster, mut projector) = Cluster::start().await;
    let service = Service::ready(&urls(&cluster), 2_000).await;
    let written = projector.open(id(1), "Lakeside").await;
    let everywhere = async |token: &str| {
        // One after the other, they go over every shared connection in turn.
        for _ in 0..10 {
            let (store, _) = service.get(id(1), at_least(token)).await.unwrap();
            assert_eq!(store.name, "Lakeside");
        }
    };
    everywhere(&written).await;
    let written = projector
        .apply(
            "DROP VIEW headwater_read.store; \
             CREATE VIEW headwater_read.store AS SELECT store_id, name::varchar AS name, city, \
             currency, status, manager_id, opened_at, version FROM headwater_read.store_v1; \
             GRANT SELECT ON headwater_read.store TO headwater_query",
        )
        .await;
    everywhere(&written).await;
    assert_eq!(service.metric("headwater_reads_total", "outcome=\"schema\""), 0.0);
}

/// The view that a new version of the program reads is on the primary, and on the replica only
/// when that has replayed it.
#[tokio::test]
async fn a_replica_without_the_view_is_passed_over_until_it_has_it() {
    let (cluster, mut projector) = Cluster::start().await;
    let written = projector.open(id(1), "Lakeside").await;
    projector.apply("ALTER VIEW headwater_read.store RENAME TO hidden").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let now = projector.apply("ALTER VIEW headwater_read.hidden RENAME TO store").await;
    let service = Service::ready(&urls(&cluster), 2_000).await;
    let (_, freshness) = service.get(id(1), at_least(&written)).await.unwrap();
    assert_eq!(freshness.node_role(), NodeRole::Primary);
    cluster.resume().await;
    eventually("the replica answers", async || {
        let (_, freshness) = service.get(id(1), at_least(&now)).await.unwrap();
        freshness.node_role() == NodeRole::Replica
    })
    .await;
}

/// Rows of a projection of its own, which another projector writes.
static NOTES: Statement<String> = Statement {
    name: "notes",
    projection: "notes",
    sql: "SELECT pg_is_in_recovery(), c.log_id, c.epoch, c.positions, c.as_of, c.revision, n.text \
          FROM headwater_read.checkpoint AS c LEFT JOIN headwater_read.note AS n ON true \
          WHERE c.projection = $1",
    decode: |columns| columns.take(),
};

/// Two nodes with a second projection, `notes`, which has applied one event of two; the service
/// that serves both projections, and the token of the second event.
async fn two_projections() -> (Cluster, Service, String) {
    let (cluster, mut projector) = Cluster::start().await;
    let set_up = format!(
        "CREATE TABLE headwater_read.note (text text); \
         GRANT SELECT ON headwater_read.note TO headwater_query; \
         INSERT INTO headwater_read.note VALUES ('before'); \
         INSERT INTO headwater_read.checkpoint SELECT 'notes', log_id, epoch, '{{1}}', digests, \
         clock_timestamp() - interval '1 minute', 0, watched_from \
         FROM headwater_read.checkpoint WHERE projection = '{PROJECTION}'"
    );
    projector.apply(&set_up).await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let service = serving_both(&cluster).await;
    (cluster, service, written)
}

async fn serving_both(cluster: &Cluster) -> Service {
    let times = (500, Duration::from_millis(50));
    let served = [PROJECTION, "notes"];
    let service = Service::serving(&served, &urls(cluster), times, (50, CONNECTED_MAX));
    service.seen("all nodes are seen", |roles| roles.iter().all(Option::is_some)).await;
    service
}

fn need(required: Consistency) -> Need {
    Need { required: Required::State(required), or_stale: false, time_left: None }
}

/// Two projections on one node, of which one lags. What it has not applied is refused by its own
/// checkpoint, and the other one answers.
#[tokio::test]
async fn each_projection_is_judged_by_its_own_checkpoint() {
    let (_cluster, service, written) = two_projections().await;
    let latest = need(Consistency::AtLeast(Token::decode(&written).unwrap()));
    let recent = need(Consistency::MaxStaleness(Duration::from_secs(20)));
    assert_eq!(service.get(id(1), at_least(&written)).await.unwrap().1.token, written);
    service.get(id(1), within(Duration::from_secs(20))).await.unwrap();
    for lagging in [&latest, &recent] {
        let error = service.reads.rows(&NOTES, &[], lagging).await.unwrap_err();
        let ReadError::NotFreshEnough(best) = error else { panic!("{error:?}") };
        assert_eq!(best.node_state.checkpoint.token, token(1));
        let or_stale = Need { or_stale: true, ..lagging.clone() };
        let answer = service.reads.rows(&NOTES, &[], &or_stale).await.unwrap();
        assert!(answer.stale);
        assert_eq!(answer.node_state.checkpoint.token, token(1));
    }
    // It lags alike everywhere, which is no lag of a replica.
    let answer = service.reads.rows(&NOTES, &[], &need(Consistency::Any)).await.unwrap();
    assert_eq!(answer.node_state.role, headwater_kernel::NodeRole::Replica);
    assert_eq!(answer.value, ["before"]);
    let age = |labels: &str| service.metric("headwater_node_staleness_seconds", labels);
    assert!(age("projection=\"notes\"") > 100.0, "a minute on each of two nodes");
    assert!(age(&format!("projection=\"{PROJECTION}\"")) < 60.0);
}

/// The same: a read of the projection that lags waits for it. A token has been projected once every
/// projection shows it.
#[tokio::test]
async fn a_read_waits_for_the_projection_that_it_reads() {
    let (cluster, service, written) = two_projections().await;
    let reached = async |level: AckLevel| {
        let acknowledgement = Acknowledgement { level: level.into(), ..Default::default() };
        let (token, acknowledgement) = (written.clone(), Some(acknowledgement));
        let mut request = Request::new(AwaitRequest { token, acknowledgement });
        request.set_timeout(Duration::from_millis(300));
        let answer = service.sync().r#await(request).await.unwrap().into_inner();
        (answer.reached(), answer.replicas, answer.replicas_healthy)
    };
    assert_eq!(reached(AckLevel::Projected).await, (AckLevel::Committed, 0, 1));

    let latest = need(Consistency::AtLeast(Token::decode(&written).unwrap()));
    let read = service.reads.rows(&NOTES, &[], &latest);
    tokio::pin!(read);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut read).await;
    assert!(early.is_err(), "answered while its projection lags: {early:?}");
    let catch_up = "BEGIN; UPDATE headwater_read.note SET text = 'after'; \
        UPDATE headwater_read.checkpoint SET positions = '{2}', as_of = clock_timestamp() \
        WHERE projection = 'notes'; COMMIT";
    cluster.primary.run(catch_up).await;
    let answer = read.await.unwrap();
    assert_eq!(answer.value, ["after"]);
    assert_eq!(answer.node_state.checkpoint.token, written);
    eventually("both projections show it everywhere", async || {
        reached(AckLevel::Replicated).await == (AckLevel::Replicated, 1, 1)
    })
    .await;
}

/// A projection that nobody has begun, or whose checkpoint is gone, takes nothing from the others.
#[tokio::test]
async fn a_projection_without_a_checkpoint_is_no_fault_of_the_node() {
    let (cluster, mut projector) = Cluster::start().await;
    let written = projector.open(id(1), "Lakeside").await;
    cluster.caught_up(&projector).await;
    let service = serving_both(&cluster).await;
    let any = need(Consistency::Any);
    for _ in 0..5 {
        let error = service.reads.rows(&NOTES, &[], &any).await.unwrap_err();
        assert!(matches!(error, ReadError::NoNode(None)), "{error:?}");
        service.get(id(1), at_least(&written)).await.unwrap();
    }
    assert_eq!(service.metric("headwater_node_breaker_state", "node"), 0.0);
    assert!(!service.readiness.is_ready(), "one of its projections cannot be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_arrive_together_go_out_together() {
    let (cluster, mut projector) = Cluster::start().await;
    let rows: Vec<_> =
        (1..=100).map(|n| store(id(n), &format!("Store {n}"), "Bern", "open")).collect();
    let written = projector.apply(&rows.join("; ")).await;
    let service = Service::ready(&urls(&cluster), 2_000).await;
    // Some of them twice and more, some of stores that there are not.
    let reads = (0..600_u128).map(|n| {
        let (service, written) = (&service, &written);
        let n = n % 150 + 1;
        async move { (n, service.get(id(n), at_least(written)).await) }
    });
    for (n, outcome) in futures_util::future::join_all(reads).await {
        match outcome {
            Ok((store, freshness)) => {
                assert_eq!(store.name, format!("Store {n}"));
                assert_eq!(freshness.token, token(1));
            }
            Err(status) => {
                assert!(n > 100, "{n}: {status:?}");
                assert_eq!(reason(&status), "NOT_FOUND");
            }
        }
    }
    let statements = service.metric("headwater_read_batch_keys_count", "store_by_key");
    let keys = service.metric("headwater_read_batch_keys_sum", "store_by_key");
    assert!(statements * 4.0 < keys, "{statements} statements for {keys} keys");
}
