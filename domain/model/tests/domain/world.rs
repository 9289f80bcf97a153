//! A log and read models in memory: enough of both engines to run random histories through the
//! domain.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use headwater_domain_model::views::{ItemRow, StoreOverviewRow, StoreRow, UserRow};
use headwater_domain_model::{
    DomainEvent, Item, ItemCommand, Store, StoreCommand, User, UserCommand,
};
use headwater_kernel::aggregate::Claim;
use headwater_kernel::row::{Row, Value};
use headwater_kernel::view::{About, Lookup, indexes};
use headwater_kernel::{
    Aggregate, Context, Decision, EventSet, Partition, PartitionKey, Position, Rejection, StreamId,
    StreamVersion, Touch, View,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Partitions of the log; more than one, so that stores and users do not come in one order.
pub const PARTITIONS: u16 = 3;

/// An event and where it stands.
#[derive(Clone)]
pub struct Entry {
    pub about: About<'static>,
    pub event: DomainEvent,
}

/// The log, with the claims and marks that an append checks.
#[derive(Default)]
pub struct World {
    pub partitions: BTreeMap<Partition, Vec<Entry>>,
    claims: HashMap<String, StreamId>,
    marks: HashMap<(Partition, String), BTreeSet<StreamId>>,
}

impl World {
    pub fn store(&mut self, id: Uuid, command: &StoreCommand) -> Result<(), Rejection> {
        self.execute::<Store>(StreamId(id), StreamId(id).into(), command)
    }

    pub fn item(&mut self, id: Uuid, command: &ItemCommand) -> Result<(), Rejection> {
        self.execute::<Item>(StreamId(id), PartitionKey(command.store_id), command)
    }

    pub fn user(&mut self, id: Uuid, command: &UserCommand) -> Result<(), Rejection> {
        self.execute::<User>(StreamId(id), StreamId(id).into(), command)
    }

    /// The aggregate's state and version, folded from the events as they are stored.
    pub fn load<A: Aggregate>(&self, stream: StreamId) -> (A, StreamVersion) {
        let mut loaded = (A::default(), StreamVersion(0));
        let entries = self.partitions.values().flatten();
        for entry in entries.filter(|entry| entry.about.stream == stream) {
            let stored = entry.event.encode();
            let event = A::Event::decode(stored.type_name, stored.schema_version, &stored.payload);
            loaded.0.evolve(&event.unwrap());
            loaded.1 = entry.about.version;
        }
        loaded
    }

    fn execute<A>(
        &mut self,
        stream: StreamId,
        key: PartitionKey,
        command: &A::Command,
    ) -> Result<(), Rejection>
    where
        A: Aggregate,
        DomainEvent: From<A::Event>,
    {
        let (state, version) = self.load::<A>(stream);
        let (command_id, now) = (Uuid::nil(), OffsetDateTime::UNIX_EPOCH);
        let decision = state.decide(command, &Context { stream, command_id, caller: None, now })?;
        let partition = key.partition(PARTITIONS);
        self.check(partition, stream, &decision)?;
        self.append(partition, stream, version, decision);
        Ok(())
    }

    fn check<E>(
        &self,
        partition: Partition,
        stream: StreamId,
        decision: &Decision<E>,
    ) -> Result<(), Rejection> {
        for claim in &decision.claims {
            if let Claim::Take { value, taken } = claim
                && self.claims.get(value).is_some_and(|owner| *owner != stream)
            {
                return Err(taken.clone());
            }
        }
        for guard in &decision.guards {
            let marked = self.marks.get(&(partition, guard.mark.clone()));
            if marked.is_some_and(|streams| !streams.is_empty()) != guard.present {
                return Err(guard.otherwise.clone());
            }
        }
        Ok(())
    }

    fn append<E>(
        &mut self,
        partition: Partition,
        stream: StreamId,
        version: StreamVersion,
        decision: Decision<E>,
    ) where
        DomainEvent: From<E>,
    {
        for claim in decision.claims {
            match claim {
                Claim::Take { value, .. } => self.claims.insert(value, stream),
                Claim::Free { value } => self.claims.remove(&value),
            };
        }
        for mark in decision.marks {
            let streams = self.marks.entry((partition, mark.name)).or_default();
            if mark.set {
                streams.insert(stream)
            } else {
                streams.remove(&stream)
            };
        }
        let entries = self.partitions.entry(partition).or_default();
        for (count, event) in (1..).zip(decision.events) {
            let position = Position(entries.len() as u64 + 1);
            let recorded_at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(position.0 as i64);
            let version = version.plus(count);
            let about = About::new(partition, position, stream, version, recorded_at);
            entries.push(Entry { about, event: event.into() });
        }
    }

    /// All events, partition after partition.
    pub fn in_order(&self) -> Vec<&Entry> {
        self.partitions.values().flatten().collect()
    }

    /// All events, each next one from the partition that the next choice names; the rest in their
    /// order.
    pub fn interleaved(&self, choices: &[u8]) -> Vec<&Entry> {
        let mut partitions: Vec<_> = self.partitions.values().map(|p| p.iter()).collect();
        let mut merged = Vec::new();
        for choice in choices {
            if !partitions.is_empty() {
                let chosen = usize::from(*choice) % partitions.len();
                merged.extend(partitions[chosen].next());
            }
        }
        merged.extend(partitions.into_iter().flatten());
        merged
    }
}

/// A view's rows by their keys.
pub type Rows<R> = BTreeMap<String, R>;

/// The projection `retail`.
#[derive(Debug, Default, PartialEq)]
pub struct ReadModels {
    pub users: Rows<UserRow>,
    pub stores: Rows<StoreRow>,
    pub items: Rows<ItemRow>,
    pub overviews: Rows<StoreOverviewRow>,
}

impl ReadModels {
    pub fn of(entries: &[&Entry]) -> Self {
        let mut models = Self::default();
        for entry in entries {
            apply::<UserRow>(&mut models.users, entry, entry.about);
            apply::<StoreRow>(&mut models.stores, entry, entry.about);
            apply::<ItemRow>(&mut models.items, entry, entry.about);
            let keys = read::<StoreOverviewRow>(entry)
                .map_or_else(Vec::new, |event| StoreOverviewRow::references(&event, &entry.about));
            let users = Announced { keys, rows: &models.users };
            let about = entry.about.referring(&users);
            apply::<StoreOverviewRow>(&mut models.overviews, entry, about);
        }
        models
    }
}

/// The event as the view reads it; `None` if it does not.
fn read<V: View>(entry: &Entry) -> Option<V::Event> {
    let event = entry.event.encode();
    let known = V::Event::knows(event.type_name);
    known.then(|| V::Event::decode(event.type_name, event.schema_version, &event.payload).unwrap())
}

fn apply<V: View>(rows: &mut Rows<V>, entry: &Entry, about: About) {
    let Some(event) = read::<V>(entry) else { return };
    for touch in V::touches(&event, &about) {
        let keys = match touch {
            Touch::Key(key) => vec![name(&key)],
            Touch::Where { column, value } => with_value::<V>(rows, column, &value),
        };
        for key in keys {
            let row = V::fold(rows.remove(&key), &event, &about).unwrap();
            if let Some(row) = row {
                assert_eq!(name(&row.key()), key, "a fold keeps its row's key");
                rows.insert(key, row);
            }
        }
    }
}

fn with_value<V: View>(rows: &Rows<V>, column: &str, value: &Value) -> Vec<String> {
    let indexed = indexes::<V>().iter().any(|index| index.starts_with(&format!("({column}")));
    assert!(indexed, "{} selects rows by {column}, which has no index", V::NAME);
    let has_value = |row: &V| column_of(row, column).as_ref() == Some(value);
    rows.iter().filter(|(_, row)| has_value(row)).map(|(key, _)| key.clone()).collect()
}

fn column_of<R: Row>(row: &R, column: &str) -> Option<Value> {
    let place = R::COLUMNS.iter().position(|c| c.name == column)?;
    row.clone().into_values().into_iter().nth(place)
}

fn name(key: &Value) -> String {
    format!("{key:?}")
}

/// Rows of a view, but only those that were announced: the engine loads no others.
struct Announced<'a, R> {
    keys: Vec<Value>,
    rows: &'a Rows<R>,
}

impl<R: Row> Lookup for Announced<'_, R> {
    fn column(&self, key: &Value, column: &str) -> Option<Value> {
        let row = self.rows.get(&name(key)).filter(|_| self.keys.contains(key))?;
        column_of(row, column)
    }
}
