//! A snapshot that is held for long, by a dump or an initial copy: nothing that appends look at may
//! grow by it.

use headwater_previous as previous;

use super::editions::Program;
use super::*;

/// Pages that 200 appends touch, times being noise: with the log as it is, and after 5,000 more
/// appends under a snapshot that is held.
async fn touched_by_appends(url: &str, program: impl AsyncFn() -> Program) -> [i64; 2] {
    let mut touched = [0; 2];
    let mut holder = connect(url).await;
    for (round, touched) in touched.iter_mut().enumerate() {
        if round == 1 {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM headwater_log.log";
            sqlx::raw_sql(begin).execute(&mut holder).await.expect("a snapshot");
        }
        append(program().await, 5_000).await;
        let before = pages_touched(url).await;
        append(program().await, 200).await;
        *touched = pages_touched(url).await - before;
    }
    touched
}

async fn append(mut program: Program, appends: u64) {
    for _ in 0..appends {
        let outcome = program.one(command(stream(), 0, 1)).await;
        assert!(outcome.starts_with("committed"), "{outcome}");
    }
}

/// Pages that statements have touched so far. The server adds a session's up when it ends.
async fn pages_touched(url: &str) -> i64 {
    let mut owner = connect(url).await;
    eventually(Duration::from_secs(10), async || {
        let left = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE '%headwater_log.append%'
                       AND pid <> pg_backend_pid()";
        let left: i64 =
            sqlx::query_scalar(left).fetch_one(&mut connect(url).await).await.expect("a count");
        if left == 0 { Ok(()) } else { Err(format!("{left} sessions are left")) }
    })
    .await;
    let pages = "SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::bigint
                   FROM pg_statio_user_tables WHERE schemaname = 'headwater_log'";
    sqlx::query_scalar(pages).fetch_one(&mut owner).await.expect("pages")
}

#[tokio::test]
async fn a_snapshot_that_is_held_does_not_slow_appends() {
    let log = fresh_log(1).await;
    let program = async || Program::New(log.appender(P0));
    let [before, held] = touched_by_appends(&log.url, program).await;
    println!("pages touched by 200 appends: {before}, then {held} under a snapshot that is held");
    assert!(held <= before + before / 10, "{before} became {held}");

    // The last release shows what it would look like.
    let url = fresh_database().await;
    previous::EventLog::migrate(&url, 1).await.expect("migrated");
    let old = previous::EventLog::connect(&url, 1).await.expect("connected");
    let program = async || Program::Old(old.appender(P0));
    let [before, held] = touched_by_appends(&url, program).await;
    println!("the last release: {before}, then {held}");
    assert!(held > 2 * before, "{before} became {held}");
}
