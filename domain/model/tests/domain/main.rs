//! Tests of the domain: decisions as tables, stored formats, and properties of random histories.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod check;

mod decide_item;
mod decide_store;
mod decide_transfer;
mod decide_user;
mod stored_formats;

mod world;

mod histories;
mod values;
