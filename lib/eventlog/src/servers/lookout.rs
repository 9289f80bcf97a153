//! Asks a server again and again whether it takes writes, as long as somebody wants to know.

use std::sync::Weak;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::choice::Answer;
use super::record::Record;
use crate::error::LogError;

/// A server that needs longer to say what it is, connecting included, is taken for dead.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Time between two looks at a server: so soon a promotion is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A name may come to mean another server while the connection to the old one lives on: after this
/// time it is looked up again.
const HELD_MAX: Duration = Duration::from_secs(10);

/// A connection for looking.
struct Held {
    connection: PgConnection,
    since: Instant,
}

/// Looks until nobody is left to tell.
pub(super) async fn watch(record: Weak<Record>, server: usize) {
    let mut held = None;
    while let Some(record) = record.upgrade() {
        let begun = Instant::now();
        let asked = timeout(ANSWER_MAX, ask(&record.servers[server].options, &mut held)).await;
        let asked = asked.unwrap_or_else(|_| {
            Err(sqlx::Error::Io(std::io::Error::other(format!("no answer in {ANSWER_MAX:?}"))))
        });
        if asked.is_err() {
            held = None;
        }
        record.note(server, begun, answer(asked));
        drop(record);
        sleep(LOOK_EVERY).await;
    }
}

async fn ask(
    options: &PgConnectOptions,
    held: &mut Option<Held>,
) -> Result<Option<u32>, sqlx::Error> {
    let kept = held.take().filter(|held| held.since.elapsed() < HELD_MAX);
    let held = match kept {
        Some(kept) => held.insert(kept),
        None => {
            let connection = options.connect().await?;
            held.insert(Held { connection, since: Instant::now() })
        }
    };
    timeline(&mut held.connection).await
}

/// The timeline on which a server takes writes; `None` if it follows another one.
pub(super) async fn timeline(connection: &mut PgConnection) -> Result<Option<u32>, sqlx::Error> {
    let sql = include_str!("../../sql/timeline.sql");
    let timeline: Option<i64> = sqlx::query_scalar(sql).fetch_one(connection).await?;
    Ok(timeline.map(|timeline| timeline.unsigned_abs() as u32))
}

fn answer(asked: Result<Option<u32>, sqlx::Error>) -> Answer {
    match asked {
        Ok(Some(timeline)) => Answer::Primary(timeline),
        Ok(None) => Answer::Standby,
        Err(error) => {
            let why = error.to_string();
            let passes = matches!(LogError::from_sqlx(error), LogError::Unavailable(_));
            Answer::Silent { why, passes }
        }
    }
}
