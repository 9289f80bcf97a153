//! The plan against a table in memory: whatever the cuts and the interleaving of partitions, the
//! rows are the same.

use std::collections::HashMap;

use headwater_kernel::row::Value;
use headwater_kernel::{EventSet, Partition, Position, RecordedEvent, StreamId, StreamVersion};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::counters::{BucketRow, CounterRow, Event, OwnerRow};
use super::loaded::Need;
use super::parked::{Blocked, NO_VIEW, Parked};
use super::piece::Piece;
use super::plan::Start;
use super::{Changes, Projection};

fn projection() -> Projection {
    Projection::of::<Event>("counters")
        .view::<OwnerRow>()
        .view::<CounterRow>()
        .view::<BucketRow>()
        .build()
}

/// The tables of a read database, as simple as can be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tables {
    rows: Vec<HashMap<Value, Vec<Value>>>,
    /// By partition.
    positions: Vec<Position>,
    parked: Vec<Parked>,
    held: u64,
    blocked: Blocked,
}

impl Tables {
    fn new(projection: &Projection) -> Self {
        let rows = vec![HashMap::new(); projection.views().len()];
        Self { rows, positions: vec![Position(0); 5], ..Self::default() }
    }

    fn apply(&mut self, projection: &Projection, events: &[RecordedEvent]) {
        let plan = projection.plan(Piece::of(events.to_vec()));
        let needs = plan.needs();
        let loaded: Vec<_> = needs
            .iter()
            .enumerate()
            .map(|(view, need)| self.load(projection, view, need))
            .collect();
        let folded = {
            let (positions, blocked) = (self.positions.clone(), &self.blocked);
            plan.fold(loaded, &Start { positions, blocked }).expect("rows fit")
        };
        for (rows, changes) in self.rows.iter_mut().zip(folded.changes) {
            write(rows, changes);
        }
        for event in events {
            self.positions[usize::from(event.partition.0)] = event.position;
        }
        self.held += folded.held;
        for parked in folded.parked {
            self.blocked.insert(parked.view, &parked.row_key);
            self.parked.push(parked);
        }
    }

    fn load(&self, projection: &Projection, view: usize, need: &Need) -> Vec<Vec<Value>> {
        let columns = projection.views()[view].columns;
        let wanted = |key: &Value, row: &[Value]| {
            need.keys.contains(key)
                || need.matching.iter().any(|(name, values)| {
                    let column = columns.iter().position(|c| c.name == *name).expect("a column");
                    values.contains(&row[column])
                })
        };
        let rows = self.rows[view].iter().filter(|(key, row)| wanted(key, row));
        rows.map(|(_, row)| row.clone()).collect()
    }

    fn row(&self, view: usize, key: Uuid) -> Option<&Vec<Value>> {
        self.rows[view].get(&key.into())
    }
}

/// As strict as the statements are: what is said to exist must exist.
fn write(rows: &mut HashMap<Value, Vec<Value>>, changes: Changes) {
    for row in changes.inserts {
        assert!(rows.insert(row[0].clone(), row).is_none(), "inserted twice");
    }
    for row in changes.updates {
        let before = rows.insert(row[0].clone(), row.clone());
        assert!(before.is_some_and(|before| before != row), "updated without need");
    }
    for key in changes.deletes {
        assert!(rows.remove(&key).is_some(), "deleted what is not there");
    }
}

/// A log in which stream `n` lives in partition `n % partitions`.
fn log(partitions: u128, facts: &[(u128, Event)]) -> Vec<RecordedEvent> {
    let mut positions = HashMap::<u128, u64>::new();
    let mut versions = HashMap::<u128, u64>::new();
    let next = |of: &mut HashMap<u128, u64>, what| {
        let count = of.entry(what).or_default();
        *count += 1;
        *count
    };
    let event = |(stream, event): &(u128, Event)| {
        let encoded = event.encode();
        let position = next(&mut positions, stream % partitions);
        RecordedEvent {
            partition: Partition((stream % partitions) as u16),
            position: Position(position),
            stream: StreamId(Uuid::from_u128(*stream)),
            version: StreamVersion(next(&mut versions, *stream)),
            type_name: encoded.type_name.to_owned(),
            schema_version: encoded.schema_version,
            payload: encoded.payload,
            command_id: Uuid::nil(),
            caller: None,
            traceparent: None,
            recorded_at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(position as i64),
        }
    };
    facts.iter().map(event).collect()
}

fn folded(events: &[RecordedEvent], cuts: &[usize]) -> Tables {
    let projection = projection();
    let mut tables = Tables::new(&projection);
    let mut rest = events;
    for cut in cuts {
        let (batch, later) = rest.split_at((*cut).min(rest.len()));
        tables.apply(&projection, batch);
        rest = later;
    }
    tables.apply(&projection, rest);
    tables
}

/// Merges the partitions of the log by these choices, each in its own order.
fn interleaved(events: &[RecordedEvent], choices: &[u16]) -> Vec<RecordedEvent> {
    let mut queues: Vec<Vec<RecordedEvent>> = vec![Vec::new(); 4];
    events.iter().rev().for_each(|e| queues[usize::from(e.partition.0)].push(e.clone()));
    let mut merged = Vec::new();
    let mut choices = choices.iter().cycle();
    while merged.len() < events.len() {
        queues.retain(|queue| !queue.is_empty());
        let choice = usize::from(*choices.next().unwrap_or(&0)) % queues.len();
        merged.extend(queues[choice].pop());
    }
    merged
}

const OWNERS: u128 = 100;

fn fact() -> impl Strategy<Value = (u128, Event)> {
    prop_oneof![
        2 => (OWNERS..OWNERS + 3, "[a-c]").prop_map(|(owner, name)| (owner, Event::Named(name))),
        2 => (0..6u128, OWNERS..OWNERS + 3)
            .prop_map(|(counter, owner)| (counter, Event::Owned(Uuid::from_u128(owner)))),
        4 => (0..6u128, -3..9i64).prop_map(|(counter, by)| (counter, Event::Added(by))),
        1 => (0..6u128).prop_map(|counter| (counter, Event::Dropped)),
    ]
}

fn trouble() -> impl Strategy<Value = (u128, Event)> {
    prop_oneof![
        10 => fact(),
        1 => (0..6u128).prop_map(|counter| (counter, Event::Poison)),
        1 => (0..6u128).prop_map(|counter| (counter, Event::Garbled)),
    ]
}

proptest! {
    #[test]
    fn cuts_and_interleaving_do_not_matter(
        facts in prop::collection::vec(fact(), 1..60),
        partitions in 1..5u128,
        choices in prop::collection::vec(0..4u16, 1..20),
        cuts in prop::collection::vec(0..12usize, 0..12),
    ) {
        let events = log(partitions, &facts);
        let whole = folded(&events, &[]);
        prop_assert_eq!(&folded(&interleaved(&events, &choices), &cuts), &whole);
        prop_assert!(whole.parked.is_empty());
    }

    #[test]
    fn cuts_do_not_matter_to_what_is_parked(
        facts in prop::collection::vec(trouble(), 1..60),
        cuts in prop::collection::vec(0..12usize, 0..12),
    ) {
        let events = log(3, &facts);
        prop_assert_eq!(folded(&events, &cuts), folded(&events, &[]));
    }
}

#[test]
fn rows_show_the_facts_of_other_streams() {
    let (owner, counter) = (Uuid::from_u128(OWNERS), Uuid::from_u128(7));
    let facts = [
        (7, Event::Owned(owner)),
        (OWNERS, Event::Named("Ann".into())),
        (7, Event::Added(5)),
        (OWNERS, Event::Named("Bea".into())),
    ];
    let tables = folded(&log(2, &facts), &[1, 2]);
    let row = tables.row(1, counter).expect("a row");
    assert_eq!(row[2..5], [Value::Text("Bea".into()), Value::I64(5), Value::Bool(false)]);
}

#[test]
fn a_row_that_matches_no_more_is_not_touched() {
    let (ann, bea) = (Uuid::from_u128(OWNERS), Uuid::from_u128(OWNERS + 1));
    let facts = [
        (7, Event::Owned(ann)),
        (OWNERS + 1, Event::Named("Bea".into())),
        (7, Event::Owned(bea)),
        (OWNERS, Event::Named("Ann".into())),
    ];
    for cuts in [&[][..], &[1], &[1, 1, 1]] {
        let tables = folded(&log(1, &facts), cuts);
        let row = tables.row(1, Uuid::from_u128(7)).expect("a row");
        assert_eq!(row[2], Value::Text("Bea".into()), "{cuts:?}");
    }
}

#[test]
fn an_event_that_cannot_be_applied_is_parked_with_what_follows_on_its_row() {
    for (poison, error) in
        [(Event::Poison, "poison"), (Event::Panic, "the view panicked: a defect of the view")]
    {
        let facts = [(7, Event::Added(1)), (7, poison), (8, Event::Added(1)), (7, Event::Added(1))];
        let tables = folded(&log(1, &facts), &[2]);
        let parked: Vec<_> =
            tables.parked.iter().map(|p| (p.view, p.event.position.0, p.error.as_str())).collect();
        assert_eq!((parked.as_slice(), tables.held), (&[("counter", 2, error)][..], 1));
        // The row stays as it was before; other rows and other views go on.
        let total = |counter| tables.row(1, Uuid::from_u128(counter)).map(|row| row[3].clone());
        assert_eq!((total(7), total(8)), (Some(Value::I64(1)), Some(Value::I64(1))));
        let bucket = &tables.rows[2][&Value::Text("bucket 1".into())];
        assert_eq!(bucket[1..], [Value::I64(2), Value::I64(3)]);
    }
}

#[test]
fn what_cannot_be_decoded_is_parked_with_the_rest_of_its_stream() {
    let facts = [(7, Event::Garbled), (10, Event::Added(1)), (7, Event::Added(1))];
    let tables = folded(&log(1, &facts), &[1]);
    let stream = Uuid::from_u128(7).to_string();
    let parked: Vec<_> =
        tables.parked.iter().map(|p| (p.view, p.row_key.as_str(), p.event.position.0)).collect();
    assert_eq!((parked.as_slice(), tables.held), (&[(NO_VIEW, stream.as_str(), 1)][..], 1));
    assert!(tables.row(1, Uuid::from_u128(7)).is_none());
    assert!(tables.row(1, Uuid::from_u128(10)).is_some());
}

#[test]
fn an_event_that_looks_at_a_blocked_row_is_parked() {
    let owner = Uuid::from_u128(OWNERS);
    let facts = [
        (OWNERS, Event::Named("A\0nn".into())),
        (8, Event::Added(1)),
        (7, Event::Owned(owner)),
        (7, Event::Added(1)),
    ];
    for cuts in [&[][..], &[1], &[1, 2]] {
        let tables = folded(&log(1, &facts), cuts);
        let parked: Vec<_> = tables.parked.iter().map(|p| (p.view, p.event.position.0)).collect();
        assert_eq!((parked.as_slice(), tables.held), (&[("owner", 1), ("counter", 3)][..], 1));
        // Where a retry reads on.
        assert_eq!(tables.parked[1].folded[0], Position(2), "{cuts:?}");
        assert!(tables.row(1, Uuid::from_u128(7)).is_none());
    }
}

#[test]
fn a_text_that_postgres_cannot_store_is_parked() {
    let facts = [(OWNERS, Event::Named("A\0nn".into())), (OWNERS + 1, Event::Named("Bea".into()))];
    let tables = folded(&log(1, &facts), &[]);
    assert_eq!(tables.parked.len(), 1);
    assert!(tables.row(0, Uuid::from_u128(OWNERS)).is_none());
    assert!(tables.row(0, Uuid::from_u128(OWNERS + 1)).is_some());
}

#[test]
#[should_panic(expected = "counter must come after owner")]
fn a_view_stands_after_the_one_it_looks_at() {
    let _ = Projection::of::<Event>("wrong").view::<CounterRow>().view::<OwnerRow>();
}
