//! What clients say, and what they are told.

use std::time::Duration;

use headwater_domain_proto::stores::v1::Money;
use headwater_kernel::{Partition, Token};
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_proto::headwater::v1::{Consistency, Freshness};
pub use headwater_tests::talk::{passes, reason, within};
use tonic::Status;
use tonic_types::StatusExt as _;

pub const CURRENCY: &str = "EUR";

pub fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency: CURRENCY.to_owned(), minor_units })
}

pub fn any() -> Option<Consistency> {
    Some(Consistency { requirement: Some(Requirement::Any(true)), ..Default::default() })
}

pub fn at_least(token: &str) -> Option<Consistency> {
    Some(Consistency {
        requirement: Some(Requirement::AtLeast(token.to_owned())),
        ..Default::default()
    })
}

pub fn detail(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(key).cloned()
}

pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The token of a reply, which must prove all that was seen before.
pub fn raised(before: &str, shown: &Freshness) -> String {
    assert!(covers(&shown.token, before), "a reply is older than what was seen before");
    shown.token.clone()
}

/// Whether one token proves all that the other one does.
pub fn covers(token: &str, earlier: &str) -> bool {
    if earlier.is_empty() {
        return true;
    }
    let [token, earlier] = [token, earlier].map(|text| Token::decode(text).expect("a token"));
    let at = |token: &Token, partition| token.position(Partition(partition));
    token.log == earlier.log && (0..64).all(|p| at(&token, p) >= at(&earlier, p))
}
