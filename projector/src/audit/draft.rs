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
use crate::session::{Session, checkpoint_in};
use crate::stop::{Stop, within};

/// Events of a batch, over all partitions, about.
const EVENTS: u32 = 5_000;
/// Rows of a batch at most.
const ROWS_MAX: usize = 200_000;

/// What a draft is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be compared with: its tables are unlogged, and nobody reads them but who made them.
    Audit,
    /// To take the place of the live tables: the replicas get them as they are filled.
    Rebuild,
}

/// Rows folded anew. They go when the next draft begins, or this one is removed.
pub(crate) struct Draft {
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
        purpose: Purpose,
    ) -> Result<Self, Stop> {
        let projection = projection.drafted();
        let mut connection = locked(owner_url).await?;
        migrate::draft(&mut connection, &projection, purpose == Purpose::Rebuild).await?;
        let session = session(connection, &projection).await?;
        let lineage = within("reading the log's epochs", log.read_lineage()).await?;
        let info = LogInfo { epoch: lineage.epoch(), ..log.info() };
        session.create_checkpoint(&Checkpoint::start(&info), &lineage).await?;
        Self::on(session, log, projection).await
    }

    /// Goes on with the tables that a rebuild has replaced, from where they were then.
    pub async fn resume(
        owner_url: &str,
        log: EventLog,
        projection: &Projection,
    ) -> Result<Self, Stop> {
        let projection = projection.kept();
        let connection = locked(owner_url).await?;
        let checkpoint = match migrate::exists(&connection, &projection).await? {
            true => checkpoint_in(&connection, &projection).await?,
            false => None,
        };
        if checkpoint.is_none() {
            return Err(Stop::NothingKept);
        }
        migrate::fits(&connection, &projection).await?;
        let session = session(connection, &projection).await?;
        let draft = Self::on(session, log, projection).await?;
        draft.is_of_the_log(&draft.checkpoint).await?;
        Ok(draft)
    }

    async fn on(session: Session, log: EventLog, projection: Projection) -> Result<Self, Stop> {
        let checkpoint = session.checkpoint().await?.ok_or(Stop::Overtaken)?;
        let blocked = session.blocked().await?;
        let pieces = Pieces::new(projection.clone(), ROWS_MAX);
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

    /// The place that its rows are at.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log that it folds.
    pub fn log(&self) -> &EventLog {
        &self.log
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
    pub async fn is_of_the_log(&self, shown: &Checkpoint) -> Result<(), Stop> {
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

/// A connection that nobody else makes a draft on as long as it lives.
async fn locked(owner_url: &str) -> Result<ReadDatabase, Stop> {
    let connection = ReadDatabase::open(Access::ReadWrite, owner_url, APPLICATION).await?;
    let lock = include_str!("../../sql/audit/lock.sql");
    let is_ours = within("asking for the lock", connection.query_one(lock, &[])).await?;
    if !is_ours.try_get::<_, bool>(0)? {
        return Err(Stop::AuditUnderWay);
    }
    Ok(connection)
}

async fn session(connection: ReadDatabase, projection: &Projection) -> Result<Session, Stop> {
    let session = Session::on(connection, projection).await?;
    session.connection().batch_execute(include_str!("../../sql/audit/session.sql")).await?;
    Ok(session)
}
