//! The rows of one view in memory while a batch is folded into them. Pure.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use headwater_kernel::row::{ColumnType, Row, Value};
use headwater_kernel::view::{About, filter_columns};
use headwater_kernel::{EventSet as _, RecordedEvent, Touch, View, ViewError};
use serde_json::json;
use time::OffsetDateTime;

/// The longest text that names a row. An index entry of Postgres holds 2.7 KB.
const KEY_BYTES_MAX: usize = 1_024;

/// One view, without its type: the rows of it that a batch needs.
///
/// A key that is not here is a row that does not exist: everything the batch may touch is loaded
/// first.
pub(super) trait Workset: Send {
    /// Takes in the next event of the batch, decoded once: what it touches and refers to; nothing
    /// if the view does not read events of its type.
    ///
    /// # Errors
    /// It cannot be decoded.
    fn read(&mut self, event: &RecordedEvent, about: &About) -> Result<Asked, ViewError>;
    /// True if the touch names a column of the view and a value of its type.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, touch: &Touch) -> Result<(), ViewError>;
    /// Keeps an index of this column, for [`Workset::resolve`]. Before the first row is loaded.
    fn index_by(&mut self, column: &'static str);
    /// Takes in a row as the table holds it. The same row twice does no harm.
    ///
    /// # Errors
    /// The values do not fit the view's row.
    fn load(&mut self, values: Vec<Value>) -> Result<(), ViewError>;
    /// Adds the keys of the rows that `touch` names now, without repeating one.
    fn resolve(&self, touch: &Touch, keys: &mut Vec<Value>);
    /// Folds one of the events that were read into the row with this key, which stays as it was if
    /// that fails.
    fn fold(&mut self, key: &Value, fact: &Fact<'_>) -> Result<(), ViewError>;
    /// The value of a column of a row, as it is now.
    fn column(&self, key: &Value, column: &str) -> Option<Value>;
    /// The row with this key, as it is now.
    fn values(&self, key: &Value) -> Option<Vec<Value>>;
    /// Makes these values the row with this key; `None` deletes it.
    ///
    /// # Errors
    /// The values do not fit the view's row.
    fn put(&mut self, key: Value, values: Option<Vec<Value>>) -> Result<(), ViewError>;
    /// What has to be written.
    fn changes(self: Box<Self>) -> Changes;
}

/// What a view says of an event.
#[derive(Default)]
pub(super) struct Asked {
    /// Index of the event among those of the view.
    pub event: usize,
    pub touches: Vec<Touch>,
    pub references: Vec<Value>,
    /// Reason why the event is not applied to any row of the view.
    pub refused: Option<String>,
}

/// An event that the view has read.
pub(super) struct Fact<'a> {
    /// Index of the event among those of the view.
    pub event: usize,
    pub about: About<'a>,
    /// True if its payload has a zero byte. Encoded messages hardly ever have one, unless in a
    /// text: then the rows it makes are looked through, since Postgres would refuse such a text,
    /// and with it the batch.
    pub has_zeros: bool,
}

/// How the rows of a view differ from what was loaded, in the order of their keys (which keeps
/// writes to the table and its indexes near each other).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// New rows.
    pub inserts: Vec<Vec<Value>>,
    /// Rows that exist with other values.
    pub updates: Vec<Vec<Value>>,
    /// Keys of rows to delete.
    pub deletes: Vec<Value>,
    /// All of these for those who watch the view; empty if it cannot be watched.
    pub log: Vec<Change>,
}

/// What a watcher of lists has to know of a row that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row's key as text.
    pub key: String,
    /// What the columns that lists are filtered by held before, as a JSON array of texts and nulls;
    /// `null` if there was no row; `None` if they hold the same now.
    pub former: Option<String>,
}

impl Change {
    /// `watched` are the places of the columns that lists are filtered by.
    fn of(
        key: &Value,
        watched: &[usize],
        before: Option<&[Value]>,
        after: Option<&[Value]>,
    ) -> Self {
        let watched = |row: &[Value]| -> Vec<Option<String>> {
            let text = |value: &Value| (*value != Value::Null).then(|| value.to_string());
            watched.iter().map(|place| text(&row[*place])).collect()
        };
        let (before, after) = (before.map(watched), after.map(watched));
        let former = (before != after).then(|| json!(before).to_string());
        Self { key: key.to_string(), former }
    }
}

impl Changes {
    /// Number of rows to write.
    pub fn rows(&self) -> usize {
        self.inserts.len() + self.updates.len() + self.deletes.len()
    }
}

/// An empty workset of a view.
pub(super) fn of<V: View>() -> Box<dyn Workset> {
    Box::new(Rows::<V> { events: Vec::new(), slots: HashMap::new(), indexes: Vec::new() })
}

struct Rows<V: View> {
    events: Vec<V::Event>,
    slots: HashMap<Value, Slot<V>>,
    indexes: Vec<Index>,
}

struct Slot<R> {
    loaded: Option<R>,
    now: Option<R>,
}

struct Index {
    name: &'static str,
    column: usize,
    keys: HashMap<Value, HashSet<Value>>,
}

impl Index {
    fn remove(&mut self, values: &[Value], key: &Value) {
        if let Some(keys) = self.keys.get_mut(&values[self.column]) {
            keys.remove(key);
        }
    }

    fn insert(&mut self, values: &[Value], key: &Value) {
        self.keys.entry(values[self.column].clone()).or_default().insert(key.clone());
    }
}

impl<V: View> Rows<V> {
    fn reindex(&mut self, key: &Value, before: Option<&V>, after: Option<&V>) {
        let (before, after) =
            (before.map(|r| r.clone().into_values()), after.map(|r| r.clone().into_values()));
        for index in &mut self.indexes {
            if let Some(values) = &before {
                index.remove(values, key);
            }
            if let Some(values) = &after {
                index.insert(values, key);
            }
        }
    }
}

impl<V: View> Workset for Rows<V> {
    fn read(&mut self, event: &RecordedEvent, about: &About) -> Result<Asked, ViewError> {
        if !V::Event::knows(&event.type_name) {
            return Ok(Asked::default());
        }
        let decoded = V::Event::decode(&event.type_name, event.schema_version, &event.payload)
            .map_err(|error| ViewError(error.to_string()))?;
        let touches = V::touches(&decoded, about);
        let references = V::references(&decoded, about);
        self.events.push(decoded);
        Ok(Asked { event: self.events.len() - 1, touches, references, refused: None })
    }

    fn check(&self, touch: &Touch) -> Result<(), ViewError> {
        let (column, value) = match touch {
            Touch::Key(key) => (V::COLUMNS.first(), key),
            Touch::Where { column, value } => {
                (V::COLUMNS.iter().find(|c| c.name == *column), value)
            }
        };
        if let Value::Text(text) = value
            && (text.len() > KEY_BYTES_MAX || text.contains('\0'))
        {
            return Err(ViewError(format!("{}: a text cannot be a key", V::NAME)));
        }
        if column.is_some_and(|column| kind(value) == Some(column.kind)) {
            return Ok(());
        }
        Err(ViewError(format!("{} has no column for the touch {touch:?}", V::NAME)))
    }

    fn index_by(&mut self, column: &'static str) {
        let position = V::COLUMNS.iter().position(|c| c.name == column);
        if let Some(position) = position
            && self.indexes.iter().all(|index| index.name != column)
        {
            self.indexes.push(Index { name: column, column: position, keys: HashMap::new() });
        }
    }

    fn load(&mut self, values: Vec<Value>) -> Result<(), ViewError> {
        let row = typed::<V>(values)?;
        let key = row.key();
        if !self.indexes.is_empty() {
            self.reindex(&key, None, Some(&row));
        }
        self.slots.insert(key, Slot { loaded: Some(row.clone()), now: Some(row) });
        Ok(())
    }

    fn resolve(&self, touch: &Touch, keys: &mut Vec<Value>) {
        match touch {
            Touch::Key(key) if keys.contains(key) => {}
            Touch::Key(key) => keys.push(key.clone()),
            Touch::Where { column, value } => {
                let index = self.indexes.iter().find(|index| index.name == *column);
                let Some(matching) = index.and_then(|index| index.keys.get(value)) else { return };
                let named: HashSet<&Value> = keys.iter().collect();
                let mut new: Vec<Value> =
                    matching.iter().filter(|key| !named.contains(key)).cloned().collect();
                // A set has no order of its own; what is parked has one.
                new.sort_by(by_key);
                keys.extend(new);
            }
        }
    }

    fn fold(&mut self, key: &Value, fact: &Fact<'_>) -> Result<(), ViewError> {
        let before = self.slots.get(key).and_then(|slot| slot.now.as_ref());
        let after = V::fold(before.cloned(), &self.events[fact.event], &fact.about)?;
        if fact.has_zeros && after.as_ref().is_some_and(has_zero_text) {
            return Err(ViewError("a text has a zero byte, which cannot be stored".to_owned()));
        }
        if after.as_ref().is_some_and(|row| row.key() != *key) {
            return Err(ViewError(format!("the fold of {} changed the row's key", V::NAME)));
        }
        if after.as_ref() == before {
            return Ok(());
        }
        if !self.indexes.is_empty() {
            let before = before.cloned();
            self.reindex(key, before.as_ref(), after.as_ref());
        }
        let missing = || Slot { loaded: None, now: None };
        self.slots.entry(key.clone()).or_insert_with(missing).now = after;
        Ok(())
    }

    fn column(&self, key: &Value, column: &str) -> Option<Value> {
        let row = self.slots.get(key)?.now.clone()?;
        let position = V::COLUMNS.iter().position(|c| c.name == column)?;
        row.into_values().into_iter().nth(position)
    }

    fn values(&self, key: &Value) -> Option<Vec<Value>> {
        Some(self.slots.get(key)?.now.clone()?.into_values())
    }

    fn put(&mut self, key: Value, values: Option<Vec<Value>>) -> Result<(), ViewError> {
        let now = values.map(typed::<V>).transpose()?;
        self.slots.entry(key).or_insert(Slot { loaded: None, now: None }).now = now;
        Ok(())
    }

    fn changes(self: Box<Self>) -> Changes {
        let mut changes = Changes::default();
        let place = |name: &str| V::COLUMNS.iter().position(|column| column.name == name);
        let watched: Vec<usize> = filter_columns::<V>().into_iter().filter_map(place).collect();
        for (key, Slot { loaded, now }) in self.slots {
            if loaded == now {
                continue;
            }
            let (before, after) = (loaded.map(Row::into_values), now.map(Row::into_values));
            if V::WATCHED {
                let change = Change::of(&key, &watched, before.as_deref(), after.as_deref());
                changes.log.push(change);
            }
            match (before, after) {
                (None, Some(row)) => changes.inserts.push(row),
                (_, Some(row)) => changes.updates.push(row),
                (_, None) => changes.deletes.push(key),
            }
        }
        changes.log.sort_by(|a, b| a.key.cmp(&b.key));
        changes.inserts.sort_by(|a, b| by_key(&a[0], &b[0]));
        changes.updates.sort_by(|a, b| by_key(&a[0], &b[0]));
        changes.deletes.sort_by(by_key);
        changes
    }
}

fn typed<V: View>(values: Vec<Value>) -> Result<V, ViewError> {
    V::from_values(values).ok_or_else(|| {
        ViewError(format!("a stored row of {} does not fit the view's columns", V::NAME))
    })
}

/// The key that [`Value`] writes as this text; `None` if a column of the type cannot hold it.
pub fn key_of(kind: ColumnType, text: &str) -> Option<Value> {
    Some(match kind {
        ColumnType::Bool => Value::Bool(text.parse().ok()?),
        ColumnType::I64 => Value::I64(text.parse().ok()?),
        ColumnType::Text => Value::Text(text.to_owned()),
        ColumnType::Uuid => Value::Uuid(text.parse().ok()?),
        ColumnType::Time => {
            let nanos = text.parse::<i128>().ok()?.checked_mul(1_000)?;
            Value::Time(OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?)
        }
    })
}

fn kind(value: &Value) -> Option<ColumnType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(ColumnType::Bool),
        Value::I64(_) => Some(ColumnType::I64),
        Value::Text(_) => Some(ColumnType::Text),
        Value::Uuid(_) => Some(ColumnType::Uuid),
        Value::Time(_) => Some(ColumnType::Time),
    }
}

fn has_zero_text<R: Row>(row: &R) -> bool {
    let zero = |value: &Value| matches!(value, Value::Text(text) if text.contains('\0'));
    row.clone().into_values().iter().any(zero)
}

/// Keys of one view are of one type; the order of different types does not matter.
fn by_key(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::I64(a), Value::I64(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}
