//! Parked events, tried again or dropped: the rows that wait behind them are folded anew from the
//! log, from where they stopped up to the checkpoint, while everything else goes on.
//!
//! ```text
//! what waits -> rows to fold -> log up to the checkpoint -> under its lock: the rest of the log,
//! rows, revision
//! ```

use std::collections::{HashMap, HashSet};

use headwater_eventlog::{EventLog, LogInfo, Servers};
use headwater_kernel::row::Value;

use crate::migrate::SchemaError;
use crate::parked::{self, Outcome, Waiting};
use crate::projection::checkpoint::Checkpoint;
use crate::projection::loaded::Need;
use crate::projection::piece::Piece;
use crate::projection::refold::{Bound, Refold, Target};
use crate::projection::{Changes, Projection};
use crate::selection::{ROWS_MAX, Selection};
pub use crate::selection::{RetryError, Which};
use crate::session::Session;
use crate::span::Span;
use crate::stop::{Stop, within};

/// The most events that are folded under the checkpoint's lock, so that the projector waits for
/// moments only.
const LOCKED_EVENTS_MAX: u64 = 2_000;
/// Times that what was read may turn out to have changed.
const TRIES: u32 = 10;

/// What became of the rows and streams that were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Rows and streams that wait no more.
    pub released: usize,
    /// Rows that were written.
    pub rows: usize,
    /// Rows and streams that wait as before, or behind a later event: view, key, and the reason.
    pub still: Vec<(String, String, String)>,
}

impl Retried {
    fn add(&mut self, other: Self) {
        self.released += other.released;
        self.rows += other.rows;
        self.still.extend(other.still);
    }
}

/// Tries parked events of a projection again.
pub struct Retry {
    log: EventLog,
    session: Session,
    projection: Projection,
    /// Events that the last attempt folded into a row.
    applied: u64,
}

/// Everything that waits, and what is to be done about it.
struct Job {
    checkpoint: Checkpoint,
    waiting: Vec<Waiting>,
    selected: Vec<Waiting>,
    refold: Refold,
}

impl Retry {
    /// Connects to the servers with these URLs: of the log, and of the read primary with the rights
    /// of its owner. Each may name several, separated by commas.
    ///
    /// # Errors
    /// One of them cannot be reached, or the read primary is not what the projection needs.
    pub async fn open(write: &str, read: &str, projection: Projection) -> Result<Self, Stop> {
        let log = within("connecting to the log", EventLog::connect(write, 2)).await?;
        let servers = Servers::parse(read).map_err(SchemaError::Url)?;
        let place = servers.find().await?;
        let session = Session::open(servers.url(place), &projection).await?;
        Ok(Self::new(log, session, projection))
    }

    /// Works with these connections; the session is to the read primary, with the rights of its
    /// owner.
    pub fn new(log: EventLog, session: Session, projection: Projection) -> Self {
        Self { log, session, projection, applied: 0 }
    }

    /// Folds the rows anew. Rows that still fail wait on, behind the event that fails now.
    ///
    /// # Errors
    /// Nothing was changed. The connections are to be left then.
    pub async fn again(&mut self, which: &Which) -> Result<Retried, RetryError> {
        if *which != Which::All {
            return self.one(which, None).await;
        }
        // All at once is one pass over the log.
        match self.run(which, None, None).await {
            Err(RetryError::Stop(stop)) if stop.refusal().is_some() => {}
            done => return done,
        }
        let mut all = Retried::default();
        for row in self.session.waiting().await? {
            match self.one(&Which::One(row.view.clone(), row.row_key.clone()), None).await {
                Ok(retried) => all.add(retried),
                // Released together with another one.
                Err(RetryError::NotParked) => {}
                Err(RetryError::Stop(stop)) if stop.refusal().is_some() => {
                    let error = stop.refusal().unwrap_or_default();
                    all.still.push((row.view, row.row_key, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Leaves the event that a row waits behind out of it for good, in the name of `by`, and folds
    /// what follows.
    ///
    /// # Errors
    /// Nothing was changed. The connections are to be left then.
    pub async fn drop_event(
        &mut self,
        view: &str,
        key: &str,
        by: &str,
    ) -> Result<Retried, RetryError> {
        let which = Which::One(view.to_owned(), key.to_owned());
        self.one(&which, Some(by)).await
    }

    /// Folds one row, or what a stream touches, as far as the database takes what it comes to:
    /// fewer and fewer events, until the one is found that makes it a row that is refused.
    async fn one(&mut self, which: &Which, mut drop: Option<&str>) -> Result<Retried, RetryError> {
        let mut all = Retried::default();
        let mut work = vec![(which.clone(), None)];
        while let Some((which, bound)) = work.pop() {
            let bounded = bound.as_ref().is_some_and(|bound: &Bound| bound.events > 0);
            let retried = match self.run(&which, drop, bound).await {
                Err(RetryError::Stop(stop)) if self.applied > 0 && stop.is_about_a_value() => {
                    let error = stop.refusal().unwrap_or_default();
                    work.push((which, Some(Bound { events: self.applied / 2, error })));
                    continue;
                }
                retried => retried?,
            };
            drop = None;
            match bounded {
                // There may be room for more events.
                true => {
                    let rows =
                        retried.still.iter().map(|(view, key, _)| (view.clone(), key.clone()));
                    work.extend(rows.map(|(view, key)| (Which::One(view, key), None)));
                    all.add(Retried { still: Vec::new(), ..retried });
                }
                false => all.add(retried),
            }
        }
        Ok(all)
    }

    async fn run(
        &mut self,
        which: &Which,
        drop: Option<&str>,
        bound: Option<Bound>,
    ) -> Result<Retried, RetryError> {
        for _ in 0..TRIES {
            let Some(mut job) = self.begin(which, drop.is_some()).await? else {
                return Ok(Retried::default());
            };
            job.refold.bind(bound.clone());
            let done = self.finish(&mut job, drop).await;
            self.applied = job.refold.applied();
            match done {
                Err(Stop::Overtaken) => {}
                done => return Ok(done?),
            }
        }
        Err(Stop::Overtaken.into())
    }

    async fn begin(&mut self, which: &Which, drops: bool) -> Result<Option<Job>, RetryError> {
        let Some(checkpoint) = self.session.checkpoint().await? else { return Ok(None) };
        self.same_history(&checkpoint).await?;
        let connection = self.session.connection();
        let waiting = self.session.waiting().await?;
        let mut dropped = parked::dropped(connection, self.projection.name()).await?;
        let wanted = |w: &&Waiting| match which {
            Which::All => true,
            Which::One(view, key) => w.view == *view && w.row_key == *key,
        };
        let selected: Vec<Waiting> = waiting.iter().filter(wanted).cloned().collect();
        if selected.is_empty() {
            return if *which == Which::All { Ok(None) } else { Err(RetryError::NotParked) };
        }
        if drops {
            dropped.extend(selected.iter().map(Waiting::dropped));
        }
        let selection = Selection { projection: self.projection.clone() };
        let targets =
            selection.targets(&self.log, &mut self.session, &checkpoint, &selected).await?;
        let refold = selection.refold(&checkpoint, &waiting, &selected, targets, dropped);
        Ok(Some(Job { checkpoint, waiting, selected, refold }))
    }

    /// The log has to be the one that was applied.
    async fn same_history(&self, checkpoint: &Checkpoint) -> Result<(), Stop> {
        let lineage = within("reading the log's epochs", self.log.read_lineage()).await?;
        let info = LogInfo { epoch: lineage.epoch(), ..self.log.info() };
        checkpoint.belongs_to(&info)?;
        let positions: Vec<_> = checkpoint.heads.iter().map(|head| head.position).collect();
        let history =
            within("comparing the log's history", self.log.history_at(&positions)).await?;
        checkpoint.is_continued_by(&history)?;
        Ok(())
    }

    async fn finish(&mut self, job: &mut Job, drop: Option<&str>) -> Result<Retried, Stop> {
        let stored = self.stored(&job.refold).await?;
        job.refold.start_from(stored);
        self.fold(&mut job.refold, &job.checkpoint).await?;
        loop {
            let now = self.unrevised(job).await?;
            let behind: u64 = now
                .heads
                .iter()
                .zip(job.refold.positions())
                .map(|(head, seen)| head.position.0.saturating_sub(seen.0))
                .sum();
            if behind <= LOCKED_EVENTS_MAX {
                break;
            }
            self.fold(&mut job.refold, &now).await?;
        }
        self.session.begin().await?;
        parked::lock(self.session.connection(), self.projection.name()).await?;
        let done = self.write(job, drop).await;
        match done {
            Ok(_) => self.session.end().await?,
            Err(_) => self.session.abandon().await?,
        }
        done
    }

    /// The checkpoint now, and what has come to wait by then; unless rows were changed by others
    /// than the projector.
    async fn unrevised(&self, job: &mut Job) -> Result<Checkpoint, Stop> {
        let now = self.session.checkpoint().await?.ok_or(Stop::Overtaken)?;
        if now.revision != job.checkpoint.revision || now.epoch != job.checkpoint.epoch {
            return Err(Stop::Overtaken);
        }
        let waiting = self.session.waiting().await?;
        // At one revision nothing stops to wait.
        let known: HashSet<_> = job.waiting.iter().map(Waiting::place).collect();
        for new in waiting.iter().filter(|waiting| !known.contains(&waiting.place())) {
            job.refold.wait(&new.view, &new.row_key, new.stream, new.position);
        }
        job.waiting = waiting;
        Ok(now)
    }

    /// Under the checkpoint's lock.
    async fn write(&mut self, job: &mut Job, drop: Option<&str>) -> Result<Retried, Stop> {
        let now = self.unrevised(job).await?;
        self.fold(&mut job.refold, &now).await?;
        let stored = self.stored(&job.refold).await?;
        let changes = self.projection.difference(stored, &job.refold)?;
        let rows = changes.iter().map(Changes::rows).sum();
        let selection = Selection { projection: self.projection.clone() };
        let selected: HashSet<_> = job.selected.iter().map(Waiting::place).collect();
        let is_tried = |w: &&Waiting| {
            let place = selection.place(&w.view, &w.row_key).ok();
            let is_target = place.is_some_and(|(view, key)| job.refold.has(view, &key));
            is_target || selected.contains(&w.place())
        };
        let tried: Vec<&Waiting> = job.waiting.iter().filter(is_tried).collect();
        let failed: Vec<_> = job.refold.parked().collect();
        let still = failed
            .iter()
            .map(|p| (p.view.to_owned(), p.row_key.clone(), p.error.clone()))
            .collect();
        let released = tried.len().saturating_sub(failed.len());
        let dropped = drop.map(|by| (job.selected.as_slice(), by));
        let partitions = now.heads.len();
        let outcome = Outcome { changes, tried, parked: failed, dropped, partitions };
        parked::write(self.session.connection(), &self.projection, outcome).await?;
        Ok(Retried { released, rows, still })
    }

    /// The rows as they are stored.
    async fn stored(&mut self, refold: &Refold) -> Result<Vec<Vec<Vec<Value>>>, Stop> {
        let need = |targets: &HashMap<Value, Target>| Need {
            keys: targets.keys().cloned().collect(),
            matching: HashMap::new(),
        };
        let needs: Vec<Need> = refold.targets().iter().map(need).collect();
        self.session.load(&needs, ROWS_MAX).await
    }

    /// Folds the log up to a checkpoint.
    async fn fold(&mut self, refold: &mut Refold, until: &Checkpoint) -> Result<(), Stop> {
        let mut span = Span::open(&self.log, refold.positions(), until).await?;
        while let Some(events) = span.next(&self.log).await? {
            let plan = self.projection.plan(Piece::of(events));
            let rows = self.session.load(&plan.lookups(refold), ROWS_MAX).await?;
            plan.refold(rows, refold)?;
        }
        Ok(())
    }
}
