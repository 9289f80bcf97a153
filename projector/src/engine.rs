//! The pipeline: feed -> plan (pure) -> commit rows and checkpoint -> again.

use headwater_chassis::Shutdown;
use headwater_eventlog::{EventLog, LogInfo};
use headwater_kernel::Lineage;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::feed::{Batch, Feed, Pace};
use crate::health::Health;
use crate::meters::Meters;
use crate::pieces::{Applied, Pieces, Step};
use crate::projection::Projection;
use crate::projection::checkpoint::{Checkpoint, Cursor};
use crate::projection::parked::Blocked;
use crate::projection::piece::Piece;
use crate::session::Session;
use crate::stop::{Stop, within};
use crate::traces::BatchSpans;

/// Commits after which old changes are forgotten, all at once.
const PRUNE_EVERY: u32 = 256;

/// Applies one projection for as long as nothing goes wrong. Whatever does go wrong, a new one
/// started from the stored checkpoint goes on.
pub struct Engine {
    feed: Feed,
    applier: Applier,
}

/// Reports the engine's work as metrics and health.
#[derive(Clone)]
pub struct Reporter {
    /// The metrics.
    pub meters: Meters,
    /// The health, which is good as long as the engine works.
    pub health: Health,
}

struct Applier {
    projection: Projection,
    pieces: Pieces,
    session: Session,
    checkpoint: Checkpoint,
    blocked: Blocked,
    reporter: Reporter,
    /// True once something has been committed since the start.
    works: bool,
    changes_kept: u32,
    /// Commits until old changes are forgotten.
    until_pruned: u32,
}

impl Engine {
    /// Starts from the stored checkpoint, or from the beginning if there is none, once the log has
    /// been found to be the one that was applied; in its new epoch, if it has begun one.
    ///
    /// # Errors
    /// The databases cannot be read, or the log is another one.
    pub async fn start(
        log: EventLog,
        session: Session,
        projection: Projection,
        pace: Pace,
        reporter: Reporter,
    ) -> Result<Self, Stop> {
        let lineage = within("reading the log's epochs", log.read_lineage()).await?;
        let info = LogInfo { epoch: lineage.epoch(), ..log.info() };
        let checkpoint = match session.checkpoint().await? {
            Some(checkpoint) => checkpoint,
            None => {
                session.create_checkpoint(&Checkpoint::start(&info), &lineage).await?;
                // Read back: it has a revision now, and another copy's may have been first.
                session.checkpoint().await?.ok_or(Stop::Overtaken)?
            }
        };
        checkpoint.belongs_to(&info)?;
        let heads = within("reading the log's heads", log.heads()).await?;
        Cursor::at(&checkpoint).news(&heads)?;
        let checkpoint = in_epoch(checkpoint, &lineage, &log, &session).await?;
        let blocked = session.blocked().await?;
        reporter.meters.blocked.set(blocked.len() as i64);
        let feed = Feed::new(log, pace, &checkpoint);
        let applier = Applier {
            pieces: Pieces::new(projection.clone(), pace.rows_max),
            projection,
            session,
            checkpoint,
            blocked,
            reporter,
            works: false,
            changes_kept: pace.changes_kept,
            until_pruned: PRUNE_EVERY,
        };
        Ok(Self { feed, applier })
    }

    /// Applies batch after batch until shutdown; the batch under way is finished.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Stop> {
        let mut next = None;
        loop {
            let batch = match next.take() {
                Some(batch) => batch,
                None => tokio::select! {
                    () = shutdown.requested() => return Ok(()),
                    batch = self.feed.next() => batch?,
                },
            };
            if batch.caught_up || shutdown.is_requested() {
                self.applier.apply(batch).await?;
            } else {
                // With a backlog the next batch, and no more than that, is read while this one
                // commits.
                let (_, read) = tokio::try_join!(self.applier.apply(batch), self.feed.next())?;
                next = Some(read);
            }
            if shutdown.is_requested() {
                return Ok(());
            }
        }
    }
}

/// The checkpoint in the log's epoch. If that is a later one, what was applied must be the
/// beginning of its history, or two histories would be mixed and tokens of the new one be taken for
/// shown.
async fn in_epoch(
    checkpoint: Checkpoint,
    lineage: &Lineage,
    log: &EventLog,
    session: &Session,
) -> Result<Checkpoint, Stop> {
    if checkpoint.epoch == lineage.epoch() {
        return Ok(checkpoint);
    }
    let positions: Vec<_> = checkpoint.heads.iter().map(|head| head.position).collect();
    let history = within("comparing the log's history", log.history_at(&positions)).await?;
    if history.epoch != lineage.epoch() {
        return Err(Stop::NewEpoch);
    }
    checkpoint.is_continued_by(&history)?;
    if !session.adopt_epoch(&checkpoint, lineage).await? {
        return Err(Stop::Overtaken);
    }
    let (before, epoch) = (checkpoint.epoch.0, history.epoch.0);
    tracing::info!(before, epoch, "the log's new epoch continues what was applied");
    session.checkpoint().await?.ok_or(Stop::Overtaken)
}

impl Applier {
    async fn apply(&mut self, batch: Batch) -> Result<(), Stop> {
        if batch.events.is_empty() {
            self.heartbeat(batch).await?;
        } else {
            let spans = BatchSpans::begin(self.projection.name(), &batch.events);
            let span = spans.batch.clone();
            self.project(batch).instrument(span).await?;
        }
        if !self.works {
            self.works = true;
            self.reporter.health.note(part(&self.projection), Ok(()));
        }
        Ok(())
    }

    async fn heartbeat(&mut self, batch: Batch) -> Result<(), Stop> {
        if !self.session.heartbeat(&self.checkpoint, batch.as_of).await? {
            return Err(Stop::Overtaken);
        }
        self.checkpoint.as_of = self.checkpoint.as_of.max(batch.as_of);
        Ok(())
    }

    async fn project(&mut self, batch: Batch) -> Result<(), Stop> {
        let begun = Instant::now();
        let events = batch.events.len();
        let as_of = batch.as_of.max(self.checkpoint.as_of);
        let after = Checkpoint { heads: batch.heads, as_of, ..self.checkpoint.clone() };
        let (piece, before) = (Piece::of(batch.events), self.checkpoint.clone());
        let step = Step { piece, before, after: after.clone() };
        let applied = self.pieces.apply(&mut self.session, &mut self.blocked, step).await?;
        self.checkpoint = after;
        self.until_pruned -= 1;
        if self.until_pruned == 0 {
            self.session.prune(self.changes_kept).await?;
            self.until_pruned = PRUNE_EVERY;
        }
        self.report(&applied);
        let meters = &self.reporter.meters;
        meters.events.inc_by(events as u64);
        meters.batch_events.observe(events as f64);
        meters.batch_seconds.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn report(&self, applied: &Applied) {
        for waiting in &applied.parked {
            let view = waiting.view;
            let row = &waiting.row_key;
            let error = &waiting.error;
            let partition = waiting.event.partition.0;
            let position = waiting.event.position.0;
            tracing::error!(view, row, partition, position, error, "an event is parked");
        }
        let meters = &self.reporter.meters;
        meters.rows.inc_by(applied.rows as u64);
        meters.parked.inc_by(applied.parked.len() as u64 + applied.held);
        meters.blocked.set(self.blocked.len() as i64);
    }
}

/// The name of the projection's engine in the health check.
pub fn part(projection: &Projection) -> String {
    format!("projection {}", projection.name())
}
