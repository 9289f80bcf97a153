//! Decisions on transfers between two items.

use headwater_domain_model::reasons::{self, Reason};
use headwater_domain_model::values::{QUANTITY_MAX, Quantity};
use headwater_domain_model::{ItemEvent, Transfer, TransferStock};
use headwater_domain_proto::stores::v1::{
    ItemDelisted, ItemListed, StockReceived, StockTransferredIn, StockTransferredOut,
};
use headwater_kernel::{Decision, DecisionModel as _, Query, StreamId};
use uuid::Uuid;

use crate::check::{ID, OTHER_STORE, STORE, context};

const FROM: StreamId = StreamId(ID);
const TO: StreamId = StreamId(Uuid::from_u128(0xb));

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

fn received(quantity: i64) -> ItemEvent {
    let (store_id, on_hand) = (STORE.to_string(), quantity);
    StockReceived { store_id, quantity, on_hand, price_minor_units: 100 }.into()
}

fn delisted() -> ItemEvent {
    ItemDelisted { store_id: STORE.to_string(), sku: "A-1".into() }.into()
}

/// The effects on both items, in the order of the log.
fn moved(quantity: i64, on_hand: (i64, i64)) -> Vec<(StreamId, Decision<ItemEvent>)> {
    let store_id = || STORE.to_string();
    let taken_in = StockTransferredIn {
        store_id: store_id(),
        quantity,
        from_item_id: FROM.to_string(),
        on_hand: on_hand.1,
        price_minor_units: 200,
    };
    let sent = StockTransferredOut {
        store_id: store_id(),
        quantity,
        to_item_id: TO.to_string(),
        on_hand: on_hand.0,
        price_minor_units: 100,
    };
    vec![(TO, Decision::event(taken_in)), (FROM, Decision::event(sent))]
}

#[track_caller]
fn check(
    given: &[(StreamId, ItemEvent)],
    (store_id, quantity): (Uuid, i64),
    then: Result<Vec<(StreamId, Decision<ItemEvent>)>, Reason>,
) {
    let quantity = Quantity::new(quantity).unwrap();
    let command = TransferStock { store_id, from: FROM, to: TO, quantity };
    assert_eq!(Transfer::boundary(&command, &context()), Query::streams([TO, FROM]));
    let mut model = Transfer::default();
    given.iter().for_each(|(stream, event)| model.evolve(*stream, event));
    let decided = model.decide(&command, &context()).map_err(|rejection| rejection.reason);
    if let Ok(decisions) = &decided {
        decisions
            .iter()
            .flat_map(|(stream, decision)| decision.events.iter().map(move |e| (*stream, e)))
            .for_each(|(stream, event)| model.evolve(stream, event));
        let all_gone = TransferStock { quantity: Quantity::new(QUANTITY_MAX).unwrap(), ..command };
        assert!(model.decide(&all_gone, &context()).is_err(), "what has gone cannot go again");
    }
    assert_eq!(decided, then.map_err(|reason| reason.code));
}

#[test]
fn units_move_from_one_item_to_the_other() {
    let mark = format!("store/{STORE}/stock");
    let shop = [(FROM, listed(100)), (TO, listed(200)), (FROM, received(7))];
    // The marks that keep the store open follow the units.
    let mut some = moved(3, (4, 3));
    some[0].1 = some[0].1.clone().marking(&mark, true);
    check(&shop, (STORE, 3), Ok(some));
    let mut all = moved(7, (0, 7));
    all[0].1 = all[0].1.clone().marking(&mark, true);
    all[1].1 = all[1].1.clone().marking(&mark, false);
    check(&shop, (STORE, 7), Ok(all));
    let stocked = [&shop[..], &[(TO, received(5))]].concat();
    check(&stocked, (STORE, 3), Ok(moved(3, (4, 8))));
}

#[test]
fn no_more_than_there_is_and_only_between_items_that_are_sold() {
    let shop = [(FROM, listed(100)), (TO, listed(200)), (FROM, received(7))];
    check(&shop, (STORE, 8), Err(reasons::INSUFFICIENT_STOCK));
    check(&shop, (OTHER_STORE, 3), Err(reasons::ITEM_NOT_FOUND));
    check(&shop[..1], (STORE, 3), Err(reasons::ITEM_NOT_FOUND));
    check(&shop[1..], (STORE, 3), Err(reasons::ITEM_NOT_FOUND));
    let gone = [&shop[..], &[(TO, delisted())]].concat();
    check(&gone, (STORE, 3), Err(reasons::ITEM_DELISTED));
}
