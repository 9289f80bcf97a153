//! The fold of a projection's log up to a given place, in a schema of its own.

use headwater_eventlog::{EventLog, Head, LogInfo};
use headwater_kernel::{Access, Partition, Position};
use tokio_postgres::Client;

use super::shown::APPLICATION;
use crate::migrate;
use crate::pieces::{Pieces, Step};
use crate::primary::ReadDatabase;
use crate::projection::Projection;
use crate::projection::checkpoint::{Checkpoint, Mismatch};
use crate::projection::parked::Blocked;
use crate::projection::piece::Piece;
use crate::session::Session;
use crate::stop::{Stop, within};

/// Events of a batch, over all partitions, about.
const EVENTS: u32 = 5_000;
/// Rows of a batch at most.
const ROWS_MAX: usize = 200_000;

/// Rows folded anew. They go when the next draft begins, or this one is removed.
pub(super) struct Draft {
    session: Session,
    projection: Projection,
    log: EventLog,
    checkpoint: Checkpoint,
    pieces: Pieces,
    blocked: Blocked,
}

impl Draft {
    /// Before the first event.
    pub async fn begin(
        owner_url: &str,
        log: EventLog,
        projection: &Projection,
    ) -> Result<Self, Stop> {
        let projection = projection.drafted();
        let mut connection = ReadDatabase::open(Access::ReadWrite, owner_url, APPLICATION).await?;
        let lock = include_str!("../../sql/audit/lock.sql");
        let is_ours = within("asking for the lock", connection.query_one(lock, &[])).await?;
        if !is_ours.try_get::<_, bool>(0)? {
            return Err(Stop::AuditUnderWay);
        }
        migrate::draft(&mut connection, &projection).await?;
        let session = Session::on(connection, &projection).await?;
        session.connection().batch_execute(include_str!("../../sql/audit/session.sql")).await?;
        let lineage = within("reading the log's epochs", log.read_lineage()).await?;
        let info = LogInfo { epoch: lineage.epoch(), ..log.info() };
        session.create_checkpoint(&Checkpoint::start(&info), &lineage).await?;
        let checkpoint = session.checkpoint().await?.ok_or(Stop::Overtaken)?;
        let pieces = Pieces::new(projection.clone(), ROWS_MAX);
        let blocked = Blocked::default();
        Ok(Self { session, projection, log, checkpoint, pieces, blocked })
    }

    /// The connection to its rows.
    pub fn client(&self) -> &Client {
        self.session.connection()
    }

    /// The projection as it is in the draft.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// True if nothing is in it that is not in what the other one shows.
    pub fn is_within(&self, other: &Checkpoint) -> bool {
        let mut both = self.checkpoint.heads.iter().zip(&other.heads);
        both.all(|(own, other)| own.position <= other.position)
    }

    /// Folds the events up to exactly this place, where an append ended.
    pub async fn advance(
        &mut self,
        until: &Checkpoint,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), Stop> {
        self.checkpoint.belongs_to(&LogInfo { epoch: self.checkpoint.epoch, ..self.log.info() })?;
        self.is_of_the_log(until).await?;
        let applied = |heads: &[Head]| heads.iter().map(|head| head.position.0).sum();
        while self.checkpoint.heads != until.heads {
            let (heads, events) = self.read(&until.heads).await?;
            let before = self.checkpoint.clone();
            let after = Checkpoint { heads, ..before.clone() };
            let step = Step { piece: Piece::of(events), before, after: after.clone() };
            self.pieces.apply(&mut self.session, &mut self.blocked, step).await?;
            self.checkpoint = after;
            progress(applied(&self.checkpoint.heads), applied(&until.heads));
        }
        Ok(())
    }

    /// Removes it.
    pub async fn remove(self) -> Result<(), Stop> {
        let removed = self.session.connection().batch_execute(migrate::DROP_DRAFT);
        within("removing the draft", removed).await
    }

    /// The next events of every partition that is not there yet, and where they end.
    async fn read(
        &self,
        until: &[Head],
    ) -> Result<(Vec<Head>, Vec<headwater_kernel::RecordedEvent>), Stop> {
        let mut heads = self.checkpoint.heads.clone();
        let mut events = Vec::new();
        for (number, (head, until)) in heads.iter_mut().zip(until).enumerate() {
            if head.position == until.position {
                continue;
            }
            let partition = Partition(number as u16);
            let chunk = within("reading the log", self.log.read(partition, head, EVENTS)).await?;
            if chunk.end.position == head.position {
                let (head, applied) = (head.position, until.position);
                return Err(Mismatch::Lost { partition, head, applied }.into());
            }
            let is_wanted = |position: Position| position <= until.position;
            *head = if is_wanted(chunk.end.position) { chunk.end } else { *until };
            events.extend(chunk.events.into_iter().filter(|event| is_wanted(event.position)));
        }
        Ok((heads, events))
    }

    /// Checks that an append of the log ended at these places, with these digests.
    async fn is_of_the_log(&self, shown: &Checkpoint) -> Result<(), Stop> {
        if shown.log != self.checkpoint.log || shown.heads.len() != self.checkpoint.heads.len() {
            let info = self.log.info();
            return Err(Mismatch::Log {
                applied: shown.log,
                applied_epoch: shown.epoch,
                found: info.id,
                found_epoch: info.epoch,
            }
            .into());
        }
        for (number, head) in shown.heads.iter().enumerate() {
            let partition = Partition(number as u16);
            let place = self.log.place_before(partition, head.position);
            if within("comparing the log's history", place).await? != *head {
                return Err(Mismatch::History { partition, position: head.position }.into());
            }
        }
        Ok(())
    }
}
