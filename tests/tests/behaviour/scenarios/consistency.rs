//! What a client can ask of an answer beside a token: everything, a bound on its age, an older one
//! rather than none, and only what it does not have yet.

use headwater_domain_proto::stores::v1::{GetStoreRequest, OpenStoreRequest, RenameStoreRequest};
use headwater_kernel::{Partition, Position};
use headwater_proto::headwater::v1::Consistency;
use headwater_proto::headwater::v1::consistency::Requirement;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::client::{Client, TOKEN, decoded, done, receipt, require};
use super::queries::{Answer, Ask, QUERIES, Subject};
use super::refusal::{fact, fields, must_be};

/// In words: `headwater-consistency` and other metadata.
pub fn says(pairs: &[(&'static str, &str)]) -> Ask {
    Ask { field: None, metadata: metadata(pairs) }
}

fn metadata(pairs: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in pairs {
        metadata.append(*name, value.parse().expect("ascii"));
    }
    metadata
}

fn or_stale(requirement: Option<Requirement>) -> Ask {
    let field = Some(Consistency { requirement, or_stale: true });
    Ask { field, ..Ask::default() }
}

#[track_caller]
fn shown(name: &str, answer: Result<Answer, Status>) -> Answer {
    answer.unwrap_or_else(|status| panic!("{name}: {status:?}"))
}

/// Without any token, from whatever node.
pub async fn a_strong_read_shows_every_write(client: Client) {
    let (subject, _) = Subject::make(&client).await;
    let by_field = || Ask { field: require(Requirement::Strong(true)), ..Ask::default() };
    let by_words = || says(&[("headwater-consistency", "strong")]);
    for (number, query) in QUERIES.iter().enumerate() {
        for (way, ask) in [by_field(), by_words()].into_iter().enumerate() {
            let number = 5_000 + number as u32 * 2 + way as u32;
            let (mark, receipt) = subject.write(&client, query.shows, number).await;
            let answer = shown(query.name, (query.ask)(&client, &subject, ask).await);
            assert!(answer.text.contains(&mark), "{} shows {mark}: {answer:?}", query.name);
            let (proven, written) = (decoded(&answer.freshness.token), decoded(&receipt.token));
            let mut partitions = (0..client.cluster.plan().partitions).map(Partition);
            assert!(partitions.all(|p| proven.position(p) >= written.position(p)));
        }
    }
}

pub async fn freshness_is_asked_for_in_words(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    for query in QUERIES {
        let ask = says(&[("headwater-consistency", "at_least; or_stale"), (TOKEN, &token)]);
        shown(query.name, (query.ask)(&client, &subject, ask).await);
        let ask = says(&[("headwater-consistency", "max_staleness=1m")]);
        let age = shown(query.name, (query.ask)(&client, &subject, ask).await);
        assert!(age.freshness.staleness.is_some_and(|age| age.seconds < 60), "{age:?}");
        for (words, wrong) in [
            ("soon", "headwater-consistency"),
            ("max_staleness=1ms", "headwater-consistency"),
            ("at_least", TOKEN),
        ] {
            let ask = says(&[("headwater-consistency", words)]);
            let status = (query.ask)(&client, &subject, ask).await.expect_err(query.name);
            assert_eq!(fields(&status), [wrong], "{}", query.name);
        }
    }
}

/// A future that does not come is waited for, and then there is what there is.
pub async fn an_older_answer_is_given_to_those_who_take_it(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    let mut future = decoded(&token);
    future.raise(Partition(0), Position(1_000_000_000));
    let future = future.encode();
    let asked = QUERIES.iter().enumerate().map(|(number, query)| {
        let ask = match number % 2 {
            0 => or_stale(Some(Requirement::AtLeast(future.clone()))),
            _ => says(&[("headwater-consistency", "or_stale"), (TOKEN, &future)]),
        };
        let answer = (query.ask)(&client, &subject, ask);
        async move { (query.name, answer.await) }
    });
    for (name, answer) in futures_util::future::join_all(asked).await {
        let Answer { freshness, metadata, .. } = shown(name, answer);
        assert!(freshness.stale, "{name}: {freshness:?}");
        let (proven, written) = (decoded(&freshness.token), decoded(&token));
        let mut partitions = (0..client.cluster.plan().partitions).map(Partition);
        assert!(partitions.all(|p| proven.position(p) >= written.position(p)), "the freshest");
        let kept = metadata.get("cache-control").and_then(|kept| kept.to_str().ok());
        assert_eq!(kept, Some("max-age=0"), "{name}");
    }
    // What is fresh enough is not marked; what is refused for another reason is still refused.
    let ask = or_stale(Some(Requirement::AtLeast(token)));
    let answer = shown("fresh", (QUERIES[0].ask)(&client, &subject, ask).await);
    assert!(!answer.freshness.stale);
    let ask = or_stale(Some(Requirement::AtLeast("nonsense".to_owned())));
    let refused = (QUERIES[0].ask)(&client, &subject, ask).await.expect_err("no token");
    must_be(&refused, "TOKEN_MALFORMED");
}

/// Two sessions hand over what they have seen: their tokens count together, for queries and for
/// commands.
pub async fn several_tokens_count_together(client: Client) {
    let mut stores = Vec::new();
    for partition in [0, 3] {
        let request = OpenStoreRequest {
            store_id: client.id_in(partition),
            name: "S".to_owned(),
            city: "Bern".to_owned(),
            currency: "EUR".to_owned(),
            options: None,
        };
        let opened = done(client.store_commands().open_store(request).await);
        stores.push((opened.store_id, receipt(opened.receipt).token));
    }
    let [(store, one), (_, two)] = &stores[..] else { panic!("two stores") };
    let covers_both = |token: &str| {
        let token = decoded(token);
        let partitions = || (0..client.cluster.plan().partitions).map(Partition);
        [one, two].into_iter().all(|seen| {
            let seen = decoded(seen);
            partitions().all(|p| token.position(p) >= seen.position(p))
        })
    };
    let joined = format!("{one}, {two}");
    let two_values: &[_] = &[(TOKEN, one.as_str()), (TOKEN, two.as_str())];
    for pairs in [two_values, &[(TOKEN, &*joined)]] {
        let (store_id, name) = (store.clone(), format!("Renamed {}", pairs.len()));
        let get = GetStoreRequest { store_id: store_id.clone(), consistency: None };
        let mut request = Request::new(get);
        *request.metadata_mut() = metadata(pairs);
        let shown = done(client.store_queries().get_store(request).await).freshness;
        assert!(covers_both(&shown.expect("dated").token));
        let mut request = Request::new(RenameStoreRequest { store_id, name, options: None });
        *request.metadata_mut() = metadata(pairs);
        let renamed = done(client.store_commands().rename_store(request).await);
        assert!(covers_both(&receipt(renamed.receipt).token));
    }
}

/// A client that has the newest state is not sent it again; one that has another is.
pub async fn what_is_known_is_not_sent_again(client: Client) {
    let (subject, token) = Subject::make(&client).await;
    let tag = |answer: &Answer| {
        let etag = answer.metadata.get("etag").and_then(|etag| etag.to_str().ok());
        etag.expect("a tag").to_owned()
    };
    for (number, query) in QUERIES.iter().enumerate() {
        let ask = |known: &str| says(&[(TOKEN, &token), ("if-none-match", known)]);
        let asked = async |known: String| (query.ask)(&client, &subject, ask(&known)).await;
        let full = shown(query.name, (query.ask)(&client, &subject, ask("\"other\"")).await);
        let mut etag = tag(&full);
        assert!(!full.freshness.not_modified, "{full:?}");
        for known in ["{}", "\"other\", W/{}", "*"] {
            // Lists may show what other tests change meanwhile: then it is asked for once more.
            let mut answer = shown(query.name, asked(known.replace("{}", &etag)).await);
            for _ in 0..10 {
                if tag(&answer) == etag {
                    break;
                }
                etag = tag(&answer);
                answer = shown(query.name, asked(known.replace("{}", &etag)).await);
            }
            assert!(answer.freshness.not_modified, "{}: {answer:?}", query.name);
            assert_eq!(answer.freshness.entity_version, full.freshness.entity_version);
            assert_eq!(tag(&answer), etag);
            let body = answer.text.split("freshness").next().unwrap_or_default();
            let nothing = body.contains("None") || body.contains("[]");
            assert!(nothing && !body.contains("_id: \""), "{}: {body}", query.name);
        }
        let wrong = (query.ask)(&client, &subject, ask("3")).await.expect_err(query.name);
        assert_eq!(fields(&wrong), ["if-none-match"], "{}", query.name);
        // A change is shown to whoever has what was there before.
        let (mark, receipt) = subject.write(&client, query.shows, 7_000 + number as u32).await;
        let ask = says(&[(TOKEN, &receipt.token), ("if-none-match", &etag)]);
        let changed = shown(query.name, (query.ask)(&client, &subject, ask).await);
        assert!(changed.text.contains(&mark) && !changed.freshness.not_modified, "{changed:?}");
    }
}

/// The ETag of a store, as of this token.
async fn tag_of(client: &Client, store_id: &str, token: &str) -> String {
    let get = GetStoreRequest { store_id: store_id.to_owned(), consistency: None };
    let mut request = Request::new(get);
    *request.metadata_mut() = metadata(&[(TOKEN, token)]);
    let reply = client.store_queries().get_store(request).await.expect("there");
    let etag = reply.metadata().get("etag").and_then(|etag| etag.to_str().ok());
    etag.expect("a tag").to_owned()
}

/// The ETag of a reply is the condition of a command.
pub async fn a_command_with_an_etag_is_for_that_version(client: Client) {
    let (store, opened) = client.open("Harbour", "Bergen").await;
    let etag = tag_of(&client, &store, &opened.token).await;

    let rename = async |name: &str, pairs: &[(&'static str, &str)]| {
        let (store_id, name) = (store.clone(), name.to_owned());
        let mut request = Request::new(RenameStoreRequest { store_id, name, options: None });
        *request.metadata_mut() = metadata(pairs);
        client.store_commands().rename_store(request).await
    };
    let first = done(rename("First", &[("if-match", &etag)]).await);
    assert_eq!(receipt(first.receipt).version, 2);
    let late = rename("Late", &[("if-match", &etag)]).await.expect_err("another version");
    must_be(&late, "VERSION_CONFLICT");
    assert_eq!(late.code(), Code::Aborted);
    assert_eq!(fact(&late, "current_version").as_deref(), Some("2"));
    // A bare version will do; the tag of another store at that version will not.
    let bare = done(rename("Bare", &[("if-match", "\"2\"")]).await);
    assert_eq!(receipt(bare.receipt).version, 3);
    let (another, _) = client.open("Other", "Bergen").await;
    client.rename_store(&another, "Other 2").await;
    let third = client.rename_store(&another, "Other 3").await;
    let foreign = tag_of(&client, &another, &third.token).await;
    let other = rename("Other", &[("if-match", &foreign)]).await.expect_err("another store's");
    must_be(&other, "VERSION_CONFLICT");
    assert!(other.message().contains("another aggregate"), "{other:?}");
    assert_eq!(fact(&other, "current_version").as_deref(), Some("3"));
    let wrong = rename("Wrong", &[("if-match", "2")]).await.expect_err("no tag");
    assert_eq!(fields(&wrong), ["if-match"]);

    // What must not exist yet.
    for (id, expected) in [(Uuid::now_v7().to_string(), None), (store, Some("VERSION_CONFLICT"))] {
        let open = OpenStoreRequest {
            store_id: id,
            name: "New".to_owned(),
            city: "Bergen".to_owned(),
            currency: "NOK".to_owned(),
            options: None,
        };
        let mut request = Request::new(open);
        *request.metadata_mut() = metadata(&[("if-none-match", "*")]);
        match (client.store_commands().open_store(request).await, expected) {
            (Ok(opened), None) => assert_eq!(receipt(opened.into_inner().receipt).version, 1),
            (Err(status), Some(reason)) => must_be(&status, reason),
            (outcome, expected) => panic!("{expected:?}: {outcome:?}"),
        }
    }
}
