//! A small history in which all is well, and hands to spoil it.

use std::ops::Range;

use headwater_domain_proto::stores::v1::{Money, StockItem, StoreOverview, StoreStatus};
use uuid::Uuid;

use super::super::log::{Change, Event, Log};
use super::super::record::{
    Answer, Ask, Command, LogName, Moment, Operation, Outcome, Page, Positions, Proof, Query,
    Receipt, Requirement, Row, Shown, What,
};

/// A store in partition 0, its only item, and in partition 1 its manager.
pub const S: Uuid = Uuid::from_u128(1);
pub const I: Uuid = Uuid::from_u128(2);
pub const U: Uuid = Uuid::from_u128(3);

const LOG: LogName = LogName { id: Uuid::from_u128(100), epoch: 1 };

pub struct History {
    pub log: Log,
    pub operations: Vec<Operation>,
}

/// Operations 0 to 6 are commands, one every 10 microseconds from the moment 10 on, each of which
/// takes 5; 7 to 9 are queries.
///
/// | moment | client | what | partition and position |
/// |---|---|---|---|
/// | 10 | 0 | opens the store | 0, 1 |
/// | 20 | 0 | lists the item | 0, 2 |
/// | 30 | 1 | registers the user | 1, 1 |
/// | 40 | 0 | receives 10 units | 0, 3 |
/// | 50 | 0 | makes the user the store's manager | 0, 4 |
/// | 60 | 1 | sells 2 units | 0, 5 |
/// | 70 | 1 | renames the user | 1, 2 |
/// | 80 | 1 | reads the item at (5, 2), as its token says | |
/// | 90 | 0 | reads the overview at (4, 1), as it comes | |
/// | 100 | 0 | lists the items at (5, 1), as its token says | |
///
/// In the log the events are numbered 0 to 4 in partition 0, and 5 and 6 in partition 1.
pub fn history() -> History {
    let mut h = History { log: Log { name: LOG, events: Vec::new() }, operations: Vec::new() };
    let (city, currency) = ("bern".to_owned(), "EUR".to_owned());
    let name = "north no1".to_owned();
    h.command(0, S, Change::StoreOpened { name, city, currency });
    let (sku, name) = ("001".to_owned(), "tea".to_owned());
    h.command(0, I, Change::ItemListed { store: S, sku, name, price: 5 });
    let (email, name) = ("ada@example.org".to_owned(), "ada no1".to_owned());
    h.command(1, U, Change::UserRegistered { email, name });
    h.command(0, I, Change::StockReceived(10));
    h.command(0, S, Change::ManagerAssigned(U));
    h.command(1, I, Change::SaleRecorded { quantity: 2, amount: 300 });
    h.command(1, U, Change::UserRenamed("ada no2".to_owned()));
    h.query(1, at_least(&[5, 2]), Ask::Item(I), &[5, 2], vec![item(8, 2, 3)]);
    let row = Row::Overview(overview(10, 0, "ada no1"));
    h.query(0, Requirement::Any, Ask::Overview(S), &[4, 1], vec![row]);
    let items = Ask::ListItems { store: S, by_price: true };
    h.query(0, at_least(&[4, 1]), items, &[5, 1], vec![item(8, 2, 3)]);
    h.shown(9).page = Some(Page { size: 2, after: None, more: false });
    h.sort();
    h
}

impl History {
    fn next(&self) -> (Moment, Moment) {
        let began = 10 * (self.operations.len() as u64 + 1);
        (Moment(began), Moment(began + 5))
    }

    /// One more acknowledged command, with its event at the end of the log's list.
    pub fn command(&mut self, client: usize, stream: Uuid, change: Change) {
        let (began, ended) = self.next();
        self.append(stream, change.clone());
        let event = self.log.events.last().expect("it was appended");
        let mut positions = Positions::default();
        positions.raise(event.partition, event.position);
        let proof = Proof { log: LOG, positions };
        let receipt = Receipt { version: event.version, proof, replayed: false };
        let outcome = Outcome::Acknowledged(vec![receipt]);
        let what = What::Command(Command { stream, change, expected_version: None, outcome });
        self.operations.push(Operation { client, began, ended, what });
    }

    /// One more event, of no command.
    pub fn append(&mut self, stream: Uuid, change: Change) {
        let partition = u16::from(stream == U);
        let before =
            |wanted: &dyn Fn(&&Event) -> bool| self.log.events.iter().filter(wanted).count() as u64;
        let position = before(&|event| event.partition == partition) + 1;
        let version = before(&|event| event.stream == stream) + 1;
        let on_hand = match &change {
            Change::StockReceived(quantity) => Some(*quantity),
            Change::SaleRecorded { quantity, .. } => Some(10 - quantity),
            _ => None,
        };
        let recorded = Moment(0);
        let event = Event { partition, position, stream, version, recorded, change, on_hand };
        self.log.events.push(event);
    }

    /// The event that was appended last, until they are sorted.
    pub fn last(&mut self) -> &mut Event {
        self.log.events.last_mut().expect("an event")
    }

    /// The first event with this change of this stream.
    pub fn of(&mut self, stream: Uuid, change: &Change) -> &mut Event {
        let mut events = self.log.events.iter_mut();
        events.find(|event| event.stream == stream && event.change == *change).expect("its event")
    }

    /// One more query.
    pub fn query(
        &mut self,
        client: usize,
        requirement: Requirement,
        ask: Ask,
        positions: &[u64],
        rows: Vec<Row>,
    ) {
        let (began, ended) = self.next();
        let proof = Proof { log: LOG, positions: Positions(positions.to_vec()) };
        let shown = Shown { proof, as_of: Moment(0), page: None, rows };
        let what = What::Query(Query { ask, requirement, answer: Answer::Shown(Box::new(shown)) });
        self.operations.push(Operation { client, began, ended, what });
    }

    /// Events as the log gives them.
    pub fn sort(&mut self) {
        self.log.events.sort_by_key(|event| (event.partition, event.position));
    }

    pub fn shown(&mut self, at: usize) -> &mut Shown {
        match &mut self.operations[at].what {
            What::Query(Query { answer: Answer::Shown(shown), .. }) => shown,
            other => panic!("no answer: {other:?}"),
        }
    }

    pub fn fail(&mut self, at: usize, with: Answer) {
        match &mut self.operations[at].what {
            What::Query(query) => query.answer = with,
            other @ What::Command(_) => panic!("no query: {other:?}"),
        }
    }

    fn sent(&mut self, at: usize) -> &mut Command {
        match &mut self.operations[at].what {
            What::Command(command) => command,
            other @ What::Query(_) => panic!("no command: {other:?}"),
        }
    }

    pub fn end(&mut self, at: usize, outcome: Outcome) {
        self.sent(at).outcome = outcome;
    }

    pub fn expect_version(&mut self, at: usize, version: u64) {
        self.sent(at).expected_version = Some(version);
    }

    pub fn receipts(&mut self, at: usize) -> &mut Vec<Receipt> {
        match &mut self.sent(at).outcome {
            Outcome::Acknowledged(receipts) => receipts,
            other => panic!("no receipt: {other:?}"),
        }
    }

    pub fn time(&mut self, at: usize, moments: Range<u64>) {
        let operation = &mut self.operations[at];
        (operation.began, operation.ended) = (Moment(moments.start), Moment(moments.end));
    }
}

pub fn other_log() -> LogName {
    LogName { epoch: 2, ..LOG }
}

pub fn at_least(positions: &[u64]) -> Requirement {
    Requirement::AtLeast(Proof { log: LOG, positions: Positions(positions.to_vec()) })
}

/// The item, at 150 for each unit sold.
pub fn item(on_hand: i64, units_sold: i64, version: u64) -> Row {
    Row::Item(StockItem {
        item_id: I.to_string(),
        store_id: S.to_string(),
        sku: "001".to_owned(),
        name: "tea".to_owned(),
        price: money(5),
        on_hand,
        units_sold,
        revenue: money(150 * units_sold),
        listed: true,
        version,
    })
}

/// The store, with its manager.
pub fn overview(on_hand: i64, units_sold: i64, manager: &str) -> StoreOverview {
    StoreOverview {
        store_id: S.to_string(),
        name: "north no1".to_owned(),
        city: "bern".to_owned(),
        status: StoreStatus::Open.into(),
        manager_id: U.to_string(),
        manager_name: manager.to_owned(),
        items: 1,
        units_in_stock: on_hand,
        stock_value: money(5 * on_hand),
        units_sold,
        revenue: money(150 * units_sold),
    }
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency: "EUR".to_owned(), minor_units })
}
