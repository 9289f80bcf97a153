//! What a batch of events does to the rows of all views of a projection. Pure: the rows come in as
//! data, and what has to be written goes out as data.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater_kernel::row::Value;
use headwater_kernel::view::{About, Lookup};
use headwater_kernel::{EventSet, RecordedEvent, Touch, ViewError};

use super::parked::{Blocked, NO_VIEW, Parked, key_text};
use super::workset::{Changes, Fact, Workset};

/// A view of the plan's projection, by name.
pub(super) struct Member<E> {
    pub name: &'static str,
    /// Index of the view that it may look at, which stands before it.
    pub referenced: Option<usize>,
    pub rows: Box<dyn Workset<E>>,
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

/// Decodes every event once and asks every view what it touches.
pub(super) fn plan<E: EventSet>(
    members: Vec<Member<E>>,
    events: Vec<RecordedEvent>,
) -> Box<dyn Plan> {
    let items = events.into_iter().map(|event| Item::of(event, &members)).collect();
    Box::new(Batch { members, items })
}

struct Batch<E> {
    members: Vec<Member<E>>,
    items: Vec<Item<E>>,
}

struct Item<E> {
    event: RecordedEvent,
    about: About,
    /// Or why nothing can be said about the event.
    body: Result<Body<E>, String>,
}

struct Body<E> {
    event: E,
    /// By view.
    asked: Vec<Asked>,
}

struct Asked {
    touches: Vec<Touch>,
    references: Vec<Value>,
}

impl<E: EventSet> Item<E> {
    fn of(event: RecordedEvent, members: &[Member<E>]) -> Self {
        let about = About {
            partition: event.partition,
            position: event.position,
            stream: event.stream,
            version: event.version,
            recorded_at: event.recorded_at,
        };
        let body = guarded(|| Body::of(&event, &about, members)).map_err(|error| error.0);
        Self { event, about, body }
    }
}

impl<E: EventSet> Body<E> {
    fn of(event: &RecordedEvent, about: &About, members: &[Member<E>]) -> Result<Self, ViewError> {
        let decoded = E::decode(&event.type_name, event.schema_version, &event.payload)
            .map_err(|error| ViewError(error.to_string()))?;
        let ask = |member: &Member<E>| Asked::of(member, members, &decoded, about);
        let asked = members.iter().map(ask).collect::<Result<_, _>>()?;
        Ok(Self { event: decoded, asked })
    }
}

impl Asked {
    fn of<E: EventSet>(
        member: &Member<E>,
        members: &[Member<E>],
        event: &E,
        about: &About,
    ) -> Result<Self, ViewError> {
        let touches = member.rows.touches(event, about);
        touches.iter().try_for_each(|touch| member.rows.check(touch))?;
        let Some(referenced) = member.referenced else {
            return Ok(Self { touches, references: Vec::new() });
        };
        let references = member.rows.references(event, about);
        for key in &references {
            members[referenced].rows.check(&Touch::Key(key.clone()))?;
        }
        Ok(Self { touches, references })
    }

    fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.touches.iter().filter_map(|touch| match touch {
            Touch::Where { column, .. } => Some(*column),
            Touch::Key(_) => None,
        })
    }
}

impl<E: EventSet> Plan for Batch<E> {
    fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.members.iter().map(|_| Need::default()).collect();
        for body in self.items.iter().filter_map(|item| item.body.as_ref().ok()) {
            for (index, asked) in body.asked.iter().enumerate() {
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
        for body in self.items.iter().filter_map(|item| item.body.as_ref().ok()) {
            for (asked, member) in body.asked.iter().zip(&mut self.members) {
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

fn apply<E: EventSet>(item: Item<E>, members: &mut [Member<E>], parking: &mut Parking) {
    let Item { event, about, body } = item;
    let body =
        if parking.blocked.has_stream(event.stream) { Err(FOLLOWS.to_owned()) } else { body };
    let body = match body {
        Ok(body) => body,
        Err(error) => return parking.park(NO_VIEW, event.stream.to_string(), &event, error),
    };
    let has_zeros = event.payload.contains(&0);
    let fact = Fact { event: &body.event, about: &about, has_zeros };
    let mut keys = Vec::new();
    for (index, asked) in body.asked.iter().enumerate() {
        let (before, rest) = members.split_at_mut(index);
        let Some(member) = rest.first_mut() else { return };
        keys.clear();
        asked.touches.iter().for_each(|touch| member.rows.resolve(touch, &mut keys));
        let referenced = member.referenced.and_then(|index| before.get(index));
        let lookup = Announced { referenced, references: &asked.references };
        for key in &keys {
            let applied = if parking.blocked.has_row(member.name, key) {
                Err(ViewError(FOLLOWS.to_owned()))
            } else {
                guarded(|| member.rows.fold(key, &fact, &lookup))
            };
            if let Err(ViewError(error)) = applied {
                parking.park(member.name, key_text(key), &event, error);
            }
        }
    }
}

/// Shows only rows that were announced: what else happens to be in memory depends on where the
/// batch was cut.
struct Announced<'a, E> {
    referenced: Option<&'a Member<E>>,
    references: &'a [Value],
}

impl<E> Lookup for Announced<'_, E> {
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
