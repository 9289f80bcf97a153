//! The write database fails over to an asynchronous standby.

use headwater_domain_proto::stores::v1::RecordSaleRequest;
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_kernel::{Partition, Position, Token};
use headwater_proto::headwater::v1::Receipt;
use headwater_tests::harness::{Options, Standby, eventually};

use super::audit::audit;
use super::talk::{any, at_least, reason, within};
use super::world::{PATIENCE, SOON, World};

const STOPPED: &str = "the projection has stopped";
/// What is logged while the write database is unavailable, and while a standby is in its place.
const FAILING_OVER: &[&str] = &[
    r#""message":"the outcome of an append is unknown""#,
    r#""message":"the write database is unavailable""#,
    r#""message":"streams could not be loaded""#,
    r#""message":"snapshots were not written;"#,
    r#""message":"the projection starts anew""#,
    r#""message":"endpoint","upstream":"command""#,
    // The driver's own words for a connection that broke in use, and for one to the standby that
    // is under the primary's address for a moment.
    r#""message":"error occurred while testing the connection on-release""#,
    r#""message":"error returned from after_connect","error":"error communicating with database: the server takes no"#,
];

fn token(receipt: &Receipt) -> Token {
    Token::decode(&receipt.token).expect("a token")
}

fn place(receipt: &Receipt) -> Position {
    token(receipt).position(Partition(0))
}

impl World {
    async fn standby(&self) -> Standby {
        self.cluster.standby_of("write").await.expect("a standby")
    }

    async fn fail_over_to(&self, standby: Standby) {
        self.cluster.put_in_place(standby).await.expect("in its place");
        self.cluster.promote("write").await.expect("promoted");
        eventually(SOON, || self.is_ready("command-svc")).await;
    }

    /// A sale with a token of what its sender has seen.
    async fn send_having_seen(&self, seen: &str) -> Result<Receipt, tonic::Status> {
        let mut client = StockCommandServiceClient::new(self.router());
        let mut request: RecordSaleRequest = self.new_sale().request("");
        if let Some(options) = &mut request.options {
            options.token = seen.to_owned();
        }
        let reply = client.record_sale(within(PATIENCE, request)).await?;
        Ok(reply.into_inner().receipt.expect("a receipt"))
    }

    async fn is_refused(&self, token: &str, expected: &str) {
        let status = self.read(at_least(token)).await.expect_err(expected);
        assert_eq!(reason(&status), expected, "{status:?}");
        let status = self.send_having_seen(token).await.expect_err(expected);
        assert_eq!(reason(&status), expected, "{status:?}");
    }
}

/// The write primary dies with a sale that its standby has not got, and that the views show. The
/// standby is promoted, and the next sale is given the position of the lost one. Whoever reads
/// with the token of the new sale must see it or be told that it cannot be seen yet: never the old
/// views, which claim that position for the lost sale. The projection stops; after the documented
/// recovery everything goes on, what was lost is refused, and what was not lost counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_events_never_shows_one_history_for_the_other() {
    let world = World::start(Options { replicas: 1, ..Options::default() }).await;
    let cluster = &world.cluster;
    cluster.expect_logs(FAILING_OVER);
    cluster.expect_logs(&[STOPPED]);
    let kept = world.sell().await;
    let standby = world.standby().await;
    let lost = world.send_unrecorded().await.expect("sold");
    let seen = world.read(at_least(&lost.token)).await.expect("the lost sale is shown");
    let seen = seen.freshness.expect("a freshness").token;
    world.fail_over_to(standby).await;

    let new = eventually(SOON, || world.send_unrecorded()).await;
    assert_eq!((new.version, place(&new)), (lost.version, place(&lost)), "the same place again");
    assert!(token(&new).epoch > token(&lost).epoch);
    for _ in 0..3 {
        let answer = world.read(at_least(&new.token)).await;
        let status = answer.expect_err("the views show the other history");
        assert_eq!(reason(&status), "FRESHNESS_UNAVAILABLE", "{status:?}");
    }
    eventually(SOON, || async {
        let told = cluster.log("projector");
        if told.contains(STOPPED) { Ok(()) } else { Err("the projector does not say so") }
    })
    .await;
    eventually(SOON, || world.is_unready("projector")).await;
    world.read(any()).await.expect("what the views show is still served");
    // Commands know the log: what was lost is not to be built on.
    for token in [&lost.token, &seen] {
        let status = world.send_having_seen(token).await.expect_err("lost");
        assert_eq!(reason(&status), "TOKEN_LOST", "{status:?}");
    }

    for program in ["command-svc", "projector"] {
        assert!(cluster.stop(program).await, "{program} stops");
    }
    let (write, read) = (cluster.write_owner_url(), cluster.read_owner_url());
    let command = ["start-epoch", "--write-owner-url", &write, "--read-owner-url", &read];
    let done = cluster.headwater(&command).await.expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for program in ["command-svc", "projector"] {
        world.start_again(program).await;
    }

    // What was sold since the failover counts, and what was sold before it, as far as it is there.
    for receipt in [&new, &kept] {
        let shown = eventually(SOON, || world.read(at_least(&receipt.token))).await;
        assert_eq!(shown.item.expect("an item").version, new.version);
    }
    for token in [&lost.token, &seen] {
        world.is_refused(token, "TOKEN_LOST").await;
    }
    let next = world.send_having_seen(&kept.token).await.expect("sold");
    assert!(token(&next).epoch > token(&new).epoch);
    let shown = world.read(at_least(&next.token)).await.expect("its own write");
    assert_eq!(shown.item.expect("an item").version, next.version);
}

/// The write primary dies with nothing on it that its standby has not got. Everything goes on in a
/// new epoch, without operator action: the projector finds its history in the new one, tokens of
/// the old epoch count, alone and together with new ones, and a program that nobody has sent a
/// command sees to the new epoch all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_nothing_is_followed_by_itself() {
    let world = World::start(Options { replicas: 1, ..Options::default() }).await;
    world.cluster.expect_logs(FAILING_OVER);
    let kept = world.sell().await;
    let shown = world.read(at_least(&kept.token)).await.expect("its own write");
    let seen = shown.freshness.expect("a freshness").token;
    let standby = world.standby().await;
    world.fail_over_to(standby).await;

    let old = token(&kept).epoch;
    eventually(SOON, || async {
        let shown = world.read(any()).await.map_err(|status| status.to_string())?;
        let shown = Token::decode(&shown.freshness.expect("a freshness").token).expect("a token");
        if shown.epoch > old { Ok(()) } else { Err("the views are of the old epoch".to_owned()) }
    })
    .await;
    for token in [&kept.token, &seen] {
        let shown = world.read(at_least(token)).await.expect("it counts");
        assert_eq!(shown.item.expect("an item").version, kept.version);
    }
    let sale = world.new_sale();
    let new = eventually(SOON, || world.send(&sale)).await;
    assert!(token(&new).epoch > old);
    let all = format!("{},{},{seen}", kept.token, new.token);
    for tokens in [&all, &new.token] {
        let shown = world.read(at_least(tokens)).await.expect("its own write");
        assert_eq!(shown.item.expect("an item").version, new.version);
    }
    // A token of the old epoch that claims more than the old history ever had.
    let mut more = token(&kept);
    more.raise(Partition(0), Position(place(&kept).0 + 1));
    world.is_refused(&more.encode(), "TOKEN_LOST").await;
    audit(&world).await;
}
