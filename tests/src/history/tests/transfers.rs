//! Commands that change two streams: both or none, side by side.

use uuid::Uuid;

use super::super::log::Change;
use super::super::record::{Ask, Requirement, Row};
use super::fixture::{History, I, S, item, overview};
use super::{Case, Kind, play};

/// Another item of the store.
const J: Uuid = Uuid::from_u128(4);

fn out(quantity: i64) -> Change {
    Change::TransferredOut { quantity, to: J }
}

fn taken_in(quantity: i64) -> Change {
    Change::TransferredIn { quantity, from: I }
}

/// Lists another item, which takes in 3 of the 8 units: positions 6 and 7.
fn list_and_take_in(h: &mut History) {
    let (sku, name) = ("002".to_owned(), "jam".to_owned());
    h.command(0, J, Change::ItemListed { store: S, sku, name, price: 5 });
    h.append(J, taken_in(3));
    h.last().on_hand = Some(3);
}

/// The whole transfer, up to position 8.
fn transferred(h: &mut History) {
    list_and_take_in(h);
    h.command(0, I, out(3));
    h.last().on_hand = Some(5);
    // Of both together.
    let mut row = overview(8, 2, "ada no2");
    row.items = 2;
    h.query(2, Requirement::Any, Ask::Overview(S), &[8, 2], vec![Row::Overview(row)]);
    h.query(2, Requirement::Any, Ask::Item(I), &[8, 2], vec![item(5, 2, 4)]);
    h.sort();
}

#[test]
fn half_a_transfer_is_found() {
    play(&[
        Case { name: "as it is", change: transferred, found: &[] },
        Case {
            name: "units are lost on the way",
            change: |h| {
                transferred(h);
                let event = h.of(J, &taken_in(3));
                (event.change, event.on_hand) = (taken_in(2), Some(2));
            },
            found: &[Kind::Torn, Kind::Stranger, Kind::WrongRows],
        },
        Case {
            name: "units are made on the way",
            change: |h| {
                transferred(h);
                h.append(J, taken_in(3));
                h.last().on_hand = Some(6);
            },
            found: &[Kind::Torn],
        },
        Case {
            name: "something stands between",
            change: |h| {
                list_and_take_in(h);
                h.command(0, S, Change::StoreRenamed("north no9".to_owned()));
                h.command(0, I, out(3));
                h.last().on_hand = Some(5);
                h.sort();
            },
            found: &[Kind::Torn],
        },
        Case {
            name: "a reply shows one half",
            change: |h| {
                transferred(h);
                h.query(2, Requirement::Any, Ask::Item(I), &[7, 2], vec![item(8, 2, 3)]);
            },
            found: &[Kind::Torn],
        },
    ]);
}
