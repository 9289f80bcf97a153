//! Decisions on stock items.

use headwater_domain_model::values::{
    AMOUNT_MAX, Currency, Money, QUANTITY_MAX, Quantity, Sku, TOTAL_MAX,
};
use headwater_domain_model::{Item, ItemAction, ItemCommand, ItemEvent, reasons};
use headwater_domain_proto::stores::v1::{
    ItemDelisted, ItemListed, ItemRepriced, SaleRecorded, StockAdjusted, StockReceived,
};
use headwater_kernel::{Aggregate as _, Decision};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::check::{OTHER_STORE, STORE, check, fold};

fn money(currency: &str, minor_units: i64) -> Money {
    Money::new(Currency::parse(currency).unwrap(), minor_units).unwrap()
}

fn units(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

fn in_store(store_id: Uuid, action: ItemAction) -> ItemCommand {
    ItemCommand { store_id, action }
}

fn to(action: ItemAction) -> ItemCommand {
    in_store(STORE, action)
}

fn list(price: i64) -> ItemAction {
    let (sku, price) = (Sku::parse("A-1").unwrap(), money("USD", price));
    ItemAction::List { sku, name: "Apples".into(), price }
}

fn sell(quantity: i64, amount: Money) -> ItemAction {
    ItemAction::RecordSale { quantity: units(quantity), amount, sold_at: None }
}

fn adjust(delta: i64) -> ItemAction {
    ItemAction::Adjust { delta, reason: "counted".into() }
}

fn listed(price: i64) -> ItemEvent {
    ItemListed {
        store_id: STORE.to_string(),
        sku: "A-1".into(),
        name: "Apples".into(),
        currency: "USD".into(),
        price_minor_units: price,
    }
    .into()
}

fn received(quantity: i64, on_hand: i64) -> ItemEvent {
    let store_id = STORE.to_string();
    StockReceived { store_id, quantity, on_hand, price_minor_units: 100 }.into()
}

fn sold(quantity: i64, amount: i64, on_hand: i64) -> ItemEvent {
    SaleRecorded {
        store_id: STORE.to_string(),
        quantity,
        amount_minor_units: amount,
        on_hand,
        price_minor_units: 100,
        sold_time: None,
    }
    .into()
}

fn adjusted(delta: i64, on_hand: i64) -> ItemEvent {
    let (store_id, reason) = (STORE.to_string(), "counted".into());
    StockAdjusted { store_id, delta, reason, on_hand, price_minor_units: 100 }.into()
}

fn delisted() -> ItemEvent {
    ItemDelisted { store_id: STORE.to_string(), sku: "A-1".into() }.into()
}

fn while_open(decision: Decision<ItemEvent>) -> Decision<ItemEvent> {
    let not_open = reasons::STORE_NOT_OPEN.because("");
    decision.guarded(format!("store/{STORE}/open/USD"), true, not_open)
}

fn stock_mark() -> String {
    format!("store/{STORE}/stock")
}

fn claim() -> String {
    format!("sku/{STORE}/A-1")
}

#[test]
fn is_listed_once_in_an_open_store_of_its_currency() {
    let taken = reasons::SKU_TAKEN.because("");
    let decision = while_open(Decision::event(listed(100)).taking(claim(), taken));
    check::<Item>(&[], to(list(100)), Ok(decision));
    check::<Item>(&[listed(100)], to(list(100)), Err(reasons::ITEM_EXISTS));
    check::<Item>(&[listed(100), delisted()], to(list(100)), Err(reasons::ITEM_EXISTS));
    check::<Item>(&[listed(100)], in_store(OTHER_STORE, list(100)), Err(reasons::ITEM_EXISTS));
}

#[test]
fn is_repriced_in_its_currency() {
    let reprice = |currency, price| to(ItemAction::Reprice(money(currency, price)));
    let given = [listed(100), received(40, 40)];
    let repriced = ItemRepriced {
        store_id: STORE.to_string(),
        old_price_minor_units: 100,
        new_price_minor_units: 120,
        on_hand: 40,
    };
    check::<Item>(&given, reprice("USD", 120), Ok(Decision::event(repriced)));
    check::<Item>(&given, reprice("USD", 100), Ok(Decision::nothing()));
    check::<Item>(&given, reprice("EUR", 100), Err(reasons::CURRENCY_MISMATCH));
}

#[test]
fn receives_stock_while_its_store_is_open() {
    let receive = |quantity| to(ItemAction::Receive(units(quantity)));
    let first = Decision::event(received(40, 40)).marking(stock_mark(), true);
    check::<Item>(&[listed(100)], receive(40), Ok(while_open(first)));
    let more = Decision::event(received(2, 42));
    check::<Item>(&[listed(100), received(40, 40)], receive(2), Ok(while_open(more)));
}

#[test]
fn sells_what_is_in_stock() {
    let given = [listed(100), received(40, 40)];
    let sale = |quantity| to(sell(quantity, money("USD", 90)));
    check::<Item>(&given, sale(39), Ok(Decision::event(sold(39, 90, 1))));
    let last = Decision::event(sold(40, 90, 0)).marking(stock_mark(), false);
    check::<Item>(&given, sale(40), Ok(last));
    check::<Item>(&given, sale(41), Err(reasons::INSUFFICIENT_STOCK));
    check::<Item>(&given, to(sell(1, money("EUR", 90))), Err(reasons::CURRENCY_MISMATCH));
}

#[test]
fn keeps_when_a_sale_happened() {
    let sold_at = OffsetDateTime::from_unix_timestamp_nanos(-1_500_000_000).unwrap();
    let sale = ItemAction::RecordSale {
        quantity: units(1),
        amount: money("USD", 5),
        sold_at: Some(sold_at),
    };
    let ItemEvent::Sold(event) = sold(1, 5, 39) else { unreachable!() };
    let sold_time = Some(prost_types::Timestamp { seconds: -2, nanos: 500_000_000 });
    let event = SaleRecorded { sold_time, ..event };
    check::<Item>(&[listed(100), received(40, 40)], to(sale), Ok(Decision::event(event)));
}

#[test]
fn has_its_count_put_right() {
    let given = [listed(100), received(40, 40)];
    check::<Item>(&given, to(adjust(2)), Ok(while_open(Decision::event(adjusted(2, 42)))));
    check::<Item>(&given, to(adjust(-2)), Ok(Decision::event(adjusted(-2, 38))));
    let to_none = Decision::event(adjusted(-40, 0)).marking(stock_mark(), false);
    check::<Item>(&given, to(adjust(-40)), Ok(to_none));
    check::<Item>(&given, to(adjust(-41)), Err(reasons::INSUFFICIENT_STOCK));
    check::<Item>(&given, to(adjust(i64::MIN)), Err(reasons::INSUFFICIENT_STOCK));
    check::<Item>(&given, to(adjust(0)), Ok(Decision::nothing()));
    let from_none = Decision::event(adjusted(1, 1)).marking(stock_mark(), true);
    check::<Item>(&[listed(100)], to(adjust(1)), Ok(while_open(from_none)));
}

#[test]
fn is_delisted_once_its_stock_is_gone() {
    let decision = Decision::event(delisted()).freeing(claim());
    check::<Item>(&[listed(100)], to(ItemAction::Delist), Ok(decision));
    let stocked = [listed(100), received(40, 40)];
    check::<Item>(&stocked, to(ItemAction::Delist), Err(reasons::ITEM_HAS_STOCK));
    check::<Item>(&[listed(100), delisted()], to(ItemAction::Delist), Ok(Decision::nothing()));
}

#[test]
fn must_be_listed_in_that_store_for_everything_else() {
    let actions = [
        ItemAction::Reprice(money("USD", 100)),
        ItemAction::Receive(units(1)),
        sell(1, money("USD", 1)),
        adjust(1),
    ];
    for action in actions {
        let other = in_store(OTHER_STORE, action.clone());
        check::<Item>(&[], to(action.clone()), Err(reasons::ITEM_NOT_FOUND));
        check::<Item>(&[listed(100)], other, Err(reasons::ITEM_NOT_FOUND));
        check::<Item>(&[listed(100), delisted()], to(action), Err(reasons::ITEM_DELISTED));
    }
    check::<Item>(&[], to(ItemAction::Delist), Err(reasons::ITEM_NOT_FOUND));
}

#[test]
fn refuses_what_would_pass_a_total() {
    let overflow = || Err(reasons::AMOUNT_OVERFLOW);
    let receive = || to(ItemAction::Receive(units(QUANTITY_MAX)));
    // Nine thousand times a billion is the limit of the value in stock.
    check::<Item>(&[listed(9_001)], receive(), overflow());
    let given = [listed(0), received(QUANTITY_MAX, QUANTITY_MAX)];
    let reprice = to(ItemAction::Reprice(money("USD", 9_001)));
    check::<Item>(&given, reprice, overflow());
    check::<Item>(&[listed(9_001)], to(adjust(QUANTITY_MAX)), overflow());
    // Units, though they cost nothing.
    check::<Item>(&[listed(0), received(1, i64::MAX)], receive(), overflow());
    // Revenue.
    let sale = || sold(1, AMOUNT_MAX, 5);
    let mut given = vec![listed(0), received(10, 10)];
    given.extend(std::iter::repeat_with(sale).take(9));
    check::<Item>(&given, to(sell(1, money("USD", 1))), overflow());
    // Units sold.
    let given = [listed(0), sold(i64::MAX, 0, 5)];
    check::<Item>(&given, to(sell(1, money("USD", 1))), overflow());
}

/// The sums of a store's overview, over a million items at the limit.
#[test]
fn a_million_full_items_fit_a_store() {
    assert!(TOTAL_MAX.checked_mul(1_000_000).is_some());
}

/// Events of the time when the limits were higher: they are read as they are, and what leads back
/// below the limits is decided.
#[test]
fn what_was_stored_beyond_the_limits_is_read() {
    let (price, revenue) = (1_000_000_000_000_000, 9_000_000_000_000_000);
    let given = || [listed(price), received(10, 10), sold(1, revenue, 9)];
    let item: Item = fold(&given());
    let snapshot = item.snapshot().unwrap();
    assert_eq!(Item::restore(&snapshot), Some(item));
    check::<Item>(&given(), to(sell(1, money("USD", 1))), Err(reasons::AMOUNT_OVERFLOW));
    let repriced = ItemRepriced {
        store_id: STORE.to_string(),
        old_price_minor_units: price,
        new_price_minor_units: 5,
        on_hand: 9,
    };
    let reprice = to(ItemAction::Reprice(money("USD", 5)));
    check::<Item>(&given(), reprice, Ok(Decision::event(repriced)));
}

#[test]
fn comes_back_from_its_snapshot() {
    let item: Item = fold(&[listed(100), received(40, 40), sold(3, 290, 37), delisted()]);
    let mut snapshot = item.snapshot().unwrap();
    assert_eq!(Item::restore(&snapshot), Some(item));
    snapshot.format += 1;
    assert_eq!(Item::restore(&snapshot), None, "another format is folded anew");
}
