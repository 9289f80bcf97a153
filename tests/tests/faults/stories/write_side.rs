//! The write side dies: command service and write primary.

use std::time::{Duration, Instant};

use headwater_tests::harness::{Options, eventually};
use tonic::Code;

use super::ledger::Sale;
use super::load::Load;
use super::talk::{any, at_least, reason, retry_after};
use super::wires::Waits;
use super::world::{SOON, Stage, World};

static STAGE: Stage = Stage::new(|| Options { replicas: 1, ..Options::default() });

/// What the router logs while there is no command service.
const COMMAND_SERVICE_AWAY: &[&str] = &[r#""message":"endpoint","upstream":"command""#];
/// What programs log while the write database is unavailable.
const WRITE_DATABASE_AWAY: &[&str] = &[
    r#""message":"the outcome of an append is unknown""#,
    r#""message":"the write database is unavailable""#,
    r#""message":"streams could not be loaded""#,
    r#""message":"snapshots were not written;"#,
    r#""message":"the projection starts anew","projection":"retail","error":"the write database"#,
    r#""message":"endpoint","upstream":"command""#,
    // The driver's own words for a connection that broke in use.
    r#""message":"error occurred while testing the connection on-release""#,
];
/// And what they log if it is unavailable for longer than the outcome of an append is looked for.
const OUTCOME_NOT_FOUND: &str = "the outcome of an append could not be found out in time";
const SELLERS: usize = 32;
/// Name of the command service's sessions.
const APPENDER: &str = headwater_eventlog::APPLICATION_NAME;
/// By then the circuit breaker is open: the outcome of what was under way is looked for no longer.
const BREAKER_OPENS: Duration = Duration::from_secs(15);
/// An answer that does not wait for a database.
const QUICK: Duration = Duration::from_secs(1);

/// The command service is killed while 32 clients sell through the router, and is started again,
/// three times. Each client sends its sale with the same key until it is answered. The first
/// process had appended some of them and told nobody: those must not be sold twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_service_is_killed_under_load() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(COMMAND_SERVICE_AWAY);
            let load = Load::start(world, SELLERS);
            for _ in 0..3 {
                load.more(150).await;
                world.kill("command-svc").await;
                world.start_again("command-svc").await;
            }
            load.more(150).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&["OUTCOME_UNKNOWN", "UPSTREAM_UNAVAILABLE"]);
            assert!(!findings.retries.is_empty(), "nobody noticed");
            findings.assert_every_query_answered();
        })
        .await;
}

/// A sale is on the write primary's disk when the command service is killed, and the reply was
/// never sent. The client sends it again, to a new process: it gets the first one's receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_whose_reply_was_lost_is_not_made_again() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(COMMAND_SERVICE_AWAY);
            let sale = world.new_sale();
            world.hold_replies().await;
            let lost = async {
                world.until_held("write", APPENDER, Waits::ForStandby).await;
                world.kill("command-svc").await;
            };
            let (answer, ()) = tokio::join!(world.send(&sale), lost);
            let status = answer.expect_err("nobody was there to answer");
            // The router saw no key: the sale has it in its message.
            assert_eq!(status.code(), Code::Unknown, "{status:?}");
            assert_eq!(reason(&status), "OUTCOME_UNKNOWN");
            world.release_replies(true).await;
            world.start_again("command-svc").await;
            let receipt = eventually(SOON, || world.send(&sale)).await;
            assert!(receipt.replayed);
        })
        .await;
}

/// The write primary is killed while 32 clients sell: with commits in flight, whose outcome nobody
/// knows. The command service finds it out when the primary is back. Meanwhile queries that take
/// any state, or one that was seen before, are answered as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_primary_is_killed_under_load() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(WRITE_DATABASE_AWAY);
            let load = Load::start(world, SELLERS);
            for _ in 0..2 {
                load.more(150).await;
                world.kill("write").await;
                eventually(SOON, || world.is_unready("command-svc")).await;
                world.start_again("write").await;
                eventually(SOON, || world.is_ready("command-svc")).await;
            }
            load.more(150).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
            findings.assert_readers_answered();
            // What was appended last could not be projected while the log was away.
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
        })
        .await;
}

/// The write primary dies with two appends in its hands: one waits for a lock and is lost, one is
/// on disk and unanswered. The client of each sends it once, and is told the truth by a command
/// service that looks before it answers: the first is made after all, the second is not made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_unknown_outcome_is_looked_up() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(WRITE_DATABASE_AWAY);
            for waits in [Waits::ForLock, Waits::ForStandby] {
                let before = unknown_outcomes(world);
                let sale = world.new_sale();
                let held = match waits {
                    Waits::ForLock => Some(world.hold_appends().await),
                    Waits::ForStandby => {
                        world.hold_replies().await;
                        None
                    }
                };
                let crash = async {
                    world.until_held("write", APPENDER, waits).await;
                    if held.is_none() {
                        world.release_replies(false).await;
                    }
                    world.kill("write").await;
                    world.start_again("write").await;
                };
                let (answer, ()) = tokio::join!(world.send(&sale), crash);
                let receipt = answer.expect("the client need not know");
                assert!(!receipt.replayed, "{waits:?}");
                assert_eq!(unknown_outcomes(world), before + 1, "{waits:?}");
            }
        })
        .await;
}

/// The write primary hangs, with every connection open and every byte acknowledged, for longer than
/// an append may take. Whoever needs it is told so, readiness too; queries go on. When it wakes up,
/// the process that has the append in its hands is ended before its outcome is looked for: it must
/// not be carried out after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_primary_hangs() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(WRITE_DATABASE_AWAY);
            let load = Load::start(world, SELLERS);
            load.more(100).await;
            let before = unknown_outcomes(world);
            world.cluster.pause("write").await;
            eventually(SOON, || world.is_unready("command-svc")).await;
            eventually(SOON, || async {
                if unknown_outcomes(world) > before {
                    Ok(())
                } else {
                    Err("it is still waited for")
                }
            })
            .await;
            world.cluster.resume("write").await;
            eventually(SOON, || world.is_ready("command-svc")).await;
            load.more(100).await;
            let findings = load.stop().await;
            findings.assert_retried_for(&["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
            findings.assert_readers_answered();
            findings.own.assert_failed_only_for(&["FRESHNESS_UNAVAILABLE"]);
        })
        .await;
}

fn unknown_outcomes(world: &World) -> usize {
    world.cluster.log("command-svc").matches("the outcome of an append is unknown").count()
}

/// The write database is down for a while. Queries that take any state or an old token go on;
/// commands are told to come back later, at once and not after a time-out each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_database_is_down() {
    STAGE
        .play(async |world| {
            world.cluster.expect_logs(WRITE_DATABASE_AWAY);
            world.cluster.expect_logs(&[OUTCOME_NOT_FOUND]);
            let old = world.sell().await.token;
            world.read(at_least(&old)).await.expect("it is projected");
            let readers = Load::start(world, 0);
            world.kill("write").await;
            let sale = world.new_sale();
            eventually(BREAKER_OPENS, || breaker_is_open(world, &sale)).await;
            for consistency in [any(), at_least(&old)] {
                world.read(consistency).await.expect("an answer");
            }
            readers.stop().await.assert_readers_answered();
            world.start_again("write").await;
            eventually(SOON, || world.send(&sale)).await;
            eventually(SOON, || world.is_ready("command-svc")).await;
        })
        .await;
}

/// Whether a command is refused at once, with a delay.
async fn breaker_is_open(world: &World, sale: &Sale) -> anyhow::Result<()> {
    let begun = Instant::now();
    let status = world.send(sale).await.expect_err("there is no database");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(retry_after(&status).is_some(), "no delay: {status:?}");
    anyhow::ensure!(reason(&status) == "DATABASE_UNAVAILABLE", "{status:?}");
    anyhow::ensure!(begun.elapsed() < QUICK, "answered after {:?}", begun.elapsed());
    Ok(())
}
