//! A projection is rebuilt beside the live one, which then takes its place in one transaction.
//!
//! ```text
//! log -> draft (the same fold, in a schema of its own), up to the live checkpoint, again and again
//!                                                       |
//!   one transaction on the read primary:                v
//!   bar the projector, fold the rest, bar the queries, draft -> live -> kept, tell who watches
//! ```
//! Until that transaction nothing of the live views is touched: a rebuild that is killed leaves a
//! draft, which the next one removes, and begins anew. Two at once are refused.

mod switch;
mod tables;
mod terms;

use std::time::Duration;

use headwater_eventlog::EventLog;
use headwater_kernel::Access;
use postgres_types::ToSql;
use tokio::time::{Instant, sleep};

use crate::audit::compare::compare;
use crate::audit::draft::{Draft, Purpose};
use crate::audit::shown::{Held, shown};
use crate::migrate;
use crate::primary::ReadDatabase;
use crate::projection::{Projection, ViewInfo};
use crate::stop::{Stop, within};

use switch::Switch;
pub use switch::Switched;
use terms::{APPLICATION, Compared, Source, applied, registered, target};
pub use terms::{History, TOLD_MAX};

/// Events that may be left to fold while the projector waits, about.
const LEFT_MAX: u64 = 5_000;
/// Times that the draft runs after the live projection: each has less left than the one before.
const ROUNDS_MAX: u32 = 30;
/// Time for which the switch asks for its locks.
const IN_USE_MAX: Duration = Duration::from_secs(60);
/// Pause before it asks again, so that those whom it held up get through.
const AGAIN: Duration = Duration::from_millis(200);
/// A rebuild of one projection that is under way.
pub struct Rebuild {
    projection: Projection,
    owner_url: String,
    draft: Draft,
    source: Source,
    history: History,
}

impl Rebuild {
    /// Folds the log into a draft, until little is left to fold. `owner_url` names the read
    /// primary, or servers of which it is one, as the schema's owner. `progress` is told how many
    /// events have been folded, and of how many.
    ///
    /// # Errors
    /// A database cannot be reached, the log is not the one that the live rows are of, or an audit
    /// or another rebuild is under way. The live views are as they were.
    pub async fn begin(
        owner_url: &str,
        log: EventLog,
        projection: &Projection,
        history: History,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, Stop> {
        let owner_url = migrate::primary_url(owner_url).await?;
        let draft = Draft::begin(&owner_url, log, projection, Purpose::Rebuild).await?;
        let named: [&(dyn ToSql + Sync); 1] = [&projection.name()];
        let begin = draft.client().execute(include_str!("../sql/rebuild/begin.sql"), &named);
        within("beginning the projection", begin).await?;
        let projection = projection.clone();
        let mut rebuild = Self { projection, owner_url, draft, source: Source::Draft, history };
        rebuild.catch_up(progress).await?;
        rebuild.vacuum().await?;
        Ok(rebuild)
    }

    /// Folds the tables that the last rebuild replaced on to where the live ones are, to put them
    /// back.
    ///
    /// # Errors
    /// As above, or no tables are kept, or they are of another version than the program's views.
    pub async fn back(
        owner_url: &str,
        log: EventLog,
        projection: &Projection,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, Stop> {
        let owner_url = migrate::primary_url(owner_url).await?;
        let draft = Draft::resume(&owner_url, log, projection).await?;
        let projection = projection.clone();
        let (source, history) = (Source::Kept, History::Same);
        let mut rebuild = Self { projection, owner_url, draft, source, history };
        rebuild.catch_up(progress).await?;
        Ok(rebuild)
    }

    /// Puts the rebuilt tables in the place of the live ones, all at once, and keeps those.
    ///
    /// # Errors
    /// A database cannot be reached, or the views are used without a break for a minute. Nothing
    /// was switched, unless the connection broke while the transaction was being committed: then
    /// the views are whole either way.
    pub async fn switch(mut self) -> Result<Switched, Stop> {
        let compared = self.compare().await?;
        self.catch_up(|_, _| {}).await?;
        let until = Instant::now() + IN_USE_MAX;
        let switched = loop {
            let switch = Switch {
                projection: &self.projection,
                draft: &mut self.draft,
                source: self.source,
                history: self.history,
                compared: &compared,
            };
            match switch.attempt(&self.owner_url).await {
                Err(stop) if is_contended(&stop) => {
                    tracing::debug!(error = %stop, "the views are in use");
                    if Instant::now() > until {
                        return Err(Stop::InUse(IN_USE_MAX));
                    }
                    // tidy: allow sleep: queries go first
                    sleep(AGAIN).await;
                }
                done => break done?,
            }
        };
        self.draft.remove().await?;
        Ok(switched)
    }

    /// Up to the live projection, or close to it.
    async fn catch_up(&mut self, mut progress: impl FnMut(u64, u64)) -> Result<(), Stop> {
        let primary = self.primary().await?;
        for _ in 0..ROUNDS_MAX {
            let target = target(&primary, &self.draft, &self.projection, self.history).await?;
            let begun = applied(self.draft.checkpoint());
            self.draft.advance(&target, &mut progress).await?;
            if applied(&target).saturating_sub(begun) <= LEFT_MAX {
                break;
            }
        }
        Ok(())
    }

    /// So that the first queries have statistics, and need not look whether each row is visible.
    async fn vacuum(&self) -> Result<(), Stop> {
        let client = self.draft.client();
        client.batch_execute("SET statement_timeout = 0").await?;
        for view in self.draft.projection().views() {
            let sql = format!(r#"VACUUM (ANALYZE) headwater_read."{}""#, view.table());
            client.batch_execute(&self.draft.projection().sql(&sql)).await?;
        }
        Ok(())
    }

    /// What differs in the views that are watched: at one snapshot of the live ones, so that nobody
    /// waits for it.
    async fn compare(&mut self) -> Result<Compared, Stop> {
        let primary = self.primary().await?;
        let live = registered(&primary, &self.projection).await?;
        let is_live = |view: &ViewInfo| live.iter().any(|live| live.is(view));
        if self.history == History::Any || !watched(&self.projection).all(is_live) {
            return Ok(Compared::TooMuch);
        }
        let begin = include_str!("../sql/rebuild/snapshot.sql");
        within("taking a snapshot", primary.batch_execute(begin)).await?;
        let shown = shown(&primary, &self.projection).await?;
        self.draft.advance(&shown, |_, _| {}).await?;
        let views = watched(&self.projection);
        let outcome = compare(&primary, &self.draft, views, &Held::new()).await?;
        Ok(match outcome.different <= TOLD_MAX.min(outcome.differences.len()) as u64 {
            true => Compared::Rows(shown, outcome.differences),
            false => Compared::TooMuch,
        })
    }

    async fn primary(&self) -> Result<ReadDatabase, Stop> {
        Ok(ReadDatabase::open(Access::ReadOnly, &self.owner_url, APPLICATION).await?)
    }
}

fn watched(projection: &Projection) -> impl Iterator<Item = &ViewInfo> {
    projection.views().iter().filter(|view| view.watched)
}

/// True if it is others who hold the locks, or the other one of a deadlock.
fn is_contended(stop: &Stop) -> bool {
    let Stop::Read(error) = stop else { return false };
    error.code().is_some_and(|code| ["55P03", "40P01"].contains(&code.code()))
}
