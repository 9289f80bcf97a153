//! What the checks accept and refuse.

use headwater_edge::Violations;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn check<T>(accepted: bool, validate: impl FnOnce(&mut Violations) -> Option<T>) {
    let mut violations = Violations::new();
    let value = validate(&mut violations);
    assert_eq!(value.is_some(), accepted);
    assert_eq!(violations.finish(value).is_ok(), accepted);
}

#[test]
fn fields() {
    check(true, |v| v.uuid("id", "0198c1c6-4d2e-7e4f-9f0c-5b1f6f3f2a10"));
    check(false, |v| v.uuid("id", ""));
    check(false, |v| v.uuid("id", "0198c1c6"));
    check(false, |v| v.uuid("id", "00000000-0000-0000-0000-000000000000"));

    check(true, |v| v.text("name", "Ünïcode ist 11", 1..=14));
    check(false, |v| v.text("name", "", 1..=200));
    check(true, |v| v.text("name", "", 0..=200));
    check(false, |v| v.text("name", "abcd", 1..=3));
    check(true, |v| v.text("name", "äöü", 1..=3));
    check(false, |v| v.text("name", "  ", 1..=3));
    check(false, |v| v.text("name", "a\0b", 1..=3));
    check(false, |v| v.text("name", "a\nb", 1..=3));

    check(true, |v| v.number("quantity", 1, 1..=10));
    check(false, |v| v.number("quantity", 0, 1..=10));
    check(true, |v| v.required("price", Some(1)));
    check(false, |v| v.required("price", None::<u8>));
    check(true, |v| v.parsed::<u8>("n", "255", "a byte"));
    check(false, |v| v.parsed::<u8>("n", "256", "a byte"));
    check(true, |v| v.check(true, "n", "must be even"));
    check(false, |v| v.check(false, "n", "must be even"));
}

#[test]
fn all_violations_are_reported_at_once() {
    let mut violations = Violations::new();
    let id = violations.uuid("store_id", "x");
    let name = violations.text("name", "", 1..=200);
    let failure = violations.finish(id.zip(name)).expect_err("two violations");
    assert_eq!(failure.reason(), "INVALID_REQUEST");
    let status = Status::from(failure);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "the request is not valid: store_id, name");
    let fields = status.get_details_bad_request().expect("a BadRequest").field_violations;
    let fields: Vec<_> = fields.into_iter().map(|field| (field.field, field.description)).collect();
    assert_eq!(fields[0].0, "store_id");
    assert_eq!(fields[1], ("name".into(), "must have 1 to 200 characters, not 0".into()));
}

#[test]
fn a_forgotten_violation_is_our_defect_and_not_the_callers() {
    let failure = Violations::new().finish(None::<()>).expect_err("no value");
    assert_eq!(failure.reason(), "INTERNAL");
}
