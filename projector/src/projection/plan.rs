//! What a batch of events does to the rows of all views of a projection. Pure: the rows come in as
//! data, and what has to be written goes out as data.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater_kernel::row::Value;
use headwater_kernel::view::{About, Lookup};
use headwater_kernel::{DecodeError, Position, RecordedEvent, StreamId, Touch, ViewError};

use super::gate::{Gate, ViewRef};
use super::loaded::{Loaded, Need};
use super::parked::{Blocked, NO_VIEW, Parked};
use super::piece::{Piece, Refusal};
use super::refold::Refold;
use super::workset::{Asked, Changes, Fact, Workset};

/// A view of the plan's projection, by name.
pub(super) struct Member {
    pub name: &'static str,
    /// Index of the view that it may look at, which stands before it.
    pub referenced: Option<usize>,
    pub rows: Box<dyn Workset>,
}

/// A batch that has been decoded and has said which rows it needs.
pub trait Plan: Send {
    /// The rows to load, one entry a view, in the projection's order.
    fn needs(&self) -> Vec<Need>;

    /// Folds the batch. `rows` are those of [`Plan::needs`] that exist.
    ///
    /// # Errors
    /// A stored row does not fit its view.
    fn fold(self: Box<Self>, rows: Loaded, start: &Start<'_>) -> Result<Folded, ViewError>;

    /// The rows to load for [`Plan::refold`]: those that its rows refer to.
    fn lookups(&self, refold: &Refold) -> Vec<Need>;

    /// Folds the batch into some rows only. `rows` are those of [`Plan::lookups`] that exist.
    ///
    /// # Errors
    /// A row does not fit its view, or this program cannot decode what was applied once.
    fn refold(self: Box<Self>, rows: Loaded, refold: &mut Refold) -> Result<(), ViewError>;

    /// The rows that events of a stream name, from an event of it on.
    fn touched(&self, stream: StreamId, from: Position) -> Vec<Need>;
}

/// State of a projection before a batch.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The last event of every partition that has gone by, from partition 0.
    pub positions: Vec<Position>,
    /// What waits.
    pub blocked: &'a Blocked,
}

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Rows to write, one entry a view, in the projection's order.
    pub changes: Vec<Changes>,
    /// The first event of each row, or stream, that cannot be applied to it, in log order. It
    /// blocks the row.
    pub parked: Vec<Parked>,
    /// Events that wait behind these and earlier ones, once for every row.
    pub held: u64,
}

/// Has every view decode the events that it reads, and asks it what they touch. `knows` is true of
/// the types of all events that the domain has: others come from a newer program, and are parked.
pub(super) fn plan(members: Vec<Member>, piece: Piece, knows: fn(&str) -> bool) -> Box<dyn Plan> {
    let mut batch = Batch { members, asked: Vec::with_capacity(piece.events().len()), piece };
    for (index, event) in batch.piece.clone().events().iter().enumerate() {
        let asked = batch.answer(index, event, knows);
        batch.asked.push(asked);
    }
    Box::new(batch)
}

struct Batch {
    piece: Piece,
    members: Vec<Member>,
    /// By event.
    asked: Vec<Answer>,
}

/// Answers of the views, by view; or the reason why nothing can be said about the event.
type Answer = Result<Vec<Asked>, String>;

impl Batch {
    fn answer(&mut self, index: usize, event: &RecordedEvent, knows: fn(&str) -> bool) -> Answer {
        if let Some(Refusal::Event(error)) = self.piece.refusal(index) {
            return Err(error.clone());
        }
        if !knows(&event.type_name) {
            let type_name = event.type_name.clone();
            return Err(DecodeError::UnknownType { type_name }.to_string());
        }
        let mut all = guarded(|| self.ask(event)).map_err(|error| error.0)?;
        if let Some(Refusal::View { view, error }) = self.piece.refusal(index)
            && let Some(asked) = all.get_mut(*view)
        {
            asked.refused = Some(error.clone());
        }
        Ok(all)
    }

    fn ask(&mut self, event: &RecordedEvent) -> Result<Vec<Asked>, ViewError> {
        let about = about(event);
        let mut all = Vec::with_capacity(self.members.len());
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let mut asked = member.rows.read(event, &about)?;
            asked.touches.iter().try_for_each(|touch| member.rows.check(touch))?;
            match member.referenced {
                None => asked.references.clear(),
                Some(referenced) => {
                    let rows = &self.members[referenced].rows;
                    let mut keys = asked.references.iter();
                    keys.try_for_each(|key| rows.check(&Touch::Key(key.clone())))?;
                }
            }
            all.push(asked);
        }
        Ok(all)
    }
}

impl Asked {
    fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.touches.iter().filter_map(|touch| match touch {
            Touch::Where { column, .. } => Some(*column),
            Touch::Key(_) => None,
        })
    }
}

impl Plan for Batch {
    fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.members.iter().map(|_| Need::default()).collect();
        for all in self.asked.iter().flatten() {
            for (index, asked) in all.iter().enumerate() {
                for touch in &asked.touches {
                    needs[index].add(touch);
                }
                if let Some(referenced) = self.members[index].referenced {
                    needs[referenced].keys.extend(asked.references.iter().cloned());
                }
            }
        }
        needs
    }

    fn fold(mut self: Box<Self>, rows: Loaded, start: &Start<'_>) -> Result<Folded, ViewError> {
        self.load(rows)?;
        let mut parking = Parking {
            parked: Vec::new(),
            held: 0,
            before: start.blocked,
            new: Blocked::default(),
            positions: start.positions.clone(),
        };
        self.apply_to(&mut parking)?;
        let changes = self.members.into_iter().map(|member| member.rows.changes()).collect();
        Ok(Folded { changes, parked: parking.parked, held: parking.held })
    }

    fn lookups(&self, refold: &Refold) -> Vec<Need> {
        let mut needs: Vec<Need> = self.members.iter().map(|_| Need::default()).collect();
        for all in self.asked.iter().flatten() {
            for (index, asked) in all.iter().enumerate() {
                let Some(referenced) = self.members[index].referenced else { continue };
                let others = asked.references.iter().filter(|key| !refold.has(referenced, key));
                if refold.has_view(index) {
                    needs[referenced].keys.extend(others.cloned());
                }
            }
        }
        needs
    }

    fn refold(mut self: Box<Self>, rows: Loaded, refold: &mut Refold) -> Result<(), ViewError> {
        let mut rows = rows;
        for (row, view) in refold.rows() {
            rows[view].push(row);
        }
        self.load(rows)?;
        self.apply_to(refold)?;
        let Self { members, .. } = *self;
        refold.take(|view, key| members[view].rows.values(key));
        Ok(())
    }

    fn touched(&self, stream: StreamId, from: Position) -> Vec<Need> {
        let mut needs: Vec<Need> = self.members.iter().map(|_| Need::default()).collect();
        let events = self.piece.events().iter().zip(&self.asked);
        let of_stream = events.filter(|(e, _)| e.stream == stream && e.position >= from);
        for all in of_stream.filter_map(|(_, asked)| asked.as_ref().ok()) {
            for (need, asked) in needs.iter_mut().zip(all) {
                asked.touches.iter().for_each(|touch| need.add(touch));
            }
        }
        needs
    }
}

struct Parking<'b> {
    parked: Vec<Parked>,
    held: u64,
    before: &'b Blocked,
    /// What this piece of the log blocks.
    new: Blocked,
    positions: Vec<Position>,
}

impl Parking<'_> {
    fn add(&mut self, view: &'static str, row_key: String, event: &RecordedEvent, error: String) {
        self.new.insert(view, &row_key);
        let mut folded = self.positions.clone();
        if let Some(position) = folded.get_mut(usize::from(event.partition.0)) {
            *position = Position(event.position.0 - 1);
        }
        self.parked.push(Parked { view, row_key, event: event.clone(), error, folded });
    }
}

impl Gate for Parking<'_> {
    fn next(&mut self, event: &RecordedEvent) -> bool {
        if let Some(position) = self.positions.get_mut(usize::from(event.partition.0)) {
            *position = event.position;
        }
        let waits = self.before.has_stream(event.stream) || self.new.has_stream(event.stream);
        self.held += u64::from(waits);
        !waits
    }

    fn folds(&mut self, view: ViewRef, key: &Value, _event: &RecordedEvent) -> bool {
        let waits = self.is_blocked(view, key);
        self.held += u64::from(waits);
        !waits
    }

    fn is_blocked(&self, view: ViewRef, key: &Value) -> bool {
        self.before.has_row(view.name, key) || self.new.has_row(view.name, key)
    }

    fn park(&mut self, view: ViewRef, key: &Value, event: &RecordedEvent, error: String) {
        self.add(view.name, key.to_string(), event, error);
    }

    fn park_stream(&mut self, event: &RecordedEvent, error: String) -> Result<(), ViewError> {
        self.add(NO_VIEW, event.stream.to_string(), event, error);
        Ok(())
    }
}

fn about(event: &RecordedEvent) -> About<'static> {
    let RecordedEvent { partition, position, stream, version, recorded_at, .. } = *event;
    About::new(partition, position, stream, version, recorded_at)
}

impl Batch {
    /// Takes in the rows, in which [`Touch::Where`] then finds those that it names.
    fn load(&mut self, rows: Loaded) -> Result<(), ViewError> {
        for all in self.asked.iter().flatten() {
            for (asked, member) in all.iter().zip(&mut self.members) {
                asked.columns().for_each(|column| member.rows.index_by(column));
            }
        }
        for (rows, member) in rows.into_iter().zip(&mut self.members) {
            rows.into_iter().try_for_each(|row| member.rows.load(row))?;
        }
        Ok(())
    }

    fn apply_to(&mut self, gate: &mut dyn Gate) -> Result<(), ViewError> {
        for (event, asked) in self.piece.events().iter().zip(&self.asked) {
            if !gate.next(event) {
                continue;
            }
            match asked {
                Ok(asked) => apply(event, asked, &mut self.members, gate),
                Err(error) => gate.park_stream(event, error.clone())?,
            }
        }
        Ok(())
    }
}

fn apply(event: &RecordedEvent, asked: &[Asked], members: &mut [Member], gate: &mut dyn Gate) {
    let about = about(event);
    let has_zeros = event.payload.contains(&0);
    let mut keys = Vec::new();
    for (index, asked) in asked.iter().enumerate() {
        let (before, rest) = members.split_at_mut(index);
        let Some(member) = rest.first_mut() else { return };
        keys.clear();
        asked.touches.iter().for_each(|touch| member.rows.resolve(touch, &mut keys));
        let view = ViewRef { index, name: member.name };
        let referenced = member.referenced.and_then(|index| Some((index, before.get(index)?)));
        let refused = asked.refused.clone().or_else(|| stale(referenced, asked, gate));
        let announced =
            Announced { referenced: referenced.map(|r| r.1), references: &asked.references };
        let about = about.referring(&announced);
        let fact = Fact { event: asked.event, about, has_zeros };
        for key in &keys {
            if !gate.folds(view, key, event) {
                continue;
            }
            let applied = match &refused {
                Some(error) => Err(ViewError(error.clone())),
                None => guarded(|| member.rows.fold(key, &fact)),
            };
            if let Err(ViewError(error)) = applied {
                gate.park(view, key, event, error);
            }
        }
    }
}

/// Reason not to apply an event that refers to a row which waits: what the row shows is not what
/// the log says.
fn stale(referenced: Option<(usize, &Member)>, asked: &Asked, gate: &dyn Gate) -> Option<String> {
    let (index, member) = referenced?;
    let view = ViewRef { index, name: member.name };
    let key = asked.references.iter().find(|key| gate.is_blocked(view, key))?;
    Some(format!("it looks at {} {key}, which waits behind a parked event", member.name))
}

/// Shows only rows that were announced: what else happens to be in memory depends on where the
/// batch was cut.
struct Announced<'a> {
    referenced: Option<&'a Member>,
    references: &'a [Value],
}

impl Lookup for Announced<'_> {
    fn column(&self, key: &Value, column: &str) -> Option<Value> {
        self.references.contains(key).then(|| self.referenced?.rows.column(key, column))?
    }
}

/// A panic of a view is that event's failure, not the projector's. Whatever it left half done is
/// dropped: a fold works on a copy of its row.
fn guarded<T>(work: impl FnOnce() -> Result<T, ViewError>) -> Result<T, ViewError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(ViewError(format!("the view panicked: {}", words(&*panic)))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
