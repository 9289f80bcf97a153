//! Answers of lists and searches.

use uuid::Uuid;

use super::super::log::{Change, Event, Log};
use super::super::model::Model;
use super::super::record::{Ask, LogName, Moment, Page, Positions, Row};

/// Stores 1 to 4; items 11 to 13 of store 1, of which 12 is delisted in the end.
fn model() -> Model {
    let mut events = Vec::new();
    for (number, name, city) in [
        (1, "south no3", "bern"),
        (2, "north no1", "bergen"),
        (3, "noble no4", "bern"),
        (4, "north no2", "bern"),
    ] {
        let name = name.to_owned();
        let city = city.to_owned();
        let currency = "EUR".to_owned();
        events.push((number, Change::StoreOpened { name, city, currency }));
    }
    for (number, sku, price) in [(11, "c", 10), (12, "a", 30), (13, "b", 20)] {
        let store = Uuid::from_u128(1);
        let sku = sku.to_owned();
        let name = String::new();
        events.push((number, Change::ItemListed { store, sku, name, price }));
    }
    events.push((4, Change::StoreRenamed("solid no2".to_owned())));
    events.push((12, Change::ItemDelisted));
    let event = |(position, (stream, change))| Event {
        partition: 0,
        position,
        stream: Uuid::from_u128(stream),
        version: 1,
        recorded: Moment(0),
        change,
        on_hand: None,
    };
    let name = LogName { id: Uuid::nil(), epoch: 1 };
    let model = Model::new(&Log { name, events: (1..).zip(events).map(event).collect() });
    assert_eq!(model.misfits, [""; 0]);
    model
}

fn number(row: &Row) -> u128 {
    let id = match row {
        Row::Item(item) => &item.item_id,
        Row::Store(store) => &store.store_id,
        Row::Overview(overview) => &overview.store_id,
    };
    Uuid::parse_str(id).expect("an id").as_u128()
}

#[test]
fn rows_in_their_order() {
    let city = |city: &str| Ask::ListStores { city: city.to_owned() };
    let search = |words: &str| Ask::Search(words.to_owned());
    let items = |by_price| Ask::ListItems { store: Uuid::from_u128(1), by_price };
    let table: [(Ask, u64, &[u128]); 12] = [
        (city(""), 9, &[3, 2, 4, 1]),
        (city(""), 7, &[3, 2, 4, 1]),
        (city("bern"), 9, &[3, 4, 1]),
        (city("oslo"), 9, &[]),
        (search("no"), 9, &[3, 2, 4, 1]),
        (search("nor"), 9, &[2]),
        (search("nor"), 7, &[2, 4]),
        (search("s no3"), 9, &[1]),
        (items(false), 8, &[12, 13, 11]),
        (items(false), 9, &[13, 11]),
        (items(true), 8, &[11, 13, 12]),
        (Ask::ListOverviews, 9, &[1, 2, 3, 4]),
    ];
    let model = model();
    for (ask, position, expected) in table {
        let page = Page { size: 10, after: None, more: false };
        let (rows, more) = model.rows(&ask, Some(&page), &Positions(vec![position]));
        let numbers: Vec<u128> = rows.iter().map(number).collect();
        assert_eq!((&numbers[..], more), (expected, false), "{ask:?} at {position}");
    }
}

/// Two by two; what lies between two pages may change meanwhile.
#[test]
fn pages_follow_each_other() {
    let (model, ask) = (model(), Ask::ListStores { city: String::new() });
    let page = |after, position| {
        let page = Page { size: 2, after, more: false };
        let (rows, more) = model.rows(&ask, Some(&page), &Positions(vec![position]));
        (rows.iter().map(number).collect::<Vec<_>>(), more, rows.last().cloned())
    };
    let (numbers, more, last) = page(None, 7);
    assert_eq!((numbers, more), (vec![3, 2], true));
    let (numbers, more, last) = page(last, 9);
    assert_eq!((numbers, more), (vec![4, 1], false));
    assert_eq!(page(last, 9).0, [0; 0]);
}
