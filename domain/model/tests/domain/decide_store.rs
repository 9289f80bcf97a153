//! Decisions on stores.

use headwater_domain_model::values::Currency;
use headwater_domain_model::{Store, StoreCommand, StoreEvent, reasons};
use headwater_domain_proto::stores::v1::{
    ManagerAssigned, ManagerRemoved, StoreClosed, StoreOpened, StoreRelocated, StoreRenamed,
};
use headwater_kernel::Decision;
use uuid::Uuid;

use crate::check::{ID, check};

const ADA: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

fn opened() -> StoreEvent {
    let (name, city) = ("Corner".into(), "Austin".into());
    let currency = "USD".into();
    StoreOpened { name, city, currency }.into()
}

fn open() -> StoreCommand {
    let currency = Currency::parse("USD").unwrap();
    StoreCommand::Open { name: "Corner".into(), city: "Austin".into(), currency }
}

fn managed_by(user: Uuid) -> StoreEvent {
    ManagerAssigned { user_id: user.to_string() }.into()
}

fn closed() -> StoreEvent {
    StoreClosed {}.into()
}

fn open_mark() -> String {
    format!("store/{ID}/open/USD")
}

#[test]
fn opens_once() {
    let decision = Decision::event(opened()).marking(open_mark(), true);
    check::<Store>(&[], open(), Ok(decision));
    check::<Store>(&[opened()], open(), Err(reasons::STORE_EXISTS));
    check::<Store>(&[opened(), closed()], open(), Err(reasons::STORE_EXISTS));
}

#[test]
fn takes_another_name_and_city() {
    let renamed = StoreRenamed { name: "Plaza".into() };
    let rename = || StoreCommand::Rename("Plaza".into());
    check::<Store>(&[opened()], rename(), Ok(Decision::event(renamed.clone())));
    check::<Store>(&[opened(), renamed.into()], rename(), Ok(Decision::nothing()));

    let relocated = StoreRelocated { city: "Dallas".into() };
    let relocate = || StoreCommand::Relocate("Dallas".into());
    check::<Store>(&[opened()], relocate(), Ok(Decision::event(relocated.clone())));
    check::<Store>(&[opened(), relocated.into()], relocate(), Ok(Decision::nothing()));
}

#[test]
fn has_one_manager_or_none() {
    let assign = StoreCommand::AssignManager;
    let removed = ManagerRemoved { user_id: BOB.to_string() };
    let managed = [opened(), managed_by(ADA), managed_by(BOB)];
    let unmanaged = [opened(), managed_by(BOB), removed.clone().into()];

    check::<Store>(&[opened()], assign(ADA), Ok(Decision::event(managed_by(ADA))));
    check::<Store>(&managed, assign(ADA), Ok(Decision::event(managed_by(ADA))));
    check::<Store>(&managed, assign(BOB), Ok(Decision::nothing()));
    check::<Store>(&managed, StoreCommand::RemoveManager, Ok(Decision::event(removed)));
    check::<Store>(&unmanaged, StoreCommand::RemoveManager, Ok(Decision::nothing()));
    check::<Store>(&unmanaged, assign(BOB), Ok(Decision::event(managed_by(BOB))));
}

#[test]
fn closes_when_no_stock_is_left() {
    let stock_left = reasons::STORE_HAS_STOCK.because("");
    let decision = Decision::event(closed()).marking(open_mark(), false).guarded(
        format!("store/{ID}/stock"),
        false,
        stock_left,
    );
    check::<Store>(&[opened()], StoreCommand::Close, Ok(decision));
    check::<Store>(&[opened(), closed()], StoreCommand::Close, Ok(Decision::nothing()));
}

#[test]
fn must_be_open_for_everything_else() {
    let commands = [
        StoreCommand::Rename("Corner".into()),
        StoreCommand::Relocate("Austin".into()),
        StoreCommand::AssignManager(ADA),
        StoreCommand::RemoveManager,
    ];
    for command in commands {
        check::<Store>(&[], command.clone(), Err(reasons::STORE_NOT_FOUND));
        check::<Store>(&[opened(), closed()], command, Err(reasons::STORE_CLOSED));
    }
    check::<Store>(&[], StoreCommand::Close, Err(reasons::STORE_NOT_FOUND));
}
