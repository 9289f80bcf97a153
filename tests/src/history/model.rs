//! Model of every query's answer at any place in the log, straight from the events. Each stream is
//! kept in all its states, so that the rows of any combination of positions can be told at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use headwater_domain_proto::stores::v1::{Money, StockItem, Store, StoreOverview, StoreStatus};
use prost_types::Timestamp;
use uuid::Uuid;

use super::log::{Change, Event, Log};
use super::record::{Ask, Moment, Page, Positions, Row};

/// All states of all streams.
pub struct Model {
    streams: HashMap<Uuid, Timeline>,
    stores: Vec<Uuid>,
    items: HashMap<Uuid, Vec<Uuid>>,
    /// Events that do not fit what stands before them.
    pub misfits: Vec<String>,
}

/// The states of a stream, each with the position that it begins at.
struct Timeline {
    partition: u16,
    states: Vec<(u64, State)>,
}

#[derive(Clone)]
enum State {
    Store(Store),
    Item(StockItem),
    User(String),
}

/// Sort key of a list; ids break ties. Texts are compared byte by byte: names and SKUs of a history
/// are of one length and of digits and small letters, which every collation sorts alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(String, Uuid),
    Number(i64, Uuid),
    Most(Reverse<i64>, Uuid),
}

impl Model {
    /// Folds a whole log.
    pub fn new(log: &Log) -> Self {
        let (streams, items) = (HashMap::new(), HashMap::new());
        let mut model = Self { streams, items, stores: Vec::new(), misfits: Vec::new() };
        for event in &log.events {
            if let Err(misfit) = model.add(event) {
                let place = format!("partition {} position {}", event.partition, event.position);
                model.misfits.push(format!("{place}: {misfit}: {:?}", event.change));
            }
        }
        model
    }

    fn add(&mut self, event: &Event) -> Result<(), String> {
        let before = self.streams.get(&event.stream).and_then(|line| line.states.last());
        let state = folded(before.map(|(_, state)| state.clone()), event)?;
        if before.is_none() {
            match &state {
                State::Store(_) => self.stores.push(event.stream),
                State::Item(item) => {
                    self.items.entry(id(&item.store_id)).or_default().push(event.stream);
                }
                State::User(_) => {}
            }
        }
        let line = self.streams.entry(event.stream);
        let line = line.or_insert(Timeline { partition: event.partition, states: Vec::new() });
        if line.partition != event.partition {
            return Err(format!("its stream is in partition {}", line.partition));
        }
        line.states.push((event.position, state));
        Ok(())
    }

    fn state(&self, stream: Uuid, at: &Positions) -> Option<&State> {
        let line = self.streams.get(&stream)?;
        let seen = at.at(line.partition);
        let count = line.states.partition_point(|(position, _)| *position <= seen);
        Some(&line.states[..count].last()?.1)
    }

    fn item(&self, item: Uuid, at: &Positions) -> Option<&StockItem> {
        match self.state(item, at) {
            Some(State::Item(item)) => Some(item),
            Some(State::Store(_) | State::User(_)) | None => None,
        }
    }

    fn store(&self, store: Uuid, at: &Positions) -> Option<&Store> {
        match self.state(store, at) {
            Some(State::Store(store)) => Some(store),
            Some(State::Item(_) | State::User(_)) | None => None,
        }
    }

    fn items_of(&self, store: Uuid, at: &Positions) -> impl Iterator<Item = &StockItem> {
        let items = self.items.get(&store).into_iter().flatten();
        items.filter_map(|item| self.item(*item, at))
    }

    fn overview(&self, store_id: Uuid, at: &Positions) -> Option<StoreOverview> {
        let store = self.store(store_id, at)?;
        let manager = Uuid::parse_str(&store.manager_id).ok();
        let manager_name = match manager.and_then(|user| self.state(user, at)) {
            Some(State::User(name)) => name.clone(),
            Some(State::Store(_) | State::Item(_)) | None => String::new(),
        };
        let money = |minor_units| Some(Money { currency: store.currency.clone(), minor_units });
        let total = |field: fn(&StockItem) -> i64| self.items_of(store_id, at).map(field).sum();
        Some(StoreOverview {
            store_id: store.store_id.clone(),
            name: store.name.clone(),
            city: store.city.clone(),
            status: store.status,
            manager_id: store.manager_id.clone(),
            manager_name,
            items: total(|item| i64::from(item.listed)),
            units_in_stock: total(|item| item.on_hand),
            stock_value: money(total(|item| item.on_hand * units(&item.price))),
            units_sold: total(|item| item.units_sold),
            revenue: money(total(|item| units(&item.revenue))),
        })
    }

    /// The rows that answer a query, and whether there are more than fit on the page.
    pub fn rows(&self, ask: &Ask, page: Option<&Page>, at: &Positions) -> (Vec<Row>, bool) {
        let item = |item: &Uuid| self.item(*item, at).cloned().map(Row::Item);
        let rows: Vec<Row> = match ask {
            Ask::Item(id) => item(id).into_iter().collect(),
            Ask::Items(ids) => ids.iter().filter_map(item).collect(),
            Ask::ItemBySku { store, sku } => {
                let mut items = self.items_of(*store, at);
                let found = items.find(|item| item.listed && item.sku == *sku);
                found.cloned().map(Row::Item).into_iter().collect()
            }
            Ask::Store(id) => self.store(*id, at).cloned().map(Row::Store).into_iter().collect(),
            Ask::Overview(id) => self.overview(*id, at).map(Row::Overview).into_iter().collect(),
            Ask::ListItems { store, by_price: _ } => {
                let listed = self.items_of(*store, at).filter(|item| item.listed);
                listed.cloned().map(Row::Item).collect()
            }
            Ask::ListStores { city } => {
                self.stores_where(at, |store| city.is_empty() || store.city == *city)
            }
            Ask::Search(query) => self.stores_where(at, |store| matches(&store.name, query)),
            Ask::ListOverviews => {
                let all = self.stores.iter().filter_map(|store| self.overview(*store, at));
                all.map(Row::Overview).collect()
            }
        };
        match page {
            None => (rows, false),
            Some(page) => cut(ask, page, rows),
        }
    }

    fn stores_where(&self, at: &Positions, wanted: impl Fn(&Store) -> bool) -> Vec<Row> {
        let stores = self.stores.iter().filter_map(|store| self.store(*store, at));
        stores.filter(|store| wanted(store)).cloned().map(Row::Store).collect()
    }
}

/// The page that follows the row which it follows.
fn cut(ask: &Ask, page: &Page, rows: Vec<Row>) -> (Vec<Row>, bool) {
    let after = page.after.as_ref().map(|row| key(ask, row));
    let sorted: BTreeMap<Key, Row> = rows.into_iter().map(|row| (key(ask, &row), row)).collect();
    let following: Vec<Row> = sorted
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .map(|(_, row)| row)
        .take(page.size + 1)
        .collect();
    let more = following.len() > page.size;
    (following.into_iter().take(page.size).collect(), more)
}

fn key(ask: &Ask, row: &Row) -> Key {
    match row {
        Row::Item(item) if matches!(ask, Ask::ListItems { by_price: true, .. }) => {
            Key::Number(units(&item.price), id(&item.item_id))
        }
        Row::Item(item) => Key::Text(item.sku.clone(), id(&item.item_id)),
        Row::Store(store) => Key::Text(store.name.clone(), id(&store.store_id)),
        Row::Overview(overview) => {
            Key::Most(Reverse(units(&overview.revenue)), id(&overview.store_id))
        }
    }
}

/// True if for each word of the query some word of the name begins with it.
fn matches(name: &str, query: &str) -> bool {
    query.split(' ').all(|wanted| name.split(' ').any(|word| word.starts_with(wanted)))
}

fn folded(before: Option<State>, event: &Event) -> Result<State, String> {
    let mut state = match before {
        None => begun(event).ok_or("a stream does not begin like this")?,
        Some(state) => changed(state, event).ok_or("it does not fit its stream")?,
    };
    match &mut state {
        State::Store(store) => store.version = event.version,
        State::Item(item) => {
            item.version = event.version;
            let noted = event.on_hand.unwrap_or(item.on_hand);
            if noted != item.on_hand || item.on_hand < 0 {
                return Err(format!("{noted} units are noted, {} there", item.on_hand));
            }
        }
        State::User(_) => {}
    }
    Ok(state)
}

fn begun(event: &Event) -> Option<State> {
    match &event.change {
        Change::StoreOpened { name, city, currency } => Some(State::Store(Store {
            store_id: event.stream.to_string(),
            name: name.clone(),
            city: city.clone(),
            currency: currency.clone(),
            status: StoreStatus::Open.into(),
            opened_time: Some(timestamp(event.recorded)),
            ..Store::default()
        })),
        Change::ItemListed { store, sku, name, price } => Some(State::Item(StockItem {
            item_id: event.stream.to_string(),
            store_id: store.to_string(),
            sku: sku.clone(),
            name: name.clone(),
            price: euro(*price),
            revenue: euro(0),
            listed: true,
            ..StockItem::default()
        })),
        Change::UserRegistered { name, .. } => Some(State::User(name.clone())),
        _ => None,
    }
}

fn changed(state: State, event: &Event) -> Option<State> {
    match (state, &event.change) {
        (State::Store(store), Change::StoreRenamed(name)) => {
            Some(State::Store(Store { name: name.clone(), ..store }))
        }
        (State::Store(store), Change::ManagerAssigned(user)) => {
            Some(State::Store(Store { manager_id: user.to_string(), ..store }))
        }
        (State::User(_), Change::UserRenamed(name)) => Some(State::User(name.clone())),
        (State::Item(mut item), change) => {
            match change {
                Change::ItemRepriced(price) => item.price = euro(*price),
                Change::StockReceived(quantity) => item.on_hand += quantity,
                Change::SaleRecorded { quantity, amount } => {
                    item.on_hand -= quantity;
                    item.units_sold += quantity;
                    item.revenue = euro(units(&item.revenue) + amount);
                }
                Change::TransferredOut { quantity, .. } => item.on_hand -= quantity,
                Change::TransferredIn { quantity, .. } => item.on_hand += quantity,
                Change::ItemDelisted => item.listed = false,
                _ => return None,
            }
            Some(State::Item(item))
        }
        (State::Store(_) | State::User(_), _) => None,
    }
}

/// All stores of a history trade in it.
fn euro(minor_units: i64) -> Option<Money> {
    Some(Money { currency: "EUR".to_owned(), minor_units })
}

fn units(money: &Option<Money>) -> i64 {
    money.as_ref().map_or(0, |money| money.minor_units)
}

fn timestamp(Moment(micros): Moment) -> Timestamp {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    Timestamp { seconds: seconds as i64, nanos: rest as i32 * 1_000 }
}

/// An id that is none names nothing.
fn id(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_default()
}
