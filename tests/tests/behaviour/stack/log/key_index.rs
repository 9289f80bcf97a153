//! The index of the events' keys is built on a log that programs append to, and made anew if that
//! was interrupted.

use headwater_eventlog::Edition;

use super::editions::{Program, keyed, made_by_the_last_release, old};
use super::*;

/// Appends by programs of both releases to this stream at this version; answers the next one.
async fn both_append(url: &str, stream: StreamId, version: u64) -> u64 {
    let (old, new) = (old(url).await, open(url.to_owned()).await);
    let programs = [Program::Old(old.appender(P0)), Program::New(new.appender(P0))];
    let mut next = version;
    for mut program in programs {
        let appended = program.one(command(stream, next, 1));
        let appended = tokio::time::timeout(Duration::from_secs(5), appended).await;
        let outcome = appended.expect("an append does not wait for the index");
        next += 1;
        assert_eq!(outcome, format!("committed v{next} at {next}"));
    }
    old.close().await;
    next
}

/// The server process that builds an index, once it has read the table and waits for a snapshot.
async fn builder(url: &str) -> i32 {
    let building = "SELECT pid FROM pg_stat_progress_create_index p
         WHERE p.datname = current_database() AND p.phase = 'waiting for old snapshots'";
    let mut connection = connect(url).await;
    let waited = async {
        loop {
            let query = sqlx::query_scalar::<_, i32>(building);
            if let Some(pid) = query.fetch_optional(&mut connection).await.expect("asked") {
                return pid;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("an index is built")
}

/// Whether the index is whole, if it is there.
async fn is_valid(url: &str) -> Option<bool> {
    let query = "SELECT i.indisvalid FROM pg_index i
         WHERE i.indexrelid = to_regclass('headwater_log.event_key')";
    sqlx::query_scalar(query).fetch_optional(&mut connect(url).await).await.expect("asked")
}

async fn a_dump(url: &str) -> PgConnection {
    let mut dump = connect(url).await;
    let begins = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class LIMIT 1";
    sqlx::raw_sql(begins).execute(&mut dump).await.expect("a snapshot");
    dump
}

#[tokio::test]
async fn appends_go_on_while_the_index_of_keys_is_built() {
    let made = made_by_the_last_release().await;
    let (url, [a, _]) = (made.url.as_str(), made.streams);
    let edition = async || open(url.to_owned()).await.info().edition;
    let migration = || {
        let url = url.to_owned();
        tokio::spawn(async move { EventLog::migrate(&url, 2).await })
    };
    // The build waits for everybody who may see the events without the index.
    let dump = a_dump(url).await;
    let interrupted = migration();
    let pid = builder(url).await;
    let next = both_append(url, a, 5).await;
    let ends = "SELECT pg_terminate_backend($1)";
    sqlx::query(ends).bind(pid).execute(&mut connect(url).await).await.expect("ended");
    interrupted.await.expect("no panic").expect_err("interrupted");
    assert_eq!(is_valid(url).await, Some(false));
    assert_eq!(edition().await, Edition::Old);
    let next = both_append(url, a, next).await;

    // Again, by two at a time: one waits, and not in a way that holds up the other.
    let migrations = [migration(), migration()];
    builder(url).await;
    assert_eq!(edition().await, Edition::Old, "nothing is used before the index is whole");
    let next = both_append(url, a, next).await;
    dump.close().await.expect("closed");
    for migration in migrations {
        migration.await.expect("no panic").expect("migrated");
    }
    assert_eq!(is_valid(url).await, Some(true));
    assert_eq!(edition().await, Edition::Both);
    let log = open(url.to_owned()).await;
    let mut program = Program::New(log.appender(P0));
    let at = |verb: &str, version| format!("{verb} v{version} at {version}");
    let outcome = program.one(keyed(command(a, next, 1), 30)).await;
    assert_eq!(outcome, at("committed", next + 1));
    let outcome = program.one(keyed(command(stream(), 0, 1), 30)).await;
    assert_eq!(outcome, at("replayed", next + 1));
}
