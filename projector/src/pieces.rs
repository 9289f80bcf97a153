//! A batch, applied whole; or in pieces, if it is too large or the database refuses it, until the
//! events are found that cannot be applied, each of which is parked.

use crate::projection::checkpoint::Checkpoint;
use crate::projection::parked::{BLOCKED_MAX, Blocked, Parked, ROWS_OF_AN_EVENT_MAX};
use crate::projection::piece::{Piece, Refusal};
use crate::projection::plan::{Folded, Start};
use crate::projection::{Changes, Projection};
use crate::session::Session;
use crate::stop::Stop;

/// Applies batches. Remembers how many events were too many.
pub(super) struct Pieces {
    projection: Projection,
    /// The most rows that are loaded at once.
    rows_max: usize,
    /// The most events that are tried at once: halved by what fails, doubled by what succeeds.
    events_max: usize,
}

/// Events, and the checkpoint before and after them.
pub(super) struct Step {
    pub piece: Piece,
    pub before: Checkpoint,
    pub after: Checkpoint,
}

/// Outcome of applied events.
#[derive(Default)]
pub(super) struct Applied {
    /// Rows that were written.
    pub rows: usize,
    /// Events that block a row or a stream.
    pub parked: Vec<Parked>,
    /// Events that wait for others, once for every row.
    pub held: u64,
}

impl Pieces {
    pub fn new(projection: Projection, rows_max: usize) -> Self {
        Self { projection, rows_max, events_max: usize::MAX }
    }

    /// Applies a batch in one transaction, in log order, and adds to `blocked` what it blocks.
    ///
    /// # Errors
    /// Whatever is not about the events. Nothing was applied, or it is not known.
    pub async fn apply(
        &mut self,
        session: &mut Session,
        blocked: &mut Blocked,
        step: Step,
    ) -> Result<Applied, Stop> {
        let events = step.piece.events().len();
        if events <= self.events_max {
            match self.attempt(session, blocked, &step).await {
                Err(stop) if stop.refusal().is_some() => self.halve(events, &stop),
                Err(stop) => return Err(stop),
                Ok(applied) => {
                    self.events_max = self.events_max.saturating_mul(2);
                    applied.parked.iter().for_each(|p| blocked.insert(p.view, &p.row_key));
                    return Ok(applied);
                }
            }
        }
        // Checkpoints can only stand where an append ended. Those between the pieces do not, but
        // nobody sees them: one transaction goes from one end to the other.
        session.begin().await?;
        let applied = self.in_pieces(session, blocked, step).await?;
        session.end().await?;
        Ok(applied)
    }

    async fn in_pieces(
        &mut self,
        session: &mut Session,
        blocked: &mut Blocked,
        whole: Step,
    ) -> Result<Applied, Stop> {
        let events = whole.piece.events().len();
        let mut all = Applied::default();
        let mut at = whole.before;
        let mut done = 0;
        while done < events {
            let end = events.min(done.saturating_add(self.events_max));
            let piece = whole.piece.part(done..end);
            let after = if end == events { whole.after.clone() } else { between(&at, &piece) };
            let step = Step { piece, before: at.clone(), after };
            let applied = match self.try_out(session, blocked, &step).await {
                Ok(applied) => {
                    self.events_max = self.events_max.saturating_mul(2);
                    applied
                }
                Err(stop) if stop.refusal().is_none() => return Err(stop),
                Err(stop) if end - done > 1 => {
                    self.halve(end - done, &stop);
                    continue;
                }
                Err(stop) => self.without(session, blocked, &step, stop).await?,
            };
            applied.parked.iter().for_each(|p| blocked.insert(p.view, &p.row_key));
            all.rows += applied.rows;
            all.parked.extend(applied.parked);
            all.held += applied.held;
            at = step.after;
            done = end;
        }
        Ok(all)
    }

    fn halve(&mut self, events: usize, stop: &Stop) {
        self.events_max = (events / 2).max(1);
        let projection = self.projection.name();
        tracing::info!(projection, events, error = %stop, "a batch is refused, and halved");
    }

    /// Parks the one event of the step: for the rows of the one view whose rows are refused, or as
    /// a whole.
    async fn without(
        &self,
        session: &mut Session,
        blocked: &Blocked,
        step: &Step,
        stop: Stop,
    ) -> Result<Applied, Stop> {
        let Some(error) = stop.refusal() else { return Err(stop) };
        let views = if stop.is_about_a_value() { self.projection.views().len() } else { 0 };
        let of_views = (0..views).map(|view| Refusal::View { view, error: error.clone() });
        let mut last = stop;
        for refusal in of_views.chain([Refusal::Event(error.clone())]) {
            let piece = step.piece.clone().refusing(0, refusal);
            let (before, after) = (step.before.clone(), step.after.clone());
            match self.try_out(session, blocked, &Step { piece, before, after }).await {
                Err(stop) if stop.refusal().is_some() => last = stop,
                done => return done,
            }
        }
        // With the event left out it fails all the same: so it is not about the event.
        Err(last)
    }

    /// An attempt inside of the transaction, which is as it was before if it fails.
    async fn try_out(
        &self,
        session: &mut Session,
        blocked: &Blocked,
        step: &Step,
    ) -> Result<Applied, Stop> {
        session.save().await?;
        let tried = self.attempt(session, blocked, step).await;
        match &tried {
            Ok(_) => session.keep().await?,
            Err(stop) if stop.refusal().is_some() => session.restore().await?,
            // The connection is dropped, and the transaction with it.
            Err(_) => {}
        }
        tried
    }

    async fn attempt(
        &self,
        session: &mut Session,
        blocked: &Blocked,
        step: &Step,
    ) -> Result<Applied, Stop> {
        let folded = self.fold(session, blocked, step).await?;
        if blocked.len() + folded.parked.len() > BLOCKED_MAX {
            return Err(Stop::TooMuchParked);
        }
        let rows = folded.changes.iter().map(Changes::rows).sum();
        let (parked, held) = (folded.parked.clone(), folded.held);
        match session.commit(&step.before, &step.after, folded).await? {
            true => Ok(Applied { rows, parked, held }),
            false => Err(Stop::Overtaken),
        }
    }

    async fn fold(
        &self,
        session: &mut Session,
        blocked: &Blocked,
        step: &Step,
    ) -> Result<Folded, Stop> {
        let mut piece = step.piece.clone();
        let positions = step.before.heads.iter().map(|head| head.position).collect();
        let start = Start { positions, blocked };
        loop {
            let plan = self.projection.plan(piece.clone());
            // Read outside of the transaction that writes: whoever changes these rows meanwhile
            // moves the checkpoint too, and then the commit writes nothing.
            let rows = session.load(&plan.needs(), self.rows_max).await?;
            let folded = plan.fold(rows, &start)?;
            let Some(index) = broad(&folded.parked, &piece) else { return Ok(folded) };
            let error = format!("it cannot be applied to more than {ROWS_OF_AN_EVENT_MAX} rows");
            piece = piece.refusing(index, Refusal::Event(error));
        }
    }
}

/// The checkpoint inside of a transaction, after a piece that may end within an append. Digests are
/// known where appends end, and only there.
fn between(before: &Checkpoint, piece: &Piece) -> Checkpoint {
    let mut between = before.clone();
    for event in piece.events() {
        if let Some(head) = between.heads.get_mut(usize::from(event.partition.0)) {
            head.position = event.position;
        }
    }
    between
}

/// The index of the first event that blocks more rows than one event may.
fn broad(parked: &[Parked], piece: &Piece) -> Option<usize> {
    let place = |parked: &Parked| (parked.event.partition, parked.event.position);
    let mut of_events = parked.chunk_by(|a, b| place(a) == place(b));
    let (partition, position) =
        place(of_events.find(|of| of.len() > ROWS_OF_AN_EVENT_MAX)?.first()?);
    piece.events().iter().position(|e| e.partition == partition && e.position == position)
}
