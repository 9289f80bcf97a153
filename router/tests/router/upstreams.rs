//! Copies that are unreachable, die, come back, are ill, are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use headwater_chassis::Metrics;
use headwater_router::forward::Shared;
use headwater_router::front::Front;
use headwater_router::meters::Meters;
use headwater_router::pool::Pool;
use headwater_router::resolve::Resolver;
use headwater_router::routes::{Routes, Upstream};
use headwater_router::workers::Workers;
use prost::Message as _;
use tonic::{Code, Status};

use crate::copy::Copy;
use crate::echo::{GET, Note, PUT, SPREAD, descriptors};
use crate::rig::{Client, Rig, details, fact, nowhere, reason, until, within};

#[tokio::test]
async fn an_upstream_that_is_down_is_named_with_the_cause() {
    let command = Copy::start("command").await;
    let rig = Rig::start(&[command.address], &[nowhere(), nowhere()], &[]).await;
    let client = rig.client().await;
    let failed = within(client.text(GET, "a")).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    assert_eq!(reason(&failed), "UPSTREAM_UNAVAILABLE");
    assert_eq!(fact(&failed, "upstream"), "query");
    assert_eq!(fact(&failed, "cause"), "connection refused");
    assert!(failed.message().contains("query") && failed.message().contains("refused"));
    let delay = details(&failed).retry_info().unwrap().retry_delay.unwrap();
    assert!(delay >= Duration::from_millis(500) && delay < Duration::from_secs(2));
    assert_eq!(client.text(PUT, "a").await.unwrap(), "command: a", "commands still pass");
    assert!(!rig.ready().await);
    let page = rig.admin("/readyz").await;
    assert!(page.contains("upstream-query: failed"), "{page}");
}

#[tokio::test]
async fn an_upstream_may_start_after_the_router() {
    let mut copy = Copy::start("copy").await;
    copy.kill().await;
    let rig = Rig::simple(&copy, &copy).await;
    let client = rig.client().await;
    assert_eq!(client.text(GET, "a").await.unwrap_err().code(), Code::Unavailable);
    copy.restart().await;
    until("it answers", async || client.text(GET, "a").await.is_ok()).await;
    until("the router is ready", async || rig.ready().await).await;
}

/// Clients that call without a pause until they are stopped, and what went wrong.
struct Crowd {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<Status>>>,
}

impl Crowd {
    async fn start(rig: &Rig, path: &'static str) -> Crowd {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = Vec::new();
        for _ in 0..8 {
            let client = rig.client().await;
            let stop = stop.clone();
            let done = done.clone();
            clients.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    failures.extend(client.text(path, "a").await.err());
                    done.fetch_add(1, Ordering::SeqCst);
                }
                failures
            }));
        }
        Crowd { stop, done, clients }
    }

    /// Waits for this many more calls.
    async fn calls(&self, more: usize) {
        let wanted = self.done.load(Ordering::SeqCst) + more;
        until("calls are made", async || self.done.load(Ordering::SeqCst) >= wanted).await;
    }

    async fn stop(self) -> Vec<Status> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(within(client).await.unwrap());
        }
        failures
    }
}

/// A machine dies under load and comes back. Queries must not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_survive_the_death_of_a_copy() {
    let (mut one, two) = (Copy::start("one").await, Copy::start("two").await);
    let rig = Rig::start(&[two.address], &[one.address, two.address], &[]).await;
    let crowd = Crowd::start(&rig, GET).await;
    crowd.calls(500).await;
    assert!(one.seen.calls() > 50 && two.seen.calls() > 50, "both take part");
    one.kill().await;
    crowd.calls(500).await;
    let before = one.seen.calls();
    one.restart().await;
    until("it is used again", async || one.seen.calls() > before + 50).await;
    let failures = crowd.stop().await;
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures[0]);
}

/// The same for commands: one that may have been carried out is never sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_lost_with_a_copy_is_not_repeated() {
    let copies = [Copy::start("one").await, Copy::start("two").await];
    let rig = Rig::start(&copies.each_ref().map(|copy| copy.address), &[nowhere()], &[]).await;
    let client = rig.client().await;
    let call = tokio::spawn(async move { client.text(PUT, "hold").await });
    let calls = || copies.each_ref().map(|copy| copy.seen.calls());
    until("it arrives", async || calls().iter().sum::<usize>() == 1).await;
    let hit = calls().iter().position(|calls| *calls == 1).unwrap();
    copies[hit].kill().await;
    let lost = within(call).await.unwrap().unwrap_err();
    assert_eq!((lost.code(), reason(&lost).as_str()), (Code::Unknown, "OUTCOME_UNKNOWN"));
    assert_eq!(calls().iter().sum::<usize>(), 1);

    // Whatever comes after it goes to the other copy, without a failure.
    let client = rig.client().await;
    for _ in 0..50 {
        within(client.text(PUT, "a")).await.unwrap();
    }
    assert_eq!(calls()[1 - hit], 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_lost_with_a_copy_is_repeated_on_another() {
    let copies = [Copy::start("one").await, Copy::start("two").await];
    let rig = Rig::start(&[nowhere()], &copies.each_ref().map(|copy| copy.address), &[]).await;
    let client = rig.client().await;
    let call = tokio::spawn(async move { client.text(GET, "hold").await });
    let calls = || copies.each_ref().map(|copy| copy.seen.calls());
    until("it arrives", async || calls().iter().sum::<usize>() == 1).await;
    let hit = calls().iter().position(|calls| *calls == 1).unwrap();
    copies[1 - hit].seen.released.send_replace(true);
    copies[hit].kill().await;
    let other = ["two: hold", "one: hold"][hit];
    assert_eq!(within(call).await.unwrap().unwrap(), other);
    assert_eq!(calls(), [1, 1]);
}

/// An endpoint accepts connections and loses what is sent on them. It must be left in peace for a
/// while, and be asked again.
#[tokio::test]
async fn a_copy_that_keeps_losing_requests_is_left_in_peace() {
    let copy = Copy::start("copy").await;
    let rig = Rig::simple(&copy, &copy).await;
    let client = rig.client().await;
    until("the circuit breaker opens", async || {
        for _ in 0..5 {
            let lost = within(client.text(PUT, "die")).await.unwrap_err();
            let told = (lost.code(), reason(&lost));
            let (unknown, unsent) = ("OUTCOME_UNKNOWN", "UPSTREAM_UNAVAILABLE");
            let expected = [(Code::Unknown, unknown), (Code::Unavailable, unsent)];
            assert!(expected.map(|(code, reason)| (code, reason.to_owned())).contains(&told));
        }
        // It opens for a moment only: a slow machine may miss it.
        let refused = within(client.text(PUT, "a")).await;
        refused.is_err_and(|status| fact(&status, "cause").contains("circuit breaker"))
    })
    .await;
    until("it is asked again", async || client.text(PUT, "a").await.is_ok()).await;
    for _ in 0..50 {
        within(client.text(PUT, "a")).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_a_status() {
    let copy = Copy::start("copy").await;
    let rig = Rig::simple(&copy, &copy).await;
    let client = rig.client().await;
    let mut notes = client.server_streaming(SPREAD, Note::new("hang")).await.unwrap();
    assert_eq!(notes.message().await.unwrap().unwrap().text, "first");
    copy.kill().await;
    let lost = within(notes.message()).await.unwrap_err();
    assert_eq!((lost.code(), reason(&lost).as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
}

/// A rolling restart: copies say goodbye (GOAWAY) while commands arrive. Those that they have not
/// looked at are sent again, so that no command fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_survive_goodbyes() {
    let copy = Copy::start("copy").await;
    let rig = Rig::simple(&copy, &copy).await;
    let crowd = Crowd::start(&rig, PUT).await;
    for _ in 0..5 {
        crowd.calls(200).await;
        copy.send_away();
    }
    crowd.calls(200).await;
    let done = crowd.done.clone();
    let failures = crowd.stop().await;
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures[0]);
    assert_eq!(copy.seen.calls(), done.load(Ordering::SeqCst), "each was carried out once");
}

#[tokio::test]
async fn a_copy_that_is_not_serving_is_left_alone() {
    let (ill, well) = (Copy::start("ill").await, Copy::start("well").await);
    ill.set_serving(false).await;
    let rig = Rig::start(&[well.address], &[ill.address, well.address], &[]).await;
    let known = async |health: &str, count: usize| {
        let labels = format!("{{upstream=\"query\",health=\"{health}\"}} {count}");
        let line = format!("headwater_router_endpoints{labels}");
        until(&line, async || rig.admin("/metrics").await.contains(&line)).await;
    };
    known("not_serving", 1).await;
    let client = rig.client().await;
    for _ in 0..50 {
        assert_eq!(client.text(GET, "a").await.unwrap(), "well: a");
    }
    assert_eq!(ill.seen.calls(), 0);

    // Better a copy that is ill than none.
    well.set_serving(false).await;
    known("not_serving", 2).await;
    until("it is reported", async || !rig.ready().await).await;
    client.text(GET, "a").await.unwrap();

    ill.set_serving(true).await;
    known("serving", 1).await;
    for _ in 0..50 {
        assert_eq!(client.text(GET, "a").await.unwrap(), "ill: a");
    }
}

/// A process hangs: its port accepts, and nothing answers. Requests must go elsewhere soon.
#[tokio::test]
async fn a_copy_that_hangs_is_left_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let well = Copy::start("well").await;
    let hanging = listener.local_addr().unwrap();
    let rig = Rig::start(&[well.address], &[hanging, well.address], &[]).await;
    let client = rig.client().await;
    for _ in 0..50 {
        assert_eq!(within(client.text(GET, "a")).await.unwrap(), "well: a");
    }
    let line = "headwater_router_endpoints{upstream=\"query\",health=\"silent\"} 1";
    until(line, async || rig.admin("/metrics").await.contains(line)).await;
}

/// Pods are replaced behind a name. What the old one has begun it finishes; what is new goes to
/// the new one; then the old one is left.
#[tokio::test]
async fn a_copy_that_leaves_its_name_finishes_what_it_has_begun() {
    let (old, new) = (Copy::start("old").await, Copy::start("new").await);
    let bytes = descriptors().encode_to_vec();
    let routes = Routes::decode(&bytes).unwrap();
    let meters = Arc::new(Meters::new(&routes, &Metrics::new()));
    let pools = Upstream::ALL.map(|upstream| Arc::new(Pool::new(upstream)));
    let workers = Workers::start(std::num::NonZeroUsize::MIN).unwrap();
    let handles = workers.handles().to_vec();
    let pool = pools[Upstream::Command.index()].clone();
    let names = vec!["service:1".parse().unwrap()];
    let every = Duration::from_millis(50);
    let mut resolver = Resolver::new(pool, names, handles.clone(), every);
    resolver.resolve_by(async |_| Ok(vec![old.address])).await;
    let readiness = headwater_chassis::Readiness::new(&[]);
    let platform = headwater_router::platform::services(&bytes, &routes, &readiness).unwrap();
    let vars = Vec::new();
    let settings = headwater_chassis::Invocation::from_parts("router", vars, Vec::new());
    let limits = headwater_router::Config::read(settings).unwrap().limits;
    let cut = Default::default();
    let shared = Shared { routes, pools, meters, platform, limits, traced: false, cut };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::new(&handles, Arc::new(shared));
    tokio::spawn(front.serve(listener, std::future::pending(), every));

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let client = Client::new(endpoint.connect().await.unwrap());
    let held = client.clone();
    let held = tokio::spawn(async move { held.text(PUT, "hold").await });
    until("it arrives", async || old.seen.calls() == 1).await;
    resolver.resolve_by(async |_| Ok(vec![new.address])).await;
    for _ in 0..20 {
        assert_eq!(within(client.text(PUT, "a")).await.unwrap(), "new: a");
    }
    old.seen.released.send_replace(true);
    assert_eq!(within(held).await.unwrap().unwrap(), "old: hold");
    until("it is left", async || old.connections() == 0).await;
    tokio::task::spawn_blocking(move || drop(workers)).await.unwrap();
}
