//! A name that leads to the primary, and moves with it.

use std::net::SocketAddr;
use std::time::Duration;

use headwater_eventlog::{Appender, Command, EventLog, LogError, Outcome};
use headwater_kernel::{NewEvent, Partition, StreamId, StreamVersion};
use headwater_tests::harness::{Cluster, Options, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::machine;

use super::world::SOON;

/// A name is looked up again after 10 seconds at the latest (docs/failures.md).
const NOTICED: Duration = Duration::from_secs(20);
const STANDBY: &str = "write-standby-1";

/// An address that leads to one server after the other. As with a name, connections that are open
/// stay where they are.
struct Name {
    address: SocketAddr,
    leads_to: watch::Sender<SocketAddr>,
}

impl Name {
    async fn of(server: SocketAddr) -> Name {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (leads_to, now) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = *now.borrow();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Name { address, leads_to }
    }

    fn moves_to(&self, server: SocketAddr) {
        self.leads_to.send_replace(server);
    }
}

/// An append of one event.
async fn append(appender: &mut Appender) -> Result<(), LogError> {
    let (type_name, payload) = ("test.v1.Happened", Vec::new());
    let event = NewEvent { type_name, schema_version: 1, payload, tags: Vec::new(), subject: None };
    let command = Command {
        stream: StreamId(Uuid::now_v7()),
        expected: StreamVersion(0),
        command_id: Uuid::now_v7(),
        caller: None,
        traceparent: None,
        key: None,
        events: vec![event],
        facts: Vec::new(),
        boundary: None,
    };
    let outcomes = appender.append(&[command]).await?;
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
    Ok(())
}

async fn events_on(cluster: &Cluster, node: &str) -> i64 {
    let url = cluster.superuser_url(node);
    let client = headwater_cli::local::connect(&url).await.expect("a connection");
    let sql = "SELECT sum(position)::bigint FROM headwater_log.head";
    client.query_one(sql, &[]).await.expect("heads").get(0)
}

/// A standby is promoted, and the name of the write database moves to it, while the old primary
/// lives on with our connections open: nothing breaks that could tell. Then the name moves back, by
/// mistake. What is written after the move lands on the new primary, and nothing ever again on the
/// old one: rather is it refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_moves_to_another_server_and_back() {
    let _machine = machine::share().await;
    let options = Options { replicas: 0, write_standbys: 1, ..Options::databases_only() };
    let cluster = Cluster::start(options).await.expect("nodes");
    let address = |node: &str| cluster.plan().node(node).expect("a node").address();
    let [old, new] = ["write", STANDBY].map(address);
    let name = Name::of(old).await;
    let url = cluster.command_url().replace(&old.to_string(), &name.address.to_string());
    let log = EventLog::connect(&url, 2).await.expect("connected");
    let mut appender = log.appender(Partition(0));
    append(&mut appender).await.expect("appended");
    cluster.until_streaming(STANDBY).await;
    eventually(SOON, || async {
        let count = events_on(&cluster, STANDBY).await;
        if count == 1 { Ok(()) } else { Err(format!("{count} events on the standby")) }
    })
    .await;

    cluster.promote(STANDBY).await.expect("promoted");
    name.moves_to(new);
    let place = log.servers().place().expect("a place");
    let moved = tokio::time::timeout(NOTICED, log.servers().moved(place)).await;
    moved.expect("the move is noticed");
    let left_at = events_on(&cluster, "write").await;
    // The promotion begins a new epoch, and what was decided before is to be decided again.
    let first = append(&mut appender).await.expect_err("a new epoch");
    assert!(matches!(first, LogError::NewEpoch), "{first:?}");
    append(&mut appender).await.expect("appended");
    assert_eq!(log.heads().await.expect("heads").heads[0].position.0, 2);
    assert_eq!(events_on(&cluster, STANDBY).await, 2);

    name.moves_to(old);
    let place = log.servers().place().expect("a place");
    let moved = tokio::time::timeout(NOTICED, log.servers().moved(place)).await;
    moved.expect("the move back is noticed");
    let refused = append(&mut appender).await.expect_err("nothing that may be written to");
    assert!(matches!(refused, LogError::Unavailable(_)), "{refused:?}");
    assert!(matches!(log.heads().await, Err(LogError::Unavailable(_))));
    assert_eq!(events_on(&cluster, "write").await, left_at, "the old primary was written to");
    name.moves_to(new);
    eventually(SOON, || async { log.servers().place() }).await;
    append(&mut appender).await.expect("appended");
}
