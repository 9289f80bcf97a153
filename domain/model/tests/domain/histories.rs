//! Properties of random histories: commands are drawn from a small world, those that the domain
//! refuses drop out, and what is left is a valid log.

use std::collections::BTreeSet;

use headwater_domain_model::values::{Currency, Email, Money, Quantity, Sku};
use headwater_domain_model::views::{ItemRow, store};
use headwater_domain_model::{Item, ItemAction, ItemCommand, StoreCommand, UserCommand};
use headwater_kernel::{Aggregate as _, EventSet as _, StreamId};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::world::{ReadModels, World};

const NAMES: [&str; 3] = ["Ada", "Bob", "Cleo"];

#[derive(Clone, Debug)]
enum Command {
    Store(Uuid, StoreCommand),
    Item(Uuid, ItemCommand),
    User(Uuid, UserCommand),
}

fn store_id() -> impl Strategy<Value = Uuid> {
    (0..3u128).prop_map(|n| Uuid::from_u128(0x500 + n))
}

fn item_id() -> impl Strategy<Value = Uuid> {
    (0..6u128).prop_map(|n| Uuid::from_u128(0x600 + n))
}

fn user_id() -> impl Strategy<Value = Uuid> {
    (0..3u128).prop_map(|n| Uuid::from_u128(0x700 + n))
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES).prop_map(str::to_owned)
}

fn email() -> impl Strategy<Value = Email> {
    (0..4u8).prop_map(|n| Email::parse(&format!("u{n}@example.org")).unwrap())
}

fn money() -> impl Strategy<Value = Money> {
    // Mostly the currency that stores open with, so that most items are in place.
    let currency = prop::sample::select(&["EUR", "EUR", "EUR", "USD"][..]);
    let money = |(code, n)| Money::new(Currency::parse(code).unwrap(), n).unwrap();
    (currency, 0..500i64).prop_map(money)
}

fn units() -> impl Strategy<Value = Quantity> {
    (1..6i64).prop_map(|n| Quantity::new(n).unwrap())
}

fn store_command() -> impl Strategy<Value = StoreCommand> {
    let currency = Currency::parse("EUR").unwrap();
    let open = move |(name, city)| StoreCommand::Open { name, city, currency };
    prop_oneof![
        4 => (name(), name()).prop_map(open),
        1 => name().prop_map(StoreCommand::Rename),
        1 => name().prop_map(StoreCommand::Relocate),
        3 => user_id().prop_map(StoreCommand::AssignManager),
        1 => Just(StoreCommand::RemoveManager),
        1 => Just(StoreCommand::Close),
    ]
}

fn item_action() -> impl Strategy<Value = ItemAction> {
    let sku = (0..4u8).prop_map(|n| Sku::parse(&n.to_string()).unwrap());
    let list = |(sku, name, price)| ItemAction::List { sku, name, price };
    let sale = |(quantity, amount)| ItemAction::RecordSale { quantity, amount, sold_at: None };
    let adjust = |delta| ItemAction::Adjust { delta, reason: "counted".to_owned() };
    prop_oneof![
        4 => (sku, name(), money()).prop_map(list),
        2 => money().prop_map(ItemAction::Reprice),
        4 => units().prop_map(ItemAction::Receive),
        4 => (units(), money()).prop_map(sale),
        2 => (-5..5i64).prop_map(adjust),
        1 => Just(ItemAction::Delist),
    ]
}

fn user_command() -> impl Strategy<Value = UserCommand> {
    prop_oneof![
        3 => (email(), name()).prop_map(|(email, name)| UserCommand::Register { email, name }),
        3 => name().prop_map(UserCommand::Rename),
        2 => email().prop_map(UserCommand::ChangeEmail),
        1 => Just(UserCommand::Deactivate),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    // An item's store follows from its id more often than not, or nearly every command would miss
    // its item.
    let home = |item: Uuid| Uuid::from_u128(0x500 + item.as_u128() % 3);
    let store_of = move |item| prop_oneof![9 => Just(home(item)), 1 => store_id()];
    let item = item_id().prop_flat_map(move |id| (Just(id), store_of(id), item_action()));
    prop_oneof![
        2 => (store_id(), store_command()).prop_map(|(id, command)| Command::Store(id, command)),
        5 => item.prop_map(|(id, store_id, action)| {
            Command::Item(id, ItemCommand { store_id, action })
        }),
        1 => (user_id(), user_command()).prop_map(|(id, command)| Command::User(id, command)),
    ]
}

fn history() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(command(), 0..150)
}

fn world(history: &[Command]) -> World {
    let mut world = World::default();
    for command in history {
        // A refusal leaves no trace.
        let _ = match command {
            Command::Store(id, command) => world.store(*id, command),
            Command::Item(id, command) => world.item(*id, command),
            Command::User(id, command) => world.user(*id, command),
        };
    }
    world
}

proptest! {
    #[test]
    fn an_overview_is_the_sum_of_its_items_and_names_its_manager(history in history()) {
        let models = ReadModels::of(&world(&history).in_order());
        prop_assert_eq!(models.overviews.len(), models.stores.len());
        for (overview, store) in models.overviews.values().zip(models.stores.values()) {
            let id = overview.store_id;
            let of_store = || models.items.values().filter(|item| item.store_id == id);
            let sum = |of: fn(&ItemRow) -> i64| of_store().map(of).sum::<i64>();
            prop_assert_eq!(overview.items, sum(|item| i64::from(item.listed)));
            prop_assert_eq!(overview.units_in_stock, sum(|item| item.on_hand));
            prop_assert_eq!(overview.stock_value, sum(|item| item.on_hand * item.price));
            prop_assert_eq!(overview.units_sold, sum(|item| item.units_sold));
            prop_assert_eq!(overview.revenue, sum(|item| item.revenue));

            prop_assert_eq!(id, store.store_id);
            prop_assert_eq!(&overview.name, &store.name);
            prop_assert_eq!(&overview.city, &store.city);
            prop_assert_eq!(&overview.currency, &store.currency);
            prop_assert_eq!(&overview.status, &store.status);
            prop_assert_eq!(overview.manager_id, store.manager_id);
            let manager = models.users.values().find(|user| Some(user.user_id) == store.manager_id);
            prop_assert_eq!(&overview.manager_name, &manager.map(|user| user.name.clone()));
        }
    }

    #[test]
    fn every_interleaving_of_the_partitions_gives_the_same_rows(
        history in history(),
        choices in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        let world = world(&history);
        let expected = ReadModels::of(&world.in_order());
        prop_assert_eq!(ReadModels::of(&world.interleaved(&choices)), expected);
    }

    #[test]
    fn rules_across_aggregates_hold(history in history()) {
        let models = ReadModels::of(&world(&history).in_order());
        for item in models.items.values() {
            prop_assert!(item.on_hand >= 0);
            prop_assert!(item.listed || item.on_hand == 0);
            let store = models.stores.values().find(|store| store.store_id == item.store_id);
            let store = store.expect("an item is listed in a store that was opened");
            prop_assert_eq!(&store.currency, &item.currency);
            prop_assert!(store.status == store::OPEN || item.on_hand == 0);
        }
        let listed = || models.items.values().filter(|item| item.listed);
        let skus: BTreeSet<_> = listed().map(|item| (item.store_id, &item.sku)).collect();
        prop_assert_eq!(skus.len(), listed().count());
        let emails: BTreeSet<_> = models.users.values().map(|user| &user.email).collect();
        prop_assert_eq!(emails.len(), models.users.len());
    }

    #[test]
    fn an_item_goes_on_from_its_snapshot_as_from_its_stream(history in history()) {
        let world = world(&history);
        for n in 0..6 {
            let (item, _) = world.load::<Item>(StreamId(Uuid::from_u128(0x600 + n)));
            let restored = item.snapshot().and_then(|snapshot| Item::restore(&snapshot));
            prop_assert_eq!(restored, Some(item));
        }
    }
}

/// The properties would hold of empty histories too.
#[test]
fn histories_cover_every_event() {
    let mut runner = TestRunner::deterministic();
    let mut types = BTreeSet::new();
    for _ in 0..100 {
        let history = history().new_tree(&mut runner).unwrap().current();
        let world = world(&history);
        types.extend(world.in_order().iter().map(|entry| entry.event.encode().type_name));
    }
    assert_eq!(types.len(), 16, "{types:?}");
}
