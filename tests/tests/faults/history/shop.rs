//! What the clients work on: few things, so that they meet.

use headwater_kernel::{Partition, PartitionKey};
use headwater_tests::history::log::Change;
use rand::Rng;
use uuid::Uuid;

use super::session::PARTITIONS;

pub const CURRENCY: &str = "EUR";
pub const CITIES: [&str; 2] = ["bergen", "bern"];
/// Of store names; searches look for their beginnings.
pub const WORDS: [&str; 4] = ["north", "noble", "south", "solid"];
const STORES: u16 = 4;
const ITEMS_PER_STORE: usize = 3;

/// A product in a store.
#[derive(Clone, Debug)]
pub struct Item {
    pub store: Uuid,
    pub id: Uuid,
    pub sku: String,
}

/// Stores and users of every partition.
#[derive(Clone, Debug, Default)]
pub struct Shop {
    pub stores: Vec<Uuid>,
    pub users: Vec<Uuid>,
    pub items: Vec<Item>,
}

/// A command as a client thinks of it.
#[derive(Clone, Debug)]
pub struct Order {
    pub stream: Uuid,
    /// The store of an item; nil for others.
    pub store: Uuid,
    pub change: Change,
    pub expected_version: Option<u64>,
}

impl Order {
    pub fn new(stream: Uuid, change: Change) -> Self {
        Self { stream, store: Uuid::nil(), change, expected_version: None }
    }

    /// For an item of this store.
    pub fn within(self, store: Uuid) -> Self {
        Self { store, ..self }
    }
}

impl Shop {
    /// What there is to be, and the commands that make it.
    pub fn plan(rng: &mut impl Rng) -> (Self, Vec<Order>) {
        let (mut shop, mut orders) = (Self::default(), Vec::new());
        for number in 0..STORES {
            let partition = number % PARTITIONS;
            let (user, store) = (id_in(rng, partition), id_in(rng, partition));
            shop.users.push(user);
            shop.stores.push(store);
            let name = name(rng, u64::from(number));
            let email = format!("{}@example.org", user.simple());
            orders.push(Order::new(user, Change::UserRegistered { email, name: name.clone() }));
            let city = CITIES[usize::from(number) % CITIES.len()].to_owned();
            let currency = CURRENCY.to_owned();
            orders.push(Order::new(store, Change::StoreOpened { name, city, currency }));
            for _ in 0..ITEMS_PER_STORE {
                let (item, order) = listing(rng, store, shop.items.len() as u64);
                shop.items.push(item);
                orders.push(order);
            }
        }
        // The manager of a store may live in another partition.
        for (store, user) in shop.stores.iter().zip(shop.users.iter().rev()) {
            orders.push(Order::new(*store, Change::ManagerAssigned(*user)));
        }
        for item in &shop.items {
            let stock = Change::StockReceived(1_000);
            orders.push(Order::new(item.id, stock).within(item.store));
        }
        (shop, orders)
    }
}

/// A new product, and the command that lists it.
pub fn listing(rng: &mut impl Rng, store: Uuid, serial: u64) -> (Item, Order) {
    let (id, sku) = (new_id(rng), format!("{serial:010}"));
    let name = name(rng, serial);
    let price = rng.random_range(1..1_000);
    let change = Change::ItemListed { store, sku: sku.clone(), name, price };
    (Item { store, id, sku }, Order::new(id, change).within(store))
}

/// A name that no other command gives.
pub fn name(rng: &mut impl Rng, serial: u64) -> String {
    format!("{} no{serial:010}", WORDS[rng.random_range(0..WORDS.len())])
}

pub fn new_id(rng: &mut impl Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

/// An id whose streams are in this partition.
pub fn id_in(rng: &mut impl Rng, partition: u16) -> Uuid {
    loop {
        let id = new_id(rng);
        if PartitionKey(id).partition(PARTITIONS) == Partition(partition) {
            return id;
        }
    }
}
