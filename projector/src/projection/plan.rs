//! What a batch of events does to the rows of all views of a projection. Pure: the rows come in as
//! data, and what has to be written goes out as data.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater_kernel::row::Value;
use headwater_kernel::view::{About, Lookup};
use headwater_kernel::{DecodeError, RecordedEvent, Touch, ViewError};

use super::parked::{Blocked, NO_VIEW, Parked};
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

    /// Folds the batch. `rows` are those of [`Plan::needs`] that exist, as values in the order of
    /// the view's columns.
    ///
    /// # Errors
    /// A stored row does not fit its view.
    fn fold(
        self: Box<Self>,
        rows: Vec<Vec<Vec<Value>>>,
        blocked: Blocked,
    ) -> Result<Folded, ViewError>;
}

/// Rows of one view to load.
#[derive(Clone, Debug, Default)]
pub struct Need {
    /// Rows with these keys.
    pub keys: HashSet<Value>,
    /// Rows in which the named column has one of these values.
    pub matching: HashMap<&'static str, HashSet<Value>>,
}

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Rows to write, one entry a view, in the projection's order.
    pub changes: Vec<Changes>,
    /// Events to park, in the order in which they would have been applied.
    pub parked: Vec<Parked>,
    /// What is blocked afterwards.
    pub blocked: Blocked,
}

/// Has every view decode the events that it reads, and asks it what they touch. `knows` is true of
/// the types of all events that the domain has: others come from a newer program, and are parked.
pub(super) fn plan(
    members: Vec<Member>,
    events: Vec<RecordedEvent>,
    knows: fn(&str) -> bool,
) -> Box<dyn Plan> {
    let mut batch = Batch { members, items: Vec::with_capacity(events.len()) };
    for event in events {
        let item = batch.item(event, knows);
        batch.items.push(item);
    }
    Box::new(batch)
}

struct Batch {
    members: Vec<Member>,
    items: Vec<Item>,
}

struct Item {
    event: RecordedEvent,
    /// By view; or why nothing can be said about the event.
    asked: Result<Vec<Asked>, String>,
}

impl Batch {
    fn item(&mut self, event: RecordedEvent, knows: fn(&str) -> bool) -> Item {
        let asked = match knows(&event.type_name) {
            true => guarded(|| self.ask(&event)).map_err(|error| error.0),
            false => {
                let type_name = event.type_name.clone();
                Err(DecodeError::UnknownType { type_name }.to_string())
            }
        };
        Item { event, asked }
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
        for all in self.items.iter().filter_map(|item| item.asked.as_ref().ok()) {
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

    fn fold(
        mut self: Box<Self>,
        rows: Vec<Vec<Vec<Value>>>,
        blocked: Blocked,
    ) -> Result<Folded, ViewError> {
        for all in self.items.iter().filter_map(|item| item.asked.as_ref().ok()) {
            for (asked, member) in all.iter().zip(&mut self.members) {
                asked.columns().for_each(|column| member.rows.index_by(column));
            }
        }
        for (rows, member) in rows.into_iter().zip(&mut self.members) {
            for row in rows {
                member.rows.load(row)?;
            }
        }
        let mut parking = Parking { parked: Vec::new(), blocked };
        for item in self.items {
            apply(item, &mut self.members, &mut parking);
        }
        let changes = self.members.into_iter().map(|member| member.rows.changes()).collect();
        Ok(Folded { changes, parked: parking.parked, blocked: parking.blocked })
    }
}

impl Need {
    fn add(&mut self, touch: &Touch) {
        match touch {
            Touch::Key(key) => {
                self.keys.insert(key.clone());
            }
            Touch::Where { column, value } => {
                self.matching.entry(column).or_default().insert(value.clone());
            }
        }
    }
}

struct Parking {
    parked: Vec<Parked>,
    blocked: Blocked,
}

impl Parking {
    fn park(&mut self, view: &'static str, row_key: String, event: &RecordedEvent, error: String) {
        self.blocked.insert(view, &row_key);
        self.parked.push(Parked { view, row_key, event: event.clone(), error });
    }
}

const FOLLOWS: &str = "waits for an earlier parked event of the same row";

fn about(event: &RecordedEvent) -> About<'static> {
    let RecordedEvent { partition, position, stream, version, recorded_at, .. } = *event;
    About::new(partition, position, stream, version, recorded_at)
}

fn apply(item: Item, members: &mut [Member], parking: &mut Parking) {
    let Item { event, asked } = item;
    let asked =
        if parking.blocked.has_stream(event.stream) { Err(FOLLOWS.to_owned()) } else { asked };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return parking.park(NO_VIEW, event.stream.to_string(), &event, error),
    };
    let about = about(&event);
    let has_zeros = event.payload.contains(&0);
    let mut keys = Vec::new();
    for (index, asked) in asked.iter().enumerate() {
        let (before, rest) = members.split_at_mut(index);
        let Some(member) = rest.first_mut() else { return };
        keys.clear();
        asked.touches.iter().for_each(|touch| member.rows.resolve(touch, &mut keys));
        let referenced = member.referenced.and_then(|index| before.get(index));
        let announced = Announced { referenced, references: &asked.references };
        let about = about.referring(&announced);
        let fact = Fact { event: asked.event, about, has_zeros };
        for key in &keys {
            let applied = if parking.blocked.has_row(member.name, key) {
                Err(ViewError(FOLLOWS.to_owned()))
            } else {
                guarded(|| member.rows.fold(key, &fact))
            };
            if let Err(ViewError(error)) = applied {
                parking.park(member.name, key.to_string(), &event, error);
            }
        }
    }
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
