//! A domain as small as the projector's tests need: owners with a name, and counters that may have
//! an owner.
//!
//! A counter's row shows its owner's name, a fact of another stream that may live in another
//! partition; sums by bucket add up counters of all partitions.
#![allow(dead_code, missing_docs)]

use std::cell::Cell;

use headwater_kernel::row::Value;
use headwater_kernel::{
    About, DecodeError, EventSet, FoldResult, NewEvent, Touch, View, ViewError, row,
};
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Of an owner's stream.
    Named(String),
    /// Of a counter's stream, as all that follow.
    Owned(Uuid),
    Added(i64),
    Dropped,
    /// The view of counters cannot apply it; the others can.
    Poison,
    /// The view of counters panics on it.
    Panic,
    /// Cannot be decoded.
    Garbled,
    /// Of an owner's stream: the same as `Named`, but only a mended program can decode it.
    Cryptic(String),
}

thread_local! {
    static MENDED: Cell<bool> = const { Cell::new(false) };
}

/// Makes the views of this thread those of a mended program, which can decode and apply everything.
pub fn mend(mended: bool) {
    MENDED.set(mended);
}

impl EventSet for Event {
    fn encode(&self) -> NewEvent {
        let (type_name, payload) = match self {
            Self::Named(name) => ("test.Named", name.clone()),
            Self::Owned(owner) => ("test.Owned", owner.to_string()),
            Self::Added(amount) => ("test.Added", amount.to_string()),
            Self::Dropped => ("test.Dropped", String::new()),
            Self::Poison => ("test.Poison", String::new()),
            Self::Panic => ("test.Panic", String::new()),
            Self::Garbled => ("test.Garbled", String::new()),
            Self::Cryptic(name) => ("test.Cryptic", name.clone()),
        };
        NewEvent {
            type_name,
            schema_version: 1,
            payload: payload.into_bytes(),
            tags: Vec::new(),
            subject: None,
        }
    }

    fn decode(type_name: &str, schema_version: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        let text = String::from_utf8_lossy(payload).into_owned();
        let broken = || DecodeError::Payload {
            type_name: type_name.to_owned(),
            schema_version,
            cause: text.clone(),
        };
        Ok(match type_name {
            "test.Named" => Self::Named(text),
            "test.Owned" => Self::Owned(text.parse().map_err(|_| broken())?),
            "test.Added" => Self::Added(text.parse().map_err(|_| broken())?),
            "test.Dropped" => Self::Dropped,
            "test.Poison" => Self::Poison,
            "test.Panic" => Self::Panic,
            "test.Garbled" if MENDED.get() => Self::Garbled,
            "test.Cryptic" if MENDED.get() => Self::Named(text),
            _ => return Err(DecodeError::UnknownType { type_name: type_name.to_owned() }),
        })
    }
}

row! {
    pub struct OwnerRow {
        pub owner_id: Uuid,
        pub name: String,
        pub version: i64,
    }
}

impl View for OwnerRow {
    const NAME: &'static str = "owner";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["(name)"];
    type Event = Event;

    fn touches(event: &Event, about: &About) -> Vec<Touch> {
        match event {
            Event::Named(_) => vec![Touch::Key(about.stream.0.into())],
            _ => Vec::new(),
        }
    }

    fn fold(row: Option<Self>, event: &Event, about: &About) -> FoldResult<Self> {
        let Event::Named(name) = event else { return Ok(row) };
        let version = about.version.0 as i64;
        Ok(Some(OwnerRow { owner_id: about.stream.0, name: name.clone(), version }))
    }
}

row! {
    pub struct CounterRow {
        pub counter_id: Uuid,
        pub owner_id: Option<Uuid>,
        pub owner_name: Option<String>,
        pub total: i64,
        pub even: bool,
        pub changed_at: OffsetDateTime,
    }
}

impl View for CounterRow {
    const NAME: &'static str = "counter";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["(owner_id)", "(total, counter_id) WHERE even"];
    const WATCHED: bool = true;
    const REFERENCED: Option<&'static str> = Some("owner");
    type Event = Event;

    fn touches(event: &Event, about: &About) -> Vec<Touch> {
        let id = Value::from(about.stream.0);
        match event {
            Event::Named(_) => vec![Touch::Where { column: "owner_id", value: id }],
            _ => vec![Touch::Key(id)],
        }
    }

    fn references(event: &Event, _about: &About) -> Vec<Value> {
        match event {
            Event::Owned(owner) => vec![(*owner).into()],
            _ => Vec::new(),
        }
    }

    fn fold(row: Option<Self>, event: &Event, about: &About) -> FoldResult<Self> {
        let mut row = row.unwrap_or(CounterRow {
            counter_id: about.stream.0,
            owner_id: None,
            owner_name: None,
            total: 0,
            even: true,
            changed_at: about.recorded_at,
        });
        match event {
            // Not the counter's own event, so it says nothing of when the counter changed.
            Event::Named(name) => {
                row.owner_name = Some(name.clone());
                return Ok(Some(row));
            }
            Event::Owned(owner) => {
                row.owner_id = Some(*owner);
                row.owner_name = match about.lookup(&(*owner).into(), "name") {
                    Some(Value::Text(name)) => Some(name),
                    _ => None,
                };
            }
            Event::Added(amount) => row.total += amount,
            Event::Dropped => return Ok(None),
            Event::Poison if MENDED.get() => row.total += 1_000,
            Event::Poison => return Err(ViewError("poison".to_owned())),
            Event::Panic => panic!("a defect of the view"),
            Event::Garbled => row.total += 100,
            Event::Cryptic(_) => {}
        }
        row.even = row.total % 2 == 0;
        row.changed_at = about.recorded_at;
        Ok(Some(row))
    }
}

row! {
    pub struct BucketRow {
        pub bucket: String,
        pub total: i64,
        pub events: i64,
    }
}

/// The bucket of a counter.
pub fn bucket(counter: Uuid) -> String {
    format!("bucket {}", counter.as_u128() % 3)
}

impl View for BucketRow {
    const NAME: &'static str = "bucket";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &[];
    type Event = Event;

    fn touches(event: &Event, about: &About) -> Vec<Touch> {
        match event {
            Event::Named(_) => Vec::new(),
            _ => vec![Touch::Key(bucket(about.stream.0).into())],
        }
    }

    fn fold(row: Option<Self>, event: &Event, about: &About) -> FoldResult<Self> {
        let new = BucketRow { bucket: bucket(about.stream.0), total: 0, events: 0 };
        let mut row = row.unwrap_or(new);
        if let Event::Added(amount) = event {
            row.total += amount;
        }
        row.events += 1;
        Ok(Some(row))
    }
}
