//! How fresh an answer is: what a client has written or seen it finds again, on any node.

use std::time::{Duration, Instant};

use headwater_domain_proto::stores::v1::{GetStoreRequest, RenameStoreRequest};
use headwater_kernel::{Epoch, LogId, Partition, Position, Token};
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_proto::headwater::v1::{self, CommandOptions};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::client::{Client, TOKEN, after, at_least, decoded, done, receipt, require};
use super::queries::{Answer, Ask, QUERIES, Subject};
use super::refusal::{fact, fields, must_be, reason};

/// HEADWATER_WAIT_MS_MAX by default.
const WAIT_MAX: Duration = Duration::from_secs(2);

fn by_field(token: &str) -> Ask {
    Ask { field: at_least(token), ..Ask::default() }
}

fn by_metadata(token: &str) -> Ask {
    let mut metadata = MetadataMap::new();
    metadata.insert(TOKEN, token.parse().expect("ascii"));
    Ask { metadata, ..Ask::default() }
}

#[track_caller]
fn shown(name: &str, answer: Result<Answer, Status>) -> Answer {
    answer.unwrap_or_else(|status| panic!("{name}: {status:?}"))
}

/// The list of this file's queries is the contract's.
#[test]
fn every_query_is_asked() {
    let set = FileDescriptorSet::decode(headwater_domain_proto::FILE_DESCRIPTOR_SET).expect("ours");
    let mut contract = Vec::new();
    // The platform's own queries tell of nodes, and show no rows.
    for file in set.file.iter().filter(|file| file.package() != "headwater.v1") {
        for service in &file.service {
            let is_query = |method: &&prost_types::MethodDescriptorProto| {
                let level = method.options.as_ref().map(|options| options.idempotency_level());
                level == Some(IdempotencyLevel::NoSideEffects) && !method.server_streaming()
            };
            let queries = service.method.iter().filter(is_query);
            contract.extend(
                queries.map(|q| format!("{}.{}/{}", file.package(), service.name(), q.name())),
            );
        }
    }
    contract.sort();
    let mut asked: Vec<&str> = QUERIES.iter().map(|query| query.name).collect();
    asked.sort_unstable();
    assert_eq!(asked, contract);
}

pub async fn a_write_is_read_by_every_query(client: Client) {
    let (subject, _) = Subject::make(&client).await;
    for (number, query) in QUERIES.iter().enumerate() {
        for (way, ask) in [by_field, by_metadata].into_iter().enumerate() {
            let number = number as u32 * 2 + way as u32;
            let (mark, receipt) = subject.write(&client, query.shows, number).await;
            let answer = (query.ask)(&client, &subject, ask(&receipt.token)).await;
            let answer = shown(query.name, answer);
            assert!(answer.text.contains(&mark), "{} shows {mark}: {answer:?}", query.name);
        }
    }
}

pub async fn every_reply_is_dated(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    let written = decoded(&token);
    let partitions = || (0..client.cluster.plan().partitions).map(Partition);
    for query in QUERIES {
        let answer = shown(query.name, (query.ask)(&client, &subject, by_field(&token)).await);
        let freshness = &answer.freshness;
        let metadata = answer.metadata.get(TOKEN).and_then(|token| token.to_str().ok());
        assert_eq!(metadata, Some(&*freshness.token), "{}", query.name);
        let proven = decoded(&freshness.token);
        assert_eq!((proven.log, proven.epoch), (written.log, written.epoch));
        assert!(partitions().all(|p| proven.position(p) >= written.position(p)), "{proven:?}");
        let age = freshness.staleness.expect("an age");
        assert!(age.seconds >= 0 && age.nanos >= 0 && age.seconds < 60, "{age:?}");
        assert!(freshness.as_of.is_some_and(|time| time.seconds > 1_600_000_000));
        let role = freshness.node_role();
        assert!([v1::NodeRole::Primary, v1::NodeRole::Replica].contains(&role), "{role:?}");
        assert_eq!(freshness.staleness_clock(), v1::Clock::WriteDatabase, "{}", query.name);
        assert!(!freshness.stale && !freshness.not_modified, "{freshness:?}");
        // A single aggregate has an ETag of its version, the revision and its history.
        let version = match query.name.rsplit('/').next() {
            Some("GetStore") => Some(1),
            Some("GetItem" | "GetItemBySku") => Some(3),
            Some("GetUser" | "GetUserByEmail") => Some(1),
            _ => None,
        };
        assert_eq!(freshness.entity_version, version, "{}", query.name);
        let of = |name| answer.metadata.get(name).and_then(|value| value.to_str().ok());
        let etag = of("etag").expect("a tag");
        match version {
            Some(version) => {
                let history = etag.strip_prefix(&*format!("\"{version}.0.")).expect("a version");
                assert!(history.len() == 13 && history.ends_with('"'), "{}: {etag}", query.name);
            }
            // What joins several aggregates has a tag of its content.
            None => assert!(etag.starts_with("\"d") && etag.len() == 19, "{}: {etag}", query.name),
        }
        assert_eq!(of("cache-control"), Some("max-age=0"), "{}", query.name);
    }
}

/// A command with a token of another partition returns one that covers both.
pub async fn tokens_cover_all_partitions(client: Client) {
    let mut stores = Vec::new();
    for partition in [0, 1, 2, 3] {
        let request = headwater_domain_proto::stores::v1::OpenStoreRequest {
            store_id: client.id_in(partition),
            name: "S".to_owned(),
            city: "Bern".to_owned(),
            currency: "EUR".to_owned(),
            options: None,
        };
        stores.push(done(client.store_commands().open_store(request).await).store_id);
    }
    let mut token = String::new();
    let mut seen = Vec::new();
    for (number, store) in stores.iter().enumerate() {
        let rename = RenameStoreRequest {
            store_id: store.clone(),
            name: format!("Renamed {number}"),
            options: None,
        };
        // Every other one says by metadata what it has seen.
        let mut request = Request::new(rename);
        match number % 2 {
            0 => request.get_mut().options = after(&token),
            _ => drop(request.metadata_mut().insert(TOKEN, token.parse().expect("ascii"))),
        }
        let response = client.store_commands().rename_store(request).await.expect("renamed");
        let metadata = response.metadata().get(TOKEN).and_then(|token| token.to_str().ok());
        let metadata = metadata.map(str::to_owned);
        token = receipt(response.into_inner().receipt).token;
        assert_eq!(metadata.as_ref(), Some(&token), "in the reply's metadata too");
        let partition = client.partition(store);
        seen.push((partition, decoded(&token).position(partition)));
        let proven = decoded(&token);
        for (partition, position) in &seen {
            assert!(proven.position(*partition) >= *position, "{seen:?} in {proven:?}");
        }
    }
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(client.store(store, &token).await.name, format!("Renamed {number}"));
    }
    the_field_wins(&client, &stores[0], &token).await;
}

/// Where field and metadata ask for different things.
async fn the_field_wins(client: &Client, store: &str, token: &str) {
    let any = require(Requirement::Any(true));
    let is_refused = async |field: &Option<v1::Consistency>,
                            metadata: [(&'static str, &str); 2]| {
        let (store_id, consistency) = (store.to_owned(), field.clone());
        let mut request = Request::new(GetStoreRequest { store_id, consistency });
        for (name, value) in metadata {
            request.metadata_mut().insert(name, value.parse().expect("ascii"));
        }
        match client.store_queries().get_store(request).await {
            Ok(_) => false,
            // Where any state will do, the store may not be there yet.
            Err(status) if reason(&status) == "NOT_FOUND" && *field != at_least(token) => false,
            Err(status) => {
                must_be(&status, "TOKEN_MALFORMED");
                true
            }
        }
    };
    for (field, metadata, expected) in [
        (at_least(token), "nonsense", false),
        (any, "nonsense", false),
        (at_least("nonsense"), token, true),
        (None, "nonsense", true),
    ] {
        let metadata = [(TOKEN, metadata), ("unrelated", "x")];
        assert_eq!(is_refused(&field, metadata).await, expected, "{field:?}, {metadata:?}");
    }
    // An interceptor that always sends the token is told by metadata, too, that any state will do.
    let metadata = [(TOKEN, "nonsense"), ("headwater-consistency", "any")];
    assert!(!is_refused(&None, metadata).await);

    let (store_id, name) = (store.to_owned(), "By the field".to_owned());
    let rename = RenameStoreRequest { store_id, name, options: after(token) };
    let mut request = Request::new(rename);
    request.metadata_mut().insert(TOKEN, "nonsense".parse().expect("ascii"));
    client.store_commands().rename_store(request).await.expect("the field wins");
}

/// A reader that hands on each reply's token never sees an older state than before, on whatever
/// node, and in the end the newest.
pub async fn reads_never_go_back(client: Client) {
    const WRITES: u64 = 40;
    let (store, opened) = client.open("Version 1", "Bern").await;
    let write = async {
        for version in 2..=WRITES {
            client.rename_store(&store, &format!("Version {version}")).await;
        }
    };
    let read = async {
        let (mut token, mut versions) = (opened.token, Vec::new());
        while versions.last() != Some(&WRITES) {
            let (store_id, consistency) = (store.clone(), at_least(&token));
            let request = GetStoreRequest { store_id, consistency };
            let reply = done(client.store_queries().get_store(request).await);
            let shown = reply.store.expect("a store");
            assert_eq!(shown.name, format!("Version {}", shown.version), "one state, not two");
            versions.push(shown.version);
            token = reply.freshness.expect("dated").token;
        }
        versions
    };
    let read = tokio::time::timeout(Duration::from_secs(30), read);
    let ((), versions) = tokio::join!(write, read);
    let versions = versions.expect("the last write is seen");
    assert!(versions.is_sorted(), "{versions:?}");
}

pub async fn bad_tokens_are_refused(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    let own = decoded(&token);
    let damaged = format!("{}{}", &token[..9], &token[10..]);
    let other_log = Token::of_positions(LogId(Uuid::new_v4()), own.epoch, &[Position(1)]).encode();
    let earlier = Epoch(own.epoch.0.wrapping_sub(1));
    let another_copys = Token::of_positions(own.log, earlier, &[Position(1)]).encode();
    // A log can be in a later epoch than the nodes show; this one is not, and says so at once.
    let later = Epoch(own.epoch.0 + 1);
    let never_made = Token::of_positions(own.log, later, &[Position(1)]).encode();
    for (token, expected) in [
        ("nonsense", "TOKEN_MALFORMED"),
        (&*damaged, "TOKEN_MALFORMED"),
        (&*"A".repeat(3_000), "TOKEN_MALFORMED"),
        (&*other_log, "TOKEN_FOREIGN"),
        (&*another_copys, "TOKEN_LOST"),
        (&*never_made, "TOKEN_LOST"),
    ] {
        for query in QUERIES {
            for ask in [by_field, by_metadata] {
                let begun = Instant::now();
                let answer = (query.ask)(&client, &subject, ask(token)).await;
                must_be(&answer.expect_err(query.name), expected);
                assert!(begun.elapsed() < WAIT_MAX, "{}: it was waited for", query.name);
            }
        }
        for (number, is_field) in [(1, true), (2, false)] {
            let options = CommandOptions { token: token.to_owned(), ..Default::default() };
            let (store_id, name) = (subject.store.clone(), format!("Never {number}"));
            let options = is_field.then_some(options);
            let mut request = Request::new(RenameStoreRequest { store_id, name, options });
            if !is_field {
                request.metadata_mut().insert(TOKEN, token.parse().expect("ascii"));
            }
            let refused = client.store_commands().rename_store(request).await;
            must_be(&refused.expect_err("a command"), expected);
        }
    }
    assert_eq!(client.store(&subject.store, &token).await.version, 1, "nothing was renamed");
}

pub async fn what_is_missing_is_dated(client: Client) {
    let (_, token) = Subject::make(&client).await;
    let nobody = Subject {
        store: Uuid::now_v7().to_string(),
        item: Uuid::now_v7().to_string(),
        user: Uuid::now_v7().to_string(),
        email: "nobody@example.org".to_owned(),
        city: format!("q{}", Uuid::new_v4().simple()),
    };
    for query in QUERIES {
        let method = query.name.rsplit('/').next().unwrap_or_default();
        let answer = (query.ask)(&client, &nobody, by_field(&token)).await;
        if !method.starts_with("Get") {
            // Lists and batches may be empty.
            shown(query.name, answer);
            continue;
        }
        let status = answer.expect_err(query.name);
        must_be(&status, "NOT_FOUND");
        assert!(fact(&status, "as_of").is_some_and(|time| time.ends_with('Z')), "{status:?}");
        let shown = status.metadata().get(TOKEN).and_then(|token| token.to_str().ok());
        assert!(shown.is_some_and(|shown| Token::decode(shown).is_ok()), "{status:?}");
    }
}

/// By seconds, and by a token of a future that does not come.
pub async fn staleness_is_limited(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    let within = |seconds: i64, nanos: i32| {
        let limit = prost_types::Duration { seconds, nanos };
        Ask { field: require(Requirement::MaxStaleness(limit)), ..Ask::default() }
    };
    for query in QUERIES {
        // A state of the last thirty seconds: it need not show what was just written.
        match (query.ask)(&client, &subject, within(30, 0)).await {
            Ok(answer) => {
                let age = answer.freshness.staleness.expect("an age");
                assert!(age.seconds <= 30, "{age:?}");
            }
            Err(status) => must_be(&status, "NOT_FOUND"),
        }
        for wrong in [within(0, 9_999_999), within(86_401, 0), within(-1, 0)] {
            let status = (query.ask)(&client, &subject, wrong).await.expect_err(query.name);
            assert_eq!(fields(&status), ["consistency.max_staleness"], "{}", query.name);
        }
    }
    let mut future = decoded(&token);
    future.raise(Partition(0), Position(1_000_000_000));
    let begun = Instant::now();
    let asked = QUERIES.iter().map(|query| {
        let answer = (query.ask)(&client, &subject, by_field(&future.encode()));
        async move { (query.name, answer.await) }
    });
    for (name, answer) in futures_util::future::join_all(asked).await {
        let status = answer.expect_err(name);
        must_be(&status, "FRESHNESS_UNAVAILABLE");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.get_details_retry_info().and_then(|retry| retry.retry_delay).is_some());
        // The best on offer, so that the client can ask for that.
        let best = fact(&status, "best_token").expect("a token");
        assert!((0..client.cluster.plan().partitions).map(Partition).all(|partition| {
            decoded(&best).position(partition) >= decoded(&token).position(partition)
        }));
        for known in ["best_as_of", "best_staleness_ms", "best_node_role"] {
            assert!(fact(&status, known).is_some(), "{known}: {status:?}");
        }
    }
    // The log does not have it, and says so.
    assert!(begun.elapsed() < WAIT_MAX, "it was waited for: {:?}", begun.elapsed());
}
