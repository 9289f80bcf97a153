//! A client: one operation after the other, each recorded. Every step has its own chance, made from
//! the seed, the client's number and the step's, so that no answer changes what comes after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_proto::headwater::v1 as wire;
use headwater_tests::history::log::Change;
use headwater_tests::history::record::{
    Answer, Ask, Command, Moment, Operation, Outcome, Page, Query, Receipt, Requirement, Row,
    Shown, What,
};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng, SeedableRng};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::clock::Clock;
use super::commands;
use super::queries::{self, Cursor, Enforcement, Reply};
use super::session::{Session, is_refusal, passes, reason};
use super::shop::{self, CITIES, Item, Order, Shop, WORDS};

/// Of clients with numbers of their own; also the distance between a client's serial numbers.
pub const CLIENTS_MAX: u64 = 32;
/// A client pauses between two steps, so as not to take the machine for itself.
const STEP_EVERY: Duration = Duration::from_millis(40);
/// An attempt that is not answered by then is given up.
const PATIENCE: Duration = Duration::from_secs(4);
/// Attempts at a command. After the last one its outcome is unknown.
const ATTEMPTS_MAX: u32 = 6;
/// What a client waits for before it tries again, at most, and if it was not told.
const PAUSE_MAX: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
/// Pages of a list that a client reads one after the other. A page has up to four rows, and lists
/// grow.
const PAGES_MAX: usize = 4;
/// More than there ever is in stock.
const TOO_MANY: i64 = 1_000_000_000;

/// What clients have in common.
#[derive(Default)]
pub struct Shared {
    /// Proves what was acknowledged to any of them.
    pub board: Mutex<Session>,
    /// Set when they are to stop.
    pub over: AtomicBool,
    /// Set while they may transfer stock: the log's schema has to have edition 3 for that.
    pub transfers: AtomicBool,
}

pub struct Client {
    pub number: usize,
    pub seed: u64,
    pub channel: Channel,
    pub clock: Clock,
    pub shop: Shop,
    pub shared: Arc<Shared>,
    pub enforcement: Enforcement,
    pub session: Session,
    /// Last seen of each stream.
    pub versions: HashMap<Uuid, u64>,
    /// Items that it has listed itself.
    pub listed: Vec<Item>,
    pub steps: u64,
    pub record: Vec<Operation>,
}

impl Client {
    /// Works until it is told to stop.
    pub async fn work(mut self) -> Vec<Operation> {
        let mut pace = tokio::time::interval(STEP_EVERY);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.shared.over.load(Ordering::Relaxed) {
            pace.tick().await;
            self.step().await;
        }
        self.record
    }

    async fn step(&mut self) {
        self.steps += 1;
        let mut rng = chance(self.seed, self.number, self.steps);
        let (ask, requirement) = (self.ask(&mut rng), self.requirement(&mut rng));
        let (order, read_own) = (self.order(&mut rng), rng.random_bool(0.7));
        let cursor = Cursor { size: rng.random_range(1..=4), token: String::new() };
        if rng.random_bool(0.7) {
            let pages = if rng.random_bool(0.6) { PAGES_MAX } else { 1 };
            self.read(ask, requirement, cursor, pages).await;
            return;
        }
        let subject = subject(&order);
        self.command(order, rng.random(), rng.random_bool(0.1)).await;
        if read_own {
            self.read(subject, self.onward(), cursor, 1).await;
        }
    }

    /// At least what it was told so far.
    fn onward(&self) -> Requirement {
        self.session.proof().map_or(Requirement::Any, Requirement::AtLeast)
    }

    fn requirement(&mut self, rng: &mut StdRng) -> Requirement {
        match rng.random_range(0..100) {
            0..60 => self.onward(),
            60..70 => {
                // What others were told, too: somebody passed it on.
                self.session.join(&self.shared.board.lock().expect("no panic"));
                self.onward()
            }
            70..83 => Requirement::Any,
            83..90 => Requirement::Strong,
            _ => Requirement::MaxStaleness(Duration::from_millis(rng.random_range(500..5_000))),
        }
    }

    fn ask(&self, rng: &mut StdRng) -> Ask {
        let item = self.some_item(rng);
        let store = self.shop.stores[rng.random_range(0..self.shop.stores.len())];
        match rng.random_range(0..100) {
            0..25 => Ask::Item(item.id),
            25..30 => Ask::ItemBySku { store: item.store, sku: item.sku },
            30..38 => {
                let mut ids: Vec<Uuid> = self.shop.items.iter().map(|item| item.id).collect();
                let first = rng.random_range(0..ids.len());
                ids.rotate_left(first);
                ids.truncate(5);
                Ask::Items(ids)
            }
            38..46 => Ask::Store(store),
            46..58 => Ask::Overview(store),
            58..70 => Ask::ListItems { store, by_price: rng.random() },
            70..80 => {
                let city =
                    if rng.random() { CITIES[rng.random_range(0..CITIES.len())] } else { "" };
                Ask::ListStores { city: city.to_owned() }
            }
            80..90 => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                let beginning = &word[..rng.random_range(1..=word.len())];
                let second = if rng.random() { " no00" } else { "" };
                Ask::Search(format!("{beginning}{second}"))
            }
            _ => Ask::ListOverviews,
        }
    }

    fn order(&self, rng: &mut StdRng) -> Order {
        let serial = self.steps * CLIENTS_MAX + self.number as u64;
        // No client's serial numbers are those of another one, nor those of the shop's opening.
        let amount = 1_000 + serial as i64;
        let hot = self.shop.items[rng.random_range(0..self.shop.items.len())].clone();
        let store = self.shop.stores[rng.random_range(0..self.shop.stores.len())];
        let user = self.shop.users[rng.random_range(0..self.shop.users.len())];
        let for_item = |change| Order::new(hot.id, change).within(hot.store);
        let order = match rng.random_range(0..100) {
            0..3 => for_item(Change::SaleRecorded { quantity: TOO_MANY, amount }),
            3..36 => for_item(Change::SaleRecorded { quantity: rng.random_range(1..=3), amount }),
            36..45 => {
                let to = self.neighbour(&hot, rng).id;
                match self.shared.transfers.load(Ordering::Relaxed) {
                    true => for_item(Change::TransferredOut { quantity: serial as i64, to }),
                    false => for_item(Change::SaleRecorded { quantity: 1, amount }),
                }
            }
            45..60 => for_item(Change::StockReceived(amount)),
            60..70 => for_item(Change::ItemRepriced(amount)),
            70..80 => Order::new(store, Change::StoreRenamed(shop::name(rng, serial + 1_000))),
            80..88 => Order::new(user, Change::UserRenamed(shop::name(rng, serial + 1_000))),
            88..95 => shop::listing(rng, store, serial + 1_000).1,
            _ => match self.listed.last() {
                Some(item) => Order::new(item.id, Change::ItemDelisted).within(item.store),
                None => shop::listing(rng, store, serial + 1_000).1,
            },
        };
        let expected = self.versions.get(&order.stream).copied().filter(|_| rng.random_bool(0.2));
        Order { expected_version: expected, ..order }
    }

    /// Another item of the shop in the same store.
    fn neighbour(&self, item: &Item, rng: &mut StdRng) -> &Item {
        let is_neighbour = |other: &&Item| other.store == item.store && other.id != item.id;
        self.shop.items.iter().filter(is_neighbour).choose(rng).expect("a store has several")
    }

    fn some_item(&self, rng: &mut StdRng) -> Item {
        let all = self.shop.items.len() + self.listed.len().min(3);
        let at = rng.random_range(0..all);
        let newest = self.listed.iter().rev();
        self.shop.items.iter().chain(newest).nth(at).cloned().expect("one of them")
    }

    /// Sends it until it is answered, or long enough; once more after that if so wished.
    pub async fn command(&mut self, order: Order, key: u128, repeated: bool) {
        let options = wire::CommandOptions {
            idempotency_key: Uuid::from_u128(key).to_string(),
            expected_version: order.expected_version,
            token: self.session.text(),
            ..wire::CommandOptions::default()
        };
        if order.change == Change::ItemDelisted {
            // Whatever comes of it: nobody delists an item twice, or one could not be told from the
            // other in the log.
            self.listed.retain(|item| item.id != order.stream);
        }
        let began = self.clock.now();
        let mut receipts = Vec::new();
        let mut outcome = None;
        for attempt in 0..ATTEMPTS_MAX {
            let sent = commands::send(&self.channel, &order, options.clone(), PATIENCE).await;
            match sent {
                Ok(receipt) => {
                    receipts.push(self.told(&receipt));
                    break;
                }
                Err(status) if is_refusal(&status) || !passes(&status) => {
                    outcome = Some(ended(&status, attempt));
                    break;
                }
                Err(status) => {
                    outcome = Some(ended(&status, attempt));
                    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
                    let pause = told.unwrap_or(PAUSE).min(PAUSE_MAX);
                    // tidy: allow sleep: a client's pause before it tries again
                    tokio::time::sleep(pause).await;
                }
            }
        }
        if repeated && !receipts.is_empty() {
            match commands::send(&self.channel, &order, options, PATIENCE).await {
                Ok(again) => receipts.push(self.told(&again)),
                // Without an answer there is nothing to say of it.
                Err(status) if passes(&status) => {}
                Err(status) => {
                    receipts.clear();
                    outcome = Some(Outcome::Broken(format!("at a repetition: {status:?}")));
                }
            }
        }
        if let Some(receipt) = receipts.first() {
            self.remember(&order, receipt.version);
            outcome = Some(Outcome::Acknowledged(receipts));
        }
        let outcome = outcome.expect("at least one attempt");
        let Order { stream, change, expected_version, .. } = order;
        let command = Command { stream, change, expected_version, outcome };
        self.note(began, What::Command(command));
    }

    fn told(&mut self, receipt: &wire::Receipt) -> Receipt {
        let proof = self.session.learn(&receipt.token);
        self.shared.board.lock().expect("no panic").learn(&receipt.token);
        Receipt { version: receipt.version, proof, replayed: receipt.replayed }
    }

    fn remember(&mut self, order: &Order, version: u64) {
        self.versions.insert(order.stream, version);
        if let Change::ItemListed { store, sku, .. } = &order.change {
            let (store, sku) = (*store, sku.clone());
            self.listed.push(Item { store, id: order.stream, sku });
        }
    }

    /// Reads a list page by page, or whatever else there is to be read.
    pub async fn read(
        &mut self,
        ask: Ask,
        requirement: Requirement,
        mut cursor: Cursor,
        pages_max: usize,
    ) {
        let (mut requirement, mut after) = (requirement, None);
        for _ in 0..pages_max {
            let began = self.clock.now();
            let token = self.session.text();
            let wanted = queries::consistency(&requirement, token, self.enforcement);
            let sent = queries::send(&self.channel, &ask, &cursor, wanted).await;
            let next = sent.as_ref().map(|reply| reply.next.clone()).unwrap_or_default();
            let answer = match sent {
                Ok(reply) => {
                    Answer::Shown(Box::new(self.shown(&ask, &cursor, after.take(), reply)))
                }
                Err(status) if passes(&status) => Answer::Failed(reason(&status)),
                Err(status) => Answer::Broken(format!("{status:?}")),
            };
            if let Answer::Shown(shown) = &answer {
                after = shown.rows.last().cloned();
            }
            let query = Query { ask: ask.clone(), requirement, answer };
            self.note(began, What::Query(query));
            if next.is_empty() {
                return;
            }
            cursor.token = next;
            requirement = self.onward();
        }
    }

    fn shown(&mut self, ask: &Ask, cursor: &Cursor, after: Option<Row>, reply: Reply) -> Shown {
        let Reply { rows, token, as_of, next } = reply;
        let proof = self.session.learn(&token);
        for row in &rows {
            let (id, version) = match row {
                Row::Item(item) => (&item.item_id, item.version),
                Row::Store(store) => (&store.store_id, store.version),
                Row::Overview(_) => continue,
            };
            self.versions.insert(Uuid::parse_str(id).expect("an id"), version);
        }
        let is_list = match ask {
            Ask::ListItems { .. }
            | Ask::ListStores { .. }
            | Ask::Search(_)
            | Ask::ListOverviews => true,
            Ask::Item(_)
            | Ask::ItemBySku { .. }
            | Ask::Items(_)
            | Ask::Store(_)
            | Ask::Overview(_) => false,
        };
        let (size, more) = (cursor.size as usize, !next.is_empty());
        Shown { proof, as_of, page: is_list.then_some(Page { size, after, more }), rows }
    }

    fn note(&mut self, began: Moment, what: What) {
        let ended = self.clock.now();
        self.record.push(Operation { client: self.number, began, ended, what });
    }
}

/// The chance of a client's step; no other step's, nor that of the shop.
pub fn chance(seed: u64, client: usize, step: u64) -> StdRng {
    let number = (client as u64) << 32 | step;
    StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// What a refusal means: if an earlier attempt may still be under way, nothing is certain.
fn ended(status: &Status, attempt: u32) -> Outcome {
    if is_refusal(status) && attempt == 0 {
        Outcome::Refused(reason(status))
    } else if is_refusal(status) {
        Outcome::Unknown(format!("{} after other answers", reason(status)))
    } else if passes(status) {
        Outcome::Unknown(reason(status))
    } else {
        Outcome::Broken(format!("{status:?}"))
    }
}

/// A query that shows what a command does.
fn subject(order: &Order) -> Ask {
    match &order.change {
        Change::StoreOpened { .. } | Change::StoreRenamed(_) | Change::ManagerAssigned(_) => {
            Ask::Store(order.stream)
        }
        Change::UserRegistered { .. } | Change::UserRenamed(_) => Ask::ListOverviews,
        Change::TransferredOut { to, .. } => Ask::Items(vec![order.stream, *to]),
        Change::ItemListed { .. }
        | Change::ItemRepriced(_)
        | Change::StockReceived(_)
        | Change::SaleRecorded { .. }
        | Change::TransferredIn { .. }
        | Change::ItemDelisted
        | Change::Other(_) => Ask::Item(order.stream),
    }
}
