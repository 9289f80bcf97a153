//! Streams of changes: slow readers, large states, and what is not kept any more.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::postgres::Postgres;
use common::service::{Service, at_least, get, reason};
use common::{Cluster, Projector, id, store, token};
use headwater_domain_proto::stores::v1::{
    ListStoresRequest, WatchStoresRequest, WatchStoresResponse, store_change,
};
use headwater_proto::headwater::v1::{Consistency, WatchOptions};
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// Applies an event that changes these stores, and says so.
async fn apply(projector: &mut Projector, stores: std::ops::Range<u128>, name: &str) -> String {
    let rows: Vec<String> = stores.clone().map(|n| store(id(n), name, "Bern", "open")).collect();
    let keys: Vec<String> = stores.map(|n| format!("'{}'", id(n))).collect();
    let (keys, position) = (keys.join(","), projector.position + 1);
    let sql = format!(
        "{}; INSERT INTO headwater_read.change (projection, applied, view, positions, keys, former) \
         SELECT 'retail', {position}, 'store', '{{{position}}}', ARRAY[{keys}], \
                array_fill(NULL::text, ARRAY[cardinality(ARRAY[{keys}])])",
        rows.join("; ")
    );
    projector.apply(&sql).await
}

async fn watch(
    service: &Service,
    resume_after: &str,
) -> Result<Streaming<WatchStoresResponse>, Status> {
    let options = Some(WatchOptions { resume_after: resume_after.to_owned() });
    let request = WatchStoresRequest { options, ..Default::default() };
    Ok(service.stores().watch_stores(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchStoresResponse>) -> WatchStoresResponse {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    message.expect("a message in time").unwrap().expect("no end")
}

/// The versions that a message tells of, by store.
fn versions(message: &WatchStoresResponse) -> BTreeMap<String, u64> {
    let changes = message.changes.iter().map(|change| match change.change.as_ref().unwrap() {
        store_change::Change::Store(store) => (store.store_id.clone(), store.version),
        store_change::Change::RemovedStoreId(id) => panic!("{id} is there"),
    });
    changes.collect()
}

async fn start() -> (Postgres, Projector, Service) {
    let primary = Postgres::init();
    let projector = Projector::start(&primary).await;
    let service = Service::ready(&[primary.url("query")], 2_000).await;
    (primary, projector, service)
}

/// One client takes every message, another one takes none until the end: it is told the last state,
/// and nothing of what it has missed was kept for it beyond a bound.
#[tokio::test]
async fn a_slow_watcher_is_told_the_last_state() {
    const RENAMES: u64 = 80;
    let (_primary, mut projector, service) = start().await;
    let from = apply(&mut projector, 1..2, "First").await;
    let mut quick = watch(&service, &from).await.unwrap();
    let mut slow = watch(&service, &from).await.unwrap();
    // Both have caught up.
    assert_eq!(
        (versions(&next(&mut quick).await).len(), next(&mut slow).await.changes.len()),
        (0, 0)
    );
    for number in 2..=RENAMES {
        let written = apply(&mut projector, 1..2, &format!("Name {number}")).await;
        let mut told = next(&mut quick).await;
        while told.changes.is_empty() {
            told = next(&mut quick).await;
        }
        assert_eq!(versions(&told)[&id(1).to_string()], number);
        assert_eq!(told.freshness.unwrap().token, written);
    }
    let mut told = Vec::new();
    while told.last() != Some(&RENAMES) {
        let message = next(&mut slow).await;
        // Only time has passed: everything has been told.
        assert!(!message.changes.is_empty() || told.is_empty(), "only {told:?} was told");
        told.extend(versions(&message).into_values());
    }
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    assert!(told.len() < 60, "it was kept {} changes", told.len());
}

/// A state of more rows than a page is told in several messages. Only the last one proves it; each
/// says where to resume, and a client that does so after any of them is told the rest, once.
#[tokio::test]
async fn a_large_state_comes_in_pages_and_is_resumed_between_them() {
    const STORES: usize = 1_200;
    let (_primary, mut projector, service) = start().await;
    let from = token(0);
    let written = apply(&mut projector, 1..STORES as u128 + 1, "Many").await;
    let mut told = BTreeMap::new();
    let (mut resume, mut messages) = (from, 0);
    loop {
        // A stream of its own for each message.
        let message = next(&mut watch(&service, &resume).await.unwrap()).await;
        messages += 1;
        for (store, version) in versions(&message) {
            assert_eq!(told.insert(store, version), None, "told twice");
        }
        resume = message.resume_token;
        let proof = message.freshness.unwrap().token;
        if !proof.is_empty() {
            assert_eq!(proof, written);
            break;
        }
    }
    assert_eq!((told.len(), messages), (STORES, 3));
    // The same to those who watch when it happens.
    let mut stream = watch(&service, &resume).await.unwrap();
    assert_eq!(next(&mut stream).await.changes, []);
    let written = apply(&mut projector, 1..STORES as u128 + 1, "Again").await;
    let (mut again, mut proof) = (BTreeMap::new(), String::new());
    while proof.is_empty() {
        let message = next(&mut stream).await;
        for (store, version) in versions(&message) {
            assert_eq!((again.insert(store, version), version), (None, 2), "told twice");
        }
        proof = message.freshness.unwrap().token;
    }
    assert_eq!((again.len(), proof), (STORES, written));
}

/// Changes are kept for a while. Who comes later is told so, be it with a token or with a place
/// between pages, and from the state that he reads anew he goes on.
#[tokio::test]
async fn what_is_not_kept_any_more_cannot_be_resumed_from() {
    let (primary, mut projector, service) = start().await;
    let early = apply(&mut projector, 1..700, "Early").await;
    let first = next(&mut watch(&service, &token(0)).await.unwrap()).await;
    let late = apply(&mut projector, 1..2, "Late").await;
    primary.run("UPDATE headwater_read.checkpoint SET watched_from = '{1}'").await;
    let refused = async |resume: &str| reason(&watch(&service, resume).await.err().unwrap());
    assert_eq!(refused(&token(0)).await, "RESUME_EXPIRED");
    assert_eq!(refused(&first.resume_token).await, "RESUME_EXPIRED");
    let told = next(&mut watch(&service, &early).await.unwrap()).await;
    assert_eq!(versions(&told).len(), 1);
    assert_eq!(next(&mut watch(&service, &late).await.unwrap()).await.changes, []);
}

/// A store's row is changed at the positions that are there, as when a parked event is retried. All
/// who watch are told, once, and in order: live, or resumed from before; on the primary and on a
/// replica. Nobody takes the row or a list for what it was before.
#[tokio::test]
async fn a_revised_row_is_told_once() {
    let (cluster, mut projector) = Cluster::start().await;
    let first = apply(&mut projector, 1..4, "First").await;
    cluster.caught_up(&projector).await;
    let nodes = [&cluster.primary, &cluster.replica].map(|node| vec![node.url("query")]);
    let (primary, replica) =
        (Service::ready(&nodes[0], 2_000).await, Service::ready(&nodes[1], 2_000).await);
    let mut streams = Vec::new();
    for service in [&primary, &replica] {
        let mut stream = watch(service, "").await.unwrap();
        let begun = next(&mut stream).await;
        assert_eq!((begun.changes.len(), &begun.resume_token), (0, &first));
        streams.push(stream);
    }
    let before = tags(&primary, &first).await;
    cluster.primary.run(&revise(id(1), "Repaired")).await;
    let after = tags(&primary, &first).await;
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{after:?}");
    for service in [&primary, &replica] {
        streams.push(watch(service, &first).await.unwrap());
    }
    // The place between the revision and what follows is resumed from.
    let mut places = Vec::new();
    for stream in &mut streams {
        let mut told = next(stream).await;
        while told.changes.is_empty() {
            assert_eq!(told.freshness.unwrap().token, first);
            told = next(stream).await;
        }
        assert_eq!(names(&told), [(id(1).to_string(), "Repaired".to_owned())]);
        assert_eq!(told.freshness.unwrap().token, first);
        places.push(told.resume_token);
    }
    cluster.primary.run(&revise(id(2), "Repaired")).await;
    let last = apply(&mut projector, 3..4, "Last").await;
    for place in &places {
        streams.push(watch(&primary, place).await.unwrap());
        streams.push(watch(&replica, place).await.unwrap());
    }
    for stream in &mut streams {
        let mut told = Vec::new();
        loop {
            let message = next(stream).await;
            told.extend(names(&message));
            if message.freshness.unwrap().token == last {
                break;
            }
        }
        let expected = [(id(2), "Repaired"), (id(3), "Last")];
        assert_eq!(told, expected.map(|(id, name)| (id.to_string(), name.to_owned())));
    }
    // The token of a commit after them covers both.
    assert_eq!(next(&mut watch(&primary, &last).await.unwrap()).await.changes, []);
}

/// Changes the name of a store without an event.
fn revise(store: Uuid, name: &str) -> String {
    format!(
        "BEGIN; SELECT FROM headwater_read.checkpoint WHERE projection = 'retail' FOR UPDATE; \
         UPDATE headwater_read.store_v1 SET name = '{name}' WHERE store_id = '{store}'; \
         SELECT headwater_read.revise('retail', 'store', ARRAY['{store}'], '{{NULL}}'); COMMIT"
    )
}

/// The ETags of a store that is revised, of all stores, and of a list that it is not in.
async fn tags(service: &Service, token: &str) -> [String; 3] {
    let consistency = at_least(token);
    let tag = |metadata: &tonic::metadata::MetadataMap| {
        metadata.get("etag").unwrap().to_str().unwrap().to_owned()
    };
    let all = ListStoresRequest { consistency: consistency.clone(), ..Default::default() };
    let none = ListStoresRequest { city: "Nowhere".to_owned(), ..all.clone() };
    let one = service.get_store(Request::new(get(id(1), consistency))).await.unwrap();
    let mut stores = service.stores();
    let all = stores.list_stores(all).await.unwrap();
    let none = stores.list_stores(none).await.unwrap();
    [tag(one.metadata()), tag(all.metadata()), tag(none.metadata())]
}

/// The names that a message tells of, by store.
fn names(message: &WatchStoresResponse) -> Vec<(String, String)> {
    let changes = message.changes.iter().map(|change| match change.change.as_ref().unwrap() {
        store_change::Change::Store(store) => (store.store_id.clone(), store.name.clone()),
        store_change::Change::RemovedStoreId(id) => panic!("{id} is there"),
    });
    changes.collect()
}

/// A client stops reading its stream. The changes that it was not told are forgotten meanwhile:
/// when it reads on it learns that, instead of a token that proves what it was never told.
#[tokio::test]
async fn a_stalled_watcher_learns_that_it_has_lost_changes() {
    let (primary, mut projector, service) = start().await;
    let from = apply(&mut projector, 1..3, "First").await;
    let mut stalled = watch(&service, &from).await.unwrap();
    let mut quick = watch(&service, &from).await.unwrap();
    for stream in [&mut stalled, &mut quick] {
        assert_eq!(next(stream).await.changes, []);
    }
    let mut last = String::new();
    for number in 0..60 {
        if number == 40 {
            // The only change of this store.
            apply(&mut projector, 2..3, "Once").await;
        }
        last = apply(&mut projector, 1..2, &format!("Name {number}")).await;
        while next(&mut quick).await.freshness.unwrap().token != last {}
    }
    primary
        .run(
            "DELETE FROM headwater_read.change WHERE applied <= 50; \
             UPDATE headwater_read.checkpoint SET watched_from = '{50}'",
        )
        .await;
    let (told, end) = until_the_end(&mut stalled).await;
    assert!(
        told.iter().all(|message| message.freshness.as_ref().unwrap().token != last),
        "{told:?}"
    );
    assert_eq!(end, "RESUME_EXPIRED");
}

/// The node that was ahead is gone for longer than the reader of the changes goes on trying; what
/// answers then is behind, like a standby that comes back from a crash: nobody is taken back.
#[tokio::test]
async fn a_watch_does_not_go_back_to_what_a_node_shows_that_is_behind() {
    let (mut ahead, behind) = (Postgres::init(), Postgres::init());
    let (mut projector, mut other) =
        (Projector::start(&ahead).await, Projector::start(&behind).await);
    let first = apply(&mut projector, 1..3, "First").await;
    apply(&mut other, 1..3, "First").await;
    let service = Service::ready(&[ahead.url("query"), behind.url("query")], 300).await;
    let mut stream = watch(&service, &first).await.unwrap();
    assert_eq!(next(&mut stream).await.freshness.unwrap().token, first);
    let last = apply(&mut projector, 2..3, "Last").await;
    while next(&mut stream).await.freshness.unwrap().token != last {}
    ahead.kill();
    let (told, end) = until_the_end(&mut stream).await;
    assert!(told.iter().all(|message| message.changes.is_empty()), "{told:?}");
    assert!(
        told.iter().all(|message| message.freshness.as_ref().unwrap().token == last),
        "{told:?}"
    );
    assert_eq!(end, "FRESHNESS_UNAVAILABLE");
}

/// The reader of the changes reads from a replica that is behind what a client has seen, and stays
/// there: the client is told that time passes, by a node that shows what it knows.
#[tokio::test]
async fn a_watch_does_not_fall_silent_while_a_replica_is_behind() {
    let (cluster, mut projector) = Cluster::start().await;
    apply(&mut projector, 1..3, "First").await;
    cluster.caught_up(&projector).await;
    cluster.pause().await;
    let nodes = [cluster.primary.url("query"), cluster.replica.url("query")];
    let service = Service::ready(&nodes, 300).await;
    let last = apply(&mut projector, 2..3, "Last").await;
    let mut seen = watch(&service, &last).await.unwrap();
    for _ in 0..3 {
        let message = next(&mut seen).await;
        assert_eq!(message.freshness.unwrap().token, last);
    }
}

/// The log has lost what a client was told of, and the views were made anew from what is left: its
/// stream ends with that, instead of going on in a history that does not have it.
#[tokio::test]
async fn a_watch_does_not_cross_a_lost_history() {
    let (primary, mut projector, service) = start().await;
    apply(&mut projector, 1..2, "First").await;
    let lost = apply(&mut projector, 1..2, "Lost").await;
    let mut stream = watch(&service, &lost).await.unwrap();
    assert_eq!(next(&mut stream).await.freshness.unwrap().token, lost);
    let made_anew = "\
        BEGIN; DELETE FROM headwater_read.change; \
        INSERT INTO headwater_read.epoch_start VALUES ('retail', 9, '{1}'); \
        UPDATE headwater_read.checkpoint SET epoch = 9, positions = '{4}'; \
        UPDATE headwater_read.store_v1 SET name = 'Another'; COMMIT";
    primary.run(made_anew).await;
    let (told, end) = until_the_end(&mut stream).await;
    assert!(
        told.iter().all(|message| message.freshness.as_ref().unwrap().token == lost),
        "{told:?}"
    );
    assert_eq!(end, "TOKEN_LOST");
}

/// What a stream still tells, and the reason why it ends; a few messages are told of nothing but
/// the time before a node is given up.
async fn until_the_end(
    stream: &mut Streaming<WatchStoresResponse>,
) -> (Vec<WatchStoresResponse>, String) {
    let mut told = Vec::new();
    while told.len() < 8 {
        let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
        match message.expect("a message in time") {
            Ok(message) => told.push(message.unwrap()),
            Err(status) => return (told, reason(&status)),
        }
    }
    panic!("it goes on: {told:?}");
}

/// A watch begins with the freshness that was asked for, or not at all: nobody could tell what
/// follows an older state from what does not.
#[tokio::test]
async fn a_watch_does_not_begin_with_an_older_state() {
    let (_primary, mut projector, service) = start().await;
    apply(&mut projector, 1..2, "First").await;
    let consistency = at_least(&token(1_000)).map(|asked| Consistency { or_stale: true, ..asked });
    let request = WatchStoresRequest { consistency, ..Default::default() };
    let refused = service.stores().watch_stores(request).await.err().unwrap();
    assert_eq!(reason(&refused), "FRESHNESS_UNAVAILABLE");
}
