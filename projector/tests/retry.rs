//! Parked events tried again and dropped: afterwards the rows are the fold of the log again.

mod common_pg;
mod counters;
mod projector_rig;

use std::collections::{HashMap, HashSet};

use common_pg::sql;
use counters::{Event, mend};
use headwater_eventlog::{EventLog, Head};
use headwater_kernel::row::Value;
use headwater_kernel::{Partition, Position, RecordedEvent};
use headwater_projector::parked::Waiting;
use headwater_projector::projection::loaded::Need;
use headwater_projector::projection::parked::Blocked;
use headwater_projector::projection::piece::Piece;
use headwater_projector::projection::plan::Start;
use headwater_projector::retry::{Retried, Retry, RetryError, Which};
use headwater_projector::session::Session;
use projector_rig::{OWNERS, Rig, eventually};
use uuid::Uuid;

async fn retry(rig: &Rig) -> Retry {
    let opened = Retry::open(&rig.write_url, &rig.read_url, rig.projection.clone()).await;
    opened.expect("connected")
}

async fn again(rig: &Rig, which: Which) -> Retried {
    retry(rig).await.again(&which).await.expect("tried")
}

fn one(view: &str, stream: u128) -> Which {
    Which::One(view.to_owned(), Uuid::from_u128(stream).to_string())
}

async fn waiting(rig: &Rig) -> Vec<Waiting> {
    let session = Session::open(&rig.read_url, &rig.projection).await.expect("a session");
    session.waiting().await.expect("listed")
}

/// View, row and position of what waits.
async fn places(rig: &Rig) -> Vec<(String, u128, u64)> {
    let place = |w: Waiting| {
        let key: Uuid = w.row_key.parse().expect("an id");
        (w.view, key.as_u128(), w.position.0)
    };
    waiting(rig).await.into_iter().map(place).collect()
}

async fn apply(rig: &Rig, events: u64) {
    let running = rig.run();
    rig.wait_applied(events).await;
    running.stop().await;
}

/// The rows of all views, as text.
type Tables = Vec<HashMap<String, String>>;

async fn tables(rig: &Rig) -> Tables {
    let mut tables = Vec::new();
    for view in rig.projection.views() {
        let columns: Vec<_> = view.columns.iter().map(|c| c.name).collect();
        // Times as the fold has them: in microseconds.
        let text = |c: &&str| match *c {
            "changed_at" => "(extract(epoch FROM changed_at) * 1000000)::bigint::text".to_owned(),
            column => format!("{column}::text"),
        };
        let values: Vec<_> = columns.iter().map(text).collect();
        let query = format!(
            "SELECT {}::text, concat_ws('|', {}) FROM headwater_read.{}",
            columns[0],
            values.iter().map(|v| format!("coalesce({v}, '')")).collect::<Vec<_>>().join(", "),
            view.name
        );
        tables.push(rig.read(&query).await.iter().map(|row| (row.get(0), row.get(1))).collect());
    }
    tables
}

async fn events(rig: &Rig) -> Vec<RecordedEvent> {
    let log = EventLog::connect(&rig.write_url, 1).await.expect("a log");
    let mut events = Vec::new();
    for partition in 0..rig.partitions {
        let mut head = Head::START;
        loop {
            let chunk = log.read(Partition(partition), &head, 10_000).await.expect("read");
            events.extend(chunk.events);
            head = chunk.end;
            if chunk.caught_up {
                break;
            }
        }
    }
    events.sort_by_key(|event| event.recorded_at);
    events
}

/// The fold of the log, one event at a time, without what was dropped: an oracle that knows nothing
/// of parking.
async fn fold(rig: &Rig, dropped: &HashSet<(String, String, Partition, Position)>) -> Tables {
    let views = rig.projection.views();
    let mut rows: Vec<HashMap<Value, Vec<Value>>> = vec![HashMap::new(); views.len()];
    for event in events(rig).await {
        let is_dropped = |view: &str, key: &str| {
            let place = (event.partition, event.position);
            dropped.contains(&(view.to_owned(), key.to_owned(), place.0, place.1))
        };
        if is_dropped("", &event.stream.to_string()) {
            continue;
        }
        let plan = rig.projection.plan(Piece::of(vec![event.clone()]));
        let needs = plan.needs();
        let wanted = |view: usize, need: &Need, row: &[Value]| {
            let has = |name: &str, values: &HashSet<Value>| {
                let column = views[view].columns.iter().position(|c| c.name == name);
                values.contains(&row[column.expect("a column")])
            };
            need.keys.contains(&row[0]) || need.matching.iter().any(|(name, v)| has(name, v))
        };
        let of_view = |(view, need): (usize, &Need)| {
            let rows = rows[view].values().filter(|row| wanted(view, need, row));
            rows.cloned().collect::<Vec<_>>()
        };
        let loaded = needs.iter().enumerate().map(of_view).collect();
        let blocked = Blocked::default();
        let start = Start { positions: vec![Position(0); 4], blocked: &blocked };
        let folded = plan.fold(loaded, &start).expect("rows fit");
        for (view, changes) in folded.changes.into_iter().enumerate() {
            for row in changes.inserts.into_iter().chain(changes.updates) {
                if !is_dropped(views[view].name, &row[0].to_string()) {
                    rows[view].insert(row[0].clone(), row);
                }
            }
            for key in changes.deletes {
                if !is_dropped(views[view].name, &key.to_string()) {
                    rows[view].remove(&key);
                }
            }
        }
    }
    let text = |row: &Vec<Value>| {
        let values: Vec<_> = row.iter().map(ToString::to_string).collect();
        (values[0].clone(), values.join("|"))
    };
    rows.iter().map(|rows| rows.values().map(text).collect()).collect()
}

async fn assert_folded(rig: &Rig, dropped: &HashSet<(String, String, Partition, Position)>) {
    mend(true);
    assert_eq!(tables(rig).await, fold(rig, dropped).await);
}

/// A row goes on from where it stopped, with all that followed, while the projector works; whoever
/// watches it is told.
#[tokio::test]
async fn a_row_is_folded_on_from_where_it_stopped() {
    mend(false);
    let rig = Rig::new(2).await;
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1)), (8, Event::Added(1)), (7, Event::Poison)]).await;
    for n in 0..20 {
        writer.append(&[(7, Event::Added(n)), (8, Event::Added(n))]).await;
    }
    let running = rig.run();
    rig.wait_applied(43).await;
    assert_eq!(places(&rig).await, [("counter".to_owned(), 7, 2)]);
    // The program is as it was: it waits on.
    let retried = again(&rig, Which::All).await;
    let poison = ("counter".to_owned(), Uuid::from_u128(7).to_string(), "poison".to_owned());
    assert_eq!((retried.released, retried.still), (0, vec![poison]));

    mend(true);
    let retried = again(&rig, one("counter", 7)).await;
    assert_eq!((retried.released, retried.rows, retried.still), (1, 1, Vec::new()));
    assert!(waiting(&rig).await.is_empty());
    let told = "SELECT keys, positions FROM headwater_read.change WHERE revised";
    let told = rig.read(told).await;
    let keys = vec![Uuid::from_u128(7).to_string()];
    assert_eq!((told.len(), told[0].get::<_, Vec<String>>(0)), (1, keys));
    writer.append(&[(7, Event::Added(5)), (8, Event::Added(5))]).await;
    rig.wait_applied(45).await;
    assert_folded(&rig, &HashSet::new()).await;
    running.stop().await;
    let refused = retry(&rig).await.again(&one("counter", 7)).await;
    assert!(matches!(refused, Err(RetryError::NotParked)), "{refused:?}");
}

/// A counter is given to an owner whose name is parked: it would show an older name for ever.
#[tokio::test]
async fn a_row_that_refers_to_a_blocked_one_waits_too() {
    mend(false);
    let rig = Rig::new(1).await;
    let owner = Uuid::from_u128(OWNERS);
    let mut writer = rig.writer().await;
    let facts = [
        (OWNERS, Event::Named("Ann".to_owned())),
        (OWNERS, Event::Named("A\0nn".to_owned())),
        (OWNERS, Event::Named("Bea".to_owned())),
        (7, Event::Added(1)),
        (7, Event::Owned(owner)),
        (7, Event::Added(1)),
    ];
    writer.append(&facts).await;
    apply(&rig, 6).await;
    let waits = [("counter".to_owned(), 7, 5), ("owner".to_owned(), OWNERS, 2)];
    assert_eq!(places(&rig).await, waits);
    let error = waiting(&rig).await[0].error.clone();
    assert_eq!(error, format!("it looks at owner {owner}, which waits behind a parked event"));
    // It can be tried again only after the other one, which takes a decision.
    assert_eq!(again(&rig, one("counter", 7)).await.released, 0);
    let (view, row) = ("owner", owner.to_string());
    let dropped = retry(&rig).await.drop_event(view, &row, "an operator").await.expect("dropped");
    assert_eq!((dropped.released, dropped.still), (1, Vec::new()));
    assert_eq!(again(&rig, Which::All).await.released, 1);
    let left = HashSet::from([(view.to_owned(), row, Partition(0), Position(2))]);
    assert_folded(&rig, &left).await;
    let query = "SELECT view, row_key, position, type_name, dropped_by FROM headwater_read.dropped";
    let record = &rig.read(query).await[0];
    assert_eq!(record.get::<_, String>("dropped_by"), "an operator");
    assert_eq!(record.get::<_, i64>("position"), 2);
}

/// Events that the program cannot decode, of an owner: counters went on without them. Once it can,
/// all rows that they touch are right, also those that other events have changed meanwhile.
#[tokio::test]
async fn what_could_not_be_decoded_comes_to_its_rows_in_order() {
    mend(false);
    let rig = Rig::new(2).await;
    let owner = Uuid::from_u128(OWNERS);
    let mut writer = rig.writer().await;
    for (stream, event) in [
        (OWNERS, Event::Named("Ann".to_owned())),
        (7, Event::Owned(owner)),
        (OWNERS, Event::Cryptic("Bea".to_owned())),
        (8, Event::Owned(owner)),
        (OWNERS, Event::Named("Eve".to_owned())),
        (9, Event::Owned(owner)),
        (9, Event::Dropped),
        (9, Event::Added(1)),
        (7, Event::Added(1)),
    ] {
        writer.append(&[(stream, event)]).await;
    }
    apply(&rig, 9).await;
    assert_eq!(places(&rig).await.len(), 1);
    mend(true);
    let retried = again(&rig, one("", OWNERS)).await;
    assert_eq!((retried.released, retried.still), (1, Vec::new()));
    assert_folded(&rig, &HashSet::new()).await;
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn fact(&mut self) -> (u128, Event) {
        let (counter, owner) = (u128::from(self.below(6)), OWNERS + u128::from(self.below(3)));
        let name = format!("{}", self.below(5));
        match self.below(20) {
            0 => (counter, Event::Poison),
            1 => (counter, Event::Garbled),
            2 => (owner, Event::Cryptic(name)),
            3 => (owner, Event::Named(format!("\0{name}"))),
            4 => (owner, Event::Named(self.long())),
            5 => (counter, Event::Dropped),
            6..9 => (owner, Event::Named(name)),
            9..12 => (counter, Event::Owned(Uuid::from_u128(owner))),
            _ => (counter, Event::Added(self.below(9) as i64)),
        }
    }

    /// Too long for an index, however well it is compressed.
    fn long(&mut self) -> String {
        (0..6_000).map(|_| char::from(b'!' + self.below(90) as u8)).collect()
    }
}

/// Appends, retries and drops at random, with programs that can and cannot apply everything; in the
/// end all is tried again, and what still fails is dropped.
async fn at_random(seed: u64) {
    mend(false);
    let mut random = Random(seed * 7_919 + 1);
    let rig = Rig::new(1 + (seed % 3) as u16).await;
    let mut writer = rig.writer().await;
    let mut dropped = HashSet::new();
    let mut running = rig.run();
    for _ in 0..12 {
        let facts: Vec<_> = (0..1 + random.below(12)).map(|_| random.fact()).collect();
        writer.append(&facts).await;
        match random.below(6) {
            0 => mend(true),
            1 => mend(false),
            // A program that cannot do what an earlier one did may refuse.
            2 => drop(retry(&rig).await.again(&Which::All).await),
            3 => drop_one(&rig, &mut random, &mut dropped).await,
            4 => {
                rig.wait_applied(writer.facts.len() as u64).await;
                running.stop().await;
                running = rig.run();
            }
            _ => rig.wait_applied(writer.facts.len() as u64).await,
        }
    }
    mend(true);
    rig.wait_applied(writer.facts.len() as u64).await;
    running.stop().await;
    loop {
        again(&rig, Which::All).await;
        if waiting(&rig).await.is_empty() {
            break;
        }
        drop_one(&rig, &mut random, &mut dropped).await;
    }
    assert_folded(&rig, &dropped).await;
}

async fn drop_one(
    rig: &Rig,
    random: &mut Random,
    dropped: &mut HashSet<(String, String, Partition, Position)>,
) {
    let waiting = waiting(rig).await;
    if waiting.is_empty() {
        return;
    }
    let one = &waiting[random.below(waiting.len() as u64) as usize];
    let done = retry(rig).await.drop_event(&one.view, &one.row_key, "the test").await;
    if done.is_err() {
        return;
    }
    let place = (one.view.clone(), one.row_key.clone(), one.partition, one.position);
    dropped.insert(place);
}

#[tokio::test]
async fn whatever_is_parked_retried_and_dropped_the_rows_are_the_fold_of_the_log() {
    for seed in 1..=5 {
        eprintln!("seed {seed}");
        at_random(seed).await;
    }
}

/// What was dropped is a decision about the rows as they are; views that are filled again try it
/// again.
#[tokio::test]
async fn views_that_are_emptied_try_again_what_was_dropped() {
    mend(false);
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1)), (7, Event::Poison)]).await;
    apply(&rig, 2).await;
    let row = Uuid::from_u128(7).to_string();
    retry(&rig).await.drop_event("counter", &row, "the test").await.expect("dropped");
    assert!(waiting(&rig).await.is_empty());
    let projections = std::slice::from_ref(&rig.projection);
    headwater_projector::migrate::empty(&rig.read_url, projections).await.expect("emptied");
    let running = rig.run();
    eventually("it is parked again", async || !waiting(&rig).await.is_empty()).await;
    rig.wait_applied(2).await;
    running.stop().await;
    mend(true);
    again(&rig, Which::All).await;
    assert_folded(&rig, &HashSet::new()).await;
}

/// What version 3 has parked: every event that waits, and nothing of what the row has seen.
const VERSION_3: &str = "
    ALTER TABLE headwater_read.parked DROP COLUMN folded,
        ADD COLUMN schema_version integer NOT NULL DEFAULT 1,
        ADD COLUMN payload bytea NOT NULL DEFAULT '',
        ADD COLUMN command_id uuid NOT NULL DEFAULT gen_random_uuid();
    INSERT INTO headwater_read.parked
           (projection, view, row_key, error, partition, position, stream, version, recorded_at, type_name)
    SELECT projection, view, row_key, 'waits', partition, position + 1, stream, version + 1, now(), 'test.Added'
      FROM headwater_read.parked;
    DROP TABLE headwater_read.dropped;
    UPDATE headwater_read.schema_version SET version = 3";

#[tokio::test]
async fn what_version_3_parked_is_folded_from_the_beginning() {
    mend(false);
    let rig = Rig::new(1).await;
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1)), (7, Event::Poison), (7, Event::Added(2))]).await;
    apply(&rig, 3).await;
    sql(&rig.read_url, VERSION_3).await;
    let projections = std::slice::from_ref(&rig.projection);
    for _ in 0..2 {
        headwater_projector::migrate::migrate(&rig.read_url, projections).await.expect("migrated");
    }
    let found = waiting(&rig).await;
    assert_eq!((found.len(), found[0].position, found[0].folded.clone()), (1, Position(2), None));
    writer.append(&[(7, Event::Added(3)), (8, Event::Poison)]).await;
    apply(&rig, 5).await;
    mend(true);
    assert_eq!(again(&rig, Which::All).await.released, 2);
    assert!(waiting(&rig).await.is_empty());
    assert_folded(&rig, &HashSet::new()).await;
}
